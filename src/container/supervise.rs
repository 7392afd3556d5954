//! Waiting for a container, and passing on to it what is meant for it.

use super::{
    caller, idle,
    relay::{Event, Relay},
};
use crate::{narrate, sys};
use anyhow::Result;
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, SigmaskHow, Signal, sigprocmask},
        signalfd::{SfdFlags, SignalFd},
        wait::WaitPidFlag,
    },
    unistd::Pid,
};
use std::{fs::read_to_string, os::fd::AsFd};

/// Whoever started us may ignore SIGCHLD, and then nobody could be waited for.
pub fn heed_children() {
    // SAFETY: SIG_DFL is no handler of ours. It cannot fail for a signal that exists.
    let _ = unsafe { nix::sys::signal::signal(Signal::SIGCHLD, nix::sys::signal::SigHandler::SigDfl) };
}

/// From now on signals wait until we look at them, so that none is lost between
/// a fork and its wait. Job control (Ctrl-Z) still stops rubber itself, and a
/// pipe that breaks under our own words is nobody else's affair: passing that
/// on would be told, break again, and never end.
pub fn hold_signals() -> Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&held()), None)?)
}

pub fn held() -> SigSet {
    let mut set = SigSet::all();
    for signal in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGPIPE] {
        set.remove(signal);
    }
    set
}

/// Waits for `child` to end, hands on every signal that comes meanwhile, and
/// collects whoever else ends (pid 1 is everybody's foster parent). Returns the
/// child's exit code, 128 + n if signal n ended it.
pub fn wait(child: Pid, mut relay: Relay) -> Result<u8> {
    if narrate::is_dry() {
        sys::wait4(WaitPidFlag::empty())?;
        return Ok(0);
    }
    let signals = SignalFd::with_flags(&held(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let (mut deaf, mut is_told) = (None, false);
    loop {
        while let Some((ended, code)) = sys::wait4(WaitPidFlag::WNOHANG)? {
            if ended == child {
                return Ok(relay.drain(code, (!is_told).then_some(&signals)));
            }
        }
        pause(&signals, &mut relay)?;
        while let Some(about) = signals.read_signal()? {
            match about.ssi_signo as i32 {
                libc::SIGCHLD => {}
                libc::SIGWINCH if relay.has_terminal() => relay.resize(caller::window()),
                signal => {
                    is_told = true;
                    pass_on(child, signal, &mut deaf)?;
                }
            }
        }
    }
}

/// Waits for `child` alone to end, and returns its exit code. Whoever started us may have left us other children.
pub fn wait_for(child: Pid) -> Result<u8> {
    loop {
        match sys::wait4(WaitPidFlag::empty())? {
            Some((ended, code)) if ended == child => return Ok(code),
            // A rehearsal has nobody to wait for.
            None => return Ok(0),
            Some(_) => {}
        }
    }
}

/// Until a signal comes; meanwhile what is typed goes in and what is printed comes out.
fn pause(signals: &SignalFd, relay: &mut Relay) -> Result<()> {
    let ready: Vec<Event> = {
        let events = relay.events();
        let mut fds = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(events.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)));
        let polled = match poll(&mut fds, idle::SOON) {
            Ok(0) => {
                idle::give_back();
                poll(&mut fds, PollTimeout::NONE)
            }
            polled => polled,
        };
        match polled {
            Err(Errno::EINTR) => return Ok(()),
            polled => polled?,
        };
        let happened = events.iter().zip(&fds[1..]).filter(|(_, fd)| fd.any() != Some(false));
        happened.map(|((event, ..), _)| *event).collect()
    };
    // From the last on: one that goes changes no number before it.
    ready.into_iter().rev().try_for_each(|event| relay.take(event))
}

/// Hands `signal` on. The kernel gives pid 1 of a namespace only what it has a
/// handler for (pid_namespaces(7)): Ctrl-C would do nothing, for ever, and
/// nobody would know why. So we say it the first time, and kill the second.
fn pass_on(child: Pid, signal: i32, deaf: &mut Option<i32>) -> Result<()> {
    let asks_to_end = [libc::SIGINT, libc::SIGTERM].contains(&signal);
    if !asks_to_end || !is_deaf(child, signal) {
        return send(child, signal);
    }
    if deaf.replace(signal) == Some(signal) {
        return send(child, libc::SIGKILL);
    }
    let name = Signal::try_from(signal)?;
    narrate::warn(format_args!(
        "the command is a pid 1 without a handler for {name}, so the kernel drops it\n        \
         once more ends it with SIGKILL (and --init gives it a pid 1 that passes signals on)"
    ));
    Ok(())
}

/// It may have ended while the signal was on its way.
fn send(child: Pid, signal: i32) -> Result<()> {
    match sys::kill(child, signal) {
        Err(error) if error.downcast_ref() == Some(&Errno::ESRCH) => Ok(()),
        sent => sent,
    }
}

/// Whether `pid` is the first of its namespace and has no handler for `signal`
/// (and is not about to look at it, as our own processes are).
pub fn is_deaf(pid: Pid, signal: i32) -> bool {
    let status = read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let mask = |name: &str| u64::from_str_radix(field(name), 16).unwrap_or(u64::MAX);
    let pids: Vec<_> = field("NSpid:").split_whitespace().collect();
    pids.len() > 1
        && pids.last() == Some(&"1")
        && (mask("SigCgt:") | mask("SigBlk:")) & 1 << (signal - 1) == 0
}

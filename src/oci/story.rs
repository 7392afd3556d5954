//! How a container comes to be in two steps, in order.

use super::{devices, hooks, mounts, namespaces, notify, process, root, schedule, systemd};
use crate::{
    Exit,
    config::Config,
    container::idle,
    hide,
    layers::{Layer, *},
    narrate,
    run::{Step, row, take},
    sys,
};
use Layer::*;
use anyhow::{Context, Error, Result, bail};
use nix::{
    libc,
    poll::{PollFd, PollFlags, poll},
    sched::CloneFlags,
    sys::wait::WaitPidFlag,
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use std::{
    cell::RefCell,
    io::{BufRead, BufReader, Read, Write, pipe},
    os::{
        fd::{AsFd, AsRawFd, RawFd},
        unix::net::UnixStream,
    },
};

/// What comes first in the process that the maker forks: pid 1, or the one it is forked from. The groups first of all, so
/// that all that follows is counted. The namespaces of files before our own: a new user namespace would take away the
/// right to join them. The clocks late, as they are for the next process forked. Hidden when who is who is written down,
/// which takes a /proc/PID that is ours, and before there is a process in a pid namespace that others may be in.
#[rustfmt::skip]
pub const FORKED: &[Step] = &[
    row(Memory,  "have systemd make the cgroup", systemd::ask).when(|config| config.bundle.by_systemd),
    row(Memory,  "join the cgroups", super::cgroup::join).when(super::cgroup::any),
    row(Process, "say how soon the kernel may kill it", rlimits::oom_score).when(rlimits::any_score),
    row(Process, "join the namespaces it is given", namespaces::join).when(namespaces::any_joined),
    row(Userns,  "become root in a user namespace", namespaces::unshare_user).when(namespaces::is_user_new),
    row(Ipc,     "shift the clocks of the next child", namespaces::unshare_time).when(namespaces::is_time_new),
    row(Process, "hide from the processes it may be among", hide::hide),
];

/// What pid 1 does until it waits. A row may only move if what it depends on stays above:
/// - hooks have their place in the specification: the maker's own when the namespaces are there, the container's
///   before the root is swapped;
/// - filesystems of the kernel, as well as what is the host's, are taken hold of while the old root is there: in a
///   user namespace a new /proc is allowed only to whoever sees a whole one (mount_too_revealing in the kernel);
/// - they are put in place when nothing of the host has a name any more, so that no link in the root can lead there;
/// - what hides parts of /proc and /sys comes when those are mounted, and the root is closed when all is in it;
/// - nothing of the host's is open any more when powers are given up;
/// - the bounding set before the user (it takes CAP_SETPCAP), and the rest of the capabilities after;
/// - a filter of system calls that takes CAP_SYS_ADMIN before that is gone: what follows has to pass it, also that
///   pid 1 waits (accept4) and tells (write).
#[rustfmt::skip]
pub const PID_1: &[Step] = &[
    row(Mount,        "make namespaces of its own", namespaces::unshare_rest),
    row(Mount,        "cut the mount table loose from the host's", root::cut_loose),
    row(Uts,          "take its names", namespaces::names).when(namespaces::any_name),
    row(Ipc,          "set parameters of its own kernel namespaces", ipc::set_parameters).when(ipc::any_parameters),
    row(Process,      "have the host's hooks run", hooks::have_runtimes_run).when(hooks::any_told),
    row(Process,      "run the hooks for a made container", hooks::create_container).when(hooks::any_create_container),
    row(PivotRoot,    "make the root a mount", root::bind),
    row(Volumes,      "take hold of what will be mounted", mounts::hold),
    row(Devices,      "take hold of the host's devices", devices::hold),
    row(PivotRoot,    "swap the root directory", pivot_root::swap),
    row(PivotRoot,    "let go of the old root", root::let_go),
    row(Volumes,      "mount it", mounts::place),
    row(Devices,      "fill /dev", devices::fill).when(|config| config.bundle.fills_dev),
    row(Process,      "take a session and a terminal", process::take_session),
    row(Process,      "label its keys", confinement::label_keys).when(confinement::any_label),
    row(Process,      "take a keyring of its own", confinement::keyring),
    row(Mount,        "hide what is the host's", masks::hide),
    row(Mount,        "make parts of it read-only", masks::close),
    row(Volumes,      "make the directory to start in", volumes::workdir).when(volumes::any_workdir),
    row(Mount,        "say how mounts spread", root::propagate).when(|config| config.bundle.propagation.is_some()),
    row(Volumes,      "make the root read-only", volumes::close_root).when(|config| config.read_only),
    row(Process,      "allow each process more", rlimits::raise).when(rlimits::any),
    row(Process,      "say how soon it has its turn", schedule::take).when(schedule::any),
    row(Process,      "let go of what is the host's", hide::let_go),
    row(Capabilities, "bound what can ever be gained", process::bound),
    row(Process,      "have its program confined", confinement::confine).when(confinement::any),
    row(Seccomp,      "filter its system calls", notify::load).when(seccomp::on_its_right),
    row(User,         "become the user", process::become_user),
    row(Process,      "hide again, as another user", hide::hide).when(process::is_another_user),
    row(Capabilities, "keep no other capabilities", process::keep),
    row(Process,      "look for the command", process::look),
];

/// And from the moment somebody starts it. The hooks after the filter, as in runc: their program is the image's, and what
/// it leaves running would be without for good.
#[rustfmt::skip]
pub const STARTED: &[Step] = &[
    row(Process, "wait to be started", wait),
    row(Seccomp, "promise that no program gains privileges", seccomp::promise).when(seccomp::has_promised),
    row(Seccomp, "filter its system calls, last of all", notify::load).when(seccomp::on_its_promise),
    row(Process, "run the hooks for a container that starts", hooks::start_container).when(hooks::any_start_container),
    row(Process, "become the command", process::execute),
];

/// What the processes of a container tell their maker, one a line, and wait for the answer.
#[derive(Serialize, Deserialize)]
pub enum Word {
    /// It is in no cgroup of the container's yet: systemd wants a process for one.
    Ungrouped,
    /// There is a user namespace, and nobody is anybody in it.
    Unmapped,
    /// Pid 1 is this one.
    First(i32),
    /// The namespaces are made.
    Made,
    /// All is done that can be done before the start.
    Ready,
    Failed(u8, String),
}

/// The other end of the way to the maker.
pub struct Maker(BufReader<UnixStream>);

impl Maker {
    pub fn as_raw_fd(&self) -> RawFd {
        self.0.get_ref().as_raw_fd()
    }
}

/// Tells it, and returns the answer: for hooks, it is the container's state.
pub fn tell(config: &Config, word: &Word) -> Result<String> {
    let mut maker = config.bundle.maker.borrow_mut();
    let maker = maker.as_mut().context("nobody makes this container")?;
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    maker.0.get_mut().write_all(&line).context("whoever makes this container is gone")?;
    let mut answer = String::new();
    if maker.0.read_line(&mut answer)? == 0 {
        bail!("whoever makes this container is gone");
    }
    Ok(answer)
}

/// Forks what will be pid 1, or who has to be between it and us, and answers to each of its words until it is ready to be
/// started.
pub fn make(config: &Config, mut answer: impl FnMut(&Word, Pid) -> Result<String>) -> Result<()> {
    let is_between = namespaces::any_before_fork(config);
    let (ours, theirs) = UnixStream::pair()?;
    // Each side lets go of the other's end, or nobody would ever hear that the other is gone.
    let (ours, theirs) = (RefCell::new(Some(ours)), RefCell::new(Some(theirs)));
    let life = || {
        ours.take();
        config.bundle.maker.replace(theirs.take().map(BufReader::new).map(Maker));
        if is_between { become_between(config) } else { become_first(config, FORKED) }
    };
    let cradle = super::cgroup::cradle(config);
    let child = match is_between {
        true => sys::clone_untied(CloneFlags::empty(), cradle, "between", life)?,
        false => sys::clone_untied(namespaces::of_fork(config), cradle, "pid 1", life)?,
    };
    theirs.take();
    let known = if is_between { Ok(()) } else { answer(&Word::First(child.as_raw()), child).map(drop) };
    let outcome = known
        .and_then(|()| ours.take().context("no socket"))
        .and_then(|ours| follow(BufReader::new(ours), |word| answer(word, child)));
    if outcome.is_err() {
        // It cannot go on without us, and may be busy with a hook.
        let _ = sys::kill(child, libc::SIGKILL);
    }
    // Whoever is between ends when pid 1 is there.
    if is_between || outcome.is_err() {
        while sys::wait4(WaitPidFlag::empty())?.is_some_and(|(ended, _)| ended != child) {}
    }
    outcome
}

fn follow(mut words: BufReader<UnixStream>, mut answer: impl FnMut(&Word) -> Result<String>) -> Result<()> {
    loop {
        let mut line = String::new();
        if words.read_line(&mut line)? == 0 {
            bail!("the container's first process ended before it was ready (was it killed?)");
        }
        let word = serde_json::from_str(&line)?;
        if let Word::Failed(code, text) = word {
            bail!(Exit(code, text));
        }
        let mut reply = answer(&word)?;
        reply.push('\n');
        words.get_mut().write_all(reply.as_bytes()).context("the container's first process is gone")?;
        if let Word::Ready = word {
            return Ok(());
        }
    }
}

fn become_between(config: &Config) -> Result<u8> {
    let born = FORKED.iter().try_for_each(|step| take(step, config)).and_then(|()| {
        let (mut turn, ours) = pipe()?;
        let ours = RefCell::new(Some(ours));
        let first = sys::clone_untied(namespaces::of_fork(config), None, "pid 1", || {
            ours.take();
            // The maker hears one of us at a time.
            turn.read_exact(&mut [0])?;
            become_first(config, &[])
        })?;
        tell(config, &Word::First(first.as_raw()))?;
        ours.take().context("no pipe")?.write_all(b"x")?;
        Ok(())
    });
    Ok(told(config, born))
}

fn become_first(config: &Config, before: &[Step]) -> Result<u8> {
    let ready = before.iter().chain(PID_1).try_for_each(|step| take(step, config)).and_then(|()| {
        let state = tell(config, &Word::Ready)?;
        config.bundle.hooks.know(state);
        Ok(())
    });
    if told(config, ready) != 0 {
        return Ok(1);
    }
    config.bundle.maker.take();
    // Who made us with a terminal may wait for the end of what it reads from the caller's stderr: containerd does.
    narrate::let_go_of_listener();
    let outcome = STARTED.iter().try_for_each(|step| take(step, config));
    if let Err(error) = outcome {
        let (code, text) = words(&error);
        match config.bundle.starter.take() {
            Some(mut starter) => starter.write_all(format!("{code} {text}").as_bytes())?,
            None => bail!(error),
        }
    }
    Ok(1)
}

/// Tells the maker if it went wrong, and returns the exit code.
fn told(config: &Config, outcome: Result<()>) -> u8 {
    let Err(error) = outcome else { return 0 };
    let (code, text) = words(&error);
    // If it is gone, there is nobody to be told.
    let _ = tell(config, &Word::Failed(code, text));
    1
}

pub fn words(error: &Error) -> (u8, String) {
    let code = error.downcast_ref::<Exit>().map_or(1, |exit| exit.0);
    (code, format!("{error:#}"))
}

/// An end of the connection without a word says that the command runs: execve(2) closes it. Whoever starts us has
/// the door's name; we have only the door, and need no /proc and no right to a file for it.
fn wait(config: &Config) -> Result<()> {
    let door = config.bundle.door.as_ref().context("there is no door")?;
    // Most come at once; a pod's may have images to get first.
    if poll(&mut [PollFd::new(door.as_fd(), PollFlags::POLLIN)], idle::SOON) == Ok(0) {
        idle::give_back();
    }
    let (mut starter, _) = door.accept().context("accept()")?;
    // Of two who come at the same time, the other one hears nothing.
    starter.write_all(b".")?;
    config.bundle.starter.replace(Some(starter));
    Ok(())
}

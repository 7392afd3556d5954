//! The process a user sees where the container may outlive it: it does nothing but wait, and ends with the
//! container, or as soon as it is let go.

use super::{caller::Modes, supervise};
use anyhow::{Context, Result};
use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::Signal,
        signalfd::{SfdFlags, SignalFd},
        wait::WaitPidFlag,
    },
    unistd::{ForkResult, Pid},
};
use std::{
    ffi::CString,
    fs::OpenOptions,
    io::{PipeReader, PipeWriter, Read, Write, pipe},
    os::fd::{AsFd, AsRawFd, BorrowedFd},
};

/// The way to let the waiter go.
pub struct Waiter {
    pipe: PipeWriter,
    /// For ps(1), once the container is on its own.
    name: String,
}

pub enum Fate {
    /// The container is on its own now.
    LetGo,
    /// It has ended, with this exit code.
    Ended(u8),
}

/// Goes on in a copy, which gets the way to let us go; here we wait for it.
pub fn split(name: &str) -> Result<Result<Option<Waiter>, Fate>> {
    supervise::hold_signals()?;
    let (reader, pipe) = pipe()?;
    let parent = crate::sys::pidfd_open(nix::unistd::getpid())?;
    let terminal = Modes::of_stdin();
    // SAFETY: there is no second thread.
    match unsafe { nix::unistd::fork() }.map_err(crate::sys::no_more_processes).context("fork()")? {
        ForkResult::Child => {
            drop(reader);
            // Nobody wants the container any more when the waiter is killed, which may have happened by now.
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            let mut fds = [PollFd::new(parent.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::ZERO)? > 0 {
                std::process::exit(125);
            }
            drop(parent);
            close_all_but(pipe.as_fd())?;
            Ok(Ok(Some(Waiter { pipe, name: name.to_owned() })))
        }
        ForkResult::Parent { child } => {
            drop(pipe);
            let fate = wait(child, reader);
            terminal.restore();
            fate.map(Err)
        }
    }
}

/// What the caller had open would otherwise stay so for as long as the container runs, and whoever waits for
/// the end of a pipe would wait that long.
fn close_all_but(pipe: BorrowedFd) -> Result<()> {
    let own = pipe.as_raw_fd() as u32;
    crate::sys::close_now(3, own - 1)?;
    crate::sys::close_now(own + 1, u32::MAX)
}

fn wait(child: Pid, mut pipe: PipeReader) -> Result<Fate> {
    let signals = SignalFd::with_flags(&supervise::held(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    loop {
        let mut fds = [signals.as_fd(), pipe.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let _ = poll(&mut fds, PollTimeout::NONE);
        if fds[1].any() == Some(true) && pipe.read(&mut [0])? == 1 {
            return Ok(Fate::LetGo);
        }
        while let Some(about) = signals.read_signal()? {
            // What the terminal sends, it sends to the two of us.
            if about.ssi_signo as i32 != libc::SIGCHLD && about.ssi_code <= 0 {
                let _ = crate::sys::kill(child, about.ssi_signo as i32);
            }
        }
        if let Some((ended, code)) = crate::sys::wait4(WaitPidFlag::WNOHANG)?
            && ended == child
        {
            return Ok(Fate::Ended(code));
        }
    }
}

impl Waiter {
    /// From here on nothing of the caller's is ours: not its terminal, not its session, not its life.
    pub fn let_go(mut self) -> Result<()> {
        prctl::set_pdeathsig(None)?;
        let _ = nix::unistd::setsid();
        nix::unistd::chdir("/")?;
        prctl::set_name(&CString::new(format!("rubber:{}", self.name))?)?;
        let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
        nix::unistd::dup2_stdin(&null)?;
        nix::unistd::dup2_stdout(&null)?;
        nix::unistd::dup2_stderr(&null)?;
        Ok(self.pipe.write_all(b"g")?)
    }
}

//! `rubber stop`, `kill`, `wait`, `rm`: how containers end.

use crate::{
    container::{
        self,
        find::{self, Container, State},
        pause,
        record::{self, Anonymous},
        supervise,
    },
    image::Store,
    narrate, sys,
};
use anyhow::{Result, bail};
use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::Signal,
};
use std::{
    os::fd::{AsFd, OwnedFd},
    thread::sleep,
    time::{Duration, Instant},
};

/// Ask containers to end, and make them after a while
#[derive(clap::Args)]
pub struct Stop {
    /// Names, ids, or beginnings of ids
    #[arg(required = true)]
    containers: Vec<String>,
    /// Seconds to wait before SIGKILL [default: what it was run with, else 10]
    #[arg(short, long = "time", value_name = "SECONDS")]
    time: Option<u64>,
}

/// Send containers a signal
#[derive(clap::Args)]
pub struct Kill {
    #[arg(required = true)]
    containers: Vec<String>,
    /// By name or number
    #[arg(short, long, default_value = "KILL")]
    signal: String,
}

/// Wait until containers have ended, and print their exit codes
#[derive(clap::Args)]
pub struct Wait {
    #[arg(required = true)]
    containers: Vec<String>,
}

/// Remove containers that have ended, with what they wrote and printed
#[derive(clap::Args)]
pub struct Rm {
    #[arg(required = true)]
    containers: Vec<String>,
    /// End those that still run, with SIGKILL; no error where there is none of that name
    #[arg(short, long)]
    force: bool,
    /// Their volumes without a name go, too
    #[arg(short, long)]
    volumes: bool,
}

/// Does it for each, and goes on with the others where one fails.
pub fn each(words: &[String], mut work: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let mut failed = Ok(());
    for word in words {
        if let Err(error) = work(word) {
            if failed.is_err() {
                crate::report(std::mem::replace(&mut failed, Ok(())).unwrap_err());
            }
            failed = Err(error);
        }
    }
    failed
}

impl Stop {
    pub fn main(self, store: &Store) -> Result<()> {
        each(&self.containers, |word| {
            let container = find::find(store, word)?;
            stop(store, &container, self.time)?;
            super::line(&container.name)
        })
    }
}

fn stop(store: &Store, container: &Container, seconds: Option<u64>) -> Result<()> {
    if container.state.pid().is_none() {
        return Ok(());
    }
    let (pid, fd) = container.pidfd()?;
    let signal = container.record.stop.signal;
    let deaf = supervise::is_deaf(pid, signal);
    sys::pidfd_send_signal(&fd, signal)?;
    wake(container)?;
    let patience = Duration::from_secs(seconds.unwrap_or(container.record.stop.timeout));
    if !ends_within(&fd, patience)? {
        sys::pidfd_send_signal(&fd, libc::SIGKILL)?;
        let name = Signal::try_from(signal).map_or(signal.to_string(), |signal| signal.to_string());
        let why = match deaf {
            true => format!(
                "its pid 1 has no handler for {name}, so the kernel drops it (run it with --init, or with \
                 --stop-signal KILL)"
            ),
            false => format!("it did not end on {name}"),
        };
        narrate::warn(format_args!(
            "{} had to be killed after {} s: {why}",
            container.name,
            patience.as_secs()
        ));
    }
    settled(store, &container.id)
}

/// One that is paused would not see the signal.
fn wake(container: &Container) -> Result<()> {
    match container.state {
        State::Paused(_) => pause::thaw(container),
        _ => Ok(()),
    }
}

fn ends_within(pidfd: &OwnedFd, patience: Duration) -> Result<bool> {
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    Ok(poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout)? > 0)
}

/// Until its rubber has written down how it ended, or removed it.
fn settled(store: &Store, id: &str) -> Result<()> {
    let begin = Instant::now();
    while find::find(store, id).is_ok_and(|container| !matches!(container.state, State::Ended(_))) {
        if begin.elapsed() > Duration::from_secs(10) {
            bail!("container {id} has ended, and its rubber does not clear up: is it stopped?");
        }
        sleep(Duration::from_millis(2));
    }
    Ok(())
}

impl Kill {
    pub fn main(self, store: &Store) -> Result<()> {
        let signal = container::signal(&self.signal)?;
        each(&self.containers, |word| {
            let container = find::find(store, word)?;
            sys::pidfd_send_signal(&container.pidfd()?.1, signal)?;
            // As docker: what is to end it wakes it, any other signal waits for `unpause`.
            if [libc::SIGKILL, container.record.stop.signal].contains(&signal) {
                wake(&container)?;
            }
            super::line(&container.name)
        })
    }
}

impl Wait {
    pub fn main(self, store: &Store) -> Result<()> {
        each(&self.containers, |word| {
            let container = find::find(store, word)?;
            let (id, mut state) = (container.id, container.state);
            while !matches!(state, State::Ended(_)) {
                sleep(Duration::from_millis(20));
                state = match find::find(store, &id) {
                    Ok(container) => container.state,
                    Err(_) => {
                        bail!("container {word} was removed at its end (--rm): its exit code went with it")
                    }
                };
            }
            match state {
                State::Ended(ended) => super::line(&ended.code.to_string()),
                _ => Ok(()),
            }
        })
    }
}

impl Rm {
    pub fn main(self, store: &Store) -> Result<()> {
        each(&self.containers, |word| {
            let container = match find::find(store, word) {
                // No error, but where nothing can be found at all.
                Err(_) if self.force => return find::all(store).map(drop),
                found => found?,
            };
            if container.state.pid().is_some() && self.force {
                if let Ok((_, fd)) = container.pidfd() {
                    sys::pidfd_send_signal(&fd, libc::SIGKILL)?;
                    wake(&container)?;
                }
                settled(store, &container.id)?;
            }
            let volumes = if self.volumes { Anonymous::Go } else { Anonymous::Stay };
            discard(store, &container.id, word, volumes)?;
            super::line(&container.name)
        })
    }
}

/// One that has ended may be held for a moment: by its rubber, which is just ending, or by who copies out of it.
fn discard(store: &Store, id: &str, word: &str, volumes: Anonymous) -> Result<()> {
    let begin = Instant::now();
    while record::discard(store, id, volumes)?.is_none() {
        match find::find(store, id) {
            // With --rm it has removed itself.
            Err(_) => return Ok(()),
            Ok(container) if !matches!(container.state, State::Ended(_)) => {
                bail!("container {word} still runs: rubber stop {word}, or rm -f")
            }
            Ok(_) if begin.elapsed() > Duration::from_secs(10) => {
                bail!("container {word} has ended, but another rubber is still at work on its files")
            }
            Ok(_) => sleep(Duration::from_millis(2)),
        }
    }
    Ok(())
}

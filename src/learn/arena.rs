//! The arena: namespaces of its own for every attempt, so that a wrong exercise hurts only them.
//!
//! Three processes: `rubber learn` waits outside with a clock; `arena` leaves the host's namespaces; the
//! `warden` is pid 1 in there, and with it the kernel kills whatever the attempt has started.

use super::{bundle, ground, witness};
use crate::sys;
use anyhow::{Context, Result, bail};
use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::CloneFlags,
    sys::{signal::Signal, wait::WaitPidFlag},
    unistd::{Pid, pipe2},
};
use serde_json::Value;
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::AsFd,
    path::PathBuf,
    time::{Duration, Instant},
};

/// What is to be tried.
#[derive(Default)]
pub struct Attempt {
    /// The learner's rubber.
    pub binary: PathBuf,
    /// The last one that is on; without any there is no container at all.
    pub layer: Option<String>,
    /// For `rubber run`.
    pub flags: Vec<String>,
    /// What the container tries against the arena.
    pub attacks: Vec<String>,
    /// A config.json, of which a container is made in place of all that: see `bundle`.
    pub bundle: Option<String>,
}

/// The warden gives an attempt less than this; beyond it the warden itself is in trouble.
fn patience() -> Duration {
    3 * witness::patience() + Duration::from_secs(6)
}

/// Runs it, and returns the facts before, inside and after.
pub fn run(attempt: &Attempt) -> Result<Value> {
    let groups = ground::make_groups()?;
    if attempt.attacks.iter().any(|attack| attack == "spin") {
        ground::prefer(&groups);
    }
    let told = told(attempt, &groups);
    ground::remove_groups(&groups)?;
    match serde_json::from_slice::<Result<Value, String>>(&told?) {
        Ok(Ok(facts)) => Ok(facts),
        Ok(Err(why)) => bail!("the arena could not be made: {why}"),
        Err(_) => bail!("the arena ended before it had told anything"),
    }
}

fn told(attempt: &Attempt, groups: &[PathBuf]) -> Result<Vec<u8>> {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    // The copy keeps the writing end, and we do not: so the end of the text is the arena's end.
    let arena = sys::fork("arena", move || enter(attempt, groups, writer.into()))?;
    let told = read_in_time(reader.into(), arena);
    while sys::wait4(WaitPidFlag::empty())?.is_some_and(|(ended, _)| ended != arena) {}
    told
}

/// All that `file` has to say, until there is nobody left who could say something.
fn read_in_time(mut file: File, arena: Pid) -> Result<Vec<u8>> {
    let deadline = Instant::now() + patience();
    let (mut text, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        if poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
            // The warden asked to be killed with it, and takes all others along.
            sys::kill(arena, Signal::SIGKILL as i32)?;
            bail!("the arena did not end within {} seconds and was killed", patience().as_secs());
        }
        match file.read(&mut buffer)? {
            0 => return Ok(text),
            length => text.extend_from_slice(&buffer[..length]),
        }
    }
}

/// Leaves the host's namespaces, and waits for the warden.
fn enter(attempt: &Attempt, groups: &[PathBuf], out: File) -> Result<u8> {
    ground::join(groups)?;
    // Opened here, where their names still mean the host's files.
    let open_own = || File::open("/proc/self/exe").context("cannot find our own binary: is /proc mounted?");
    let learners = match attempt.bundle {
        Some(_) => open_own()?,
        None => File::open(&attempt.binary).with_context(|| attempt.binary.display().to_string())?,
    };
    let own = open_own()?;
    ground::leave_user_namespace()?;
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    flags |= CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID;
    sys::unshare(flags)?;
    let warden = sys::fork("warden", move || guard(attempt, groups, (learners, own), out))?;
    while sys::wait4(WaitPidFlag::empty())?.is_some_and(|(ended, _)| ended != warden) {}
    Ok(0)
}

fn guard(attempt: &Attempt, groups: &[PathBuf], binaries: (File, File), mut out: File) -> Result<u8> {
    let facts = ground::prepare(binaries, groups).and_then(|()| match &attempt.bundle {
        Some(config) => bundle::watch(config),
        None => witness::watch(attempt),
    });
    let facts = facts.map_err(|error| format!("{error:#}"));
    out.write_all(&serde_json::to_vec(&facts)?)?;
    Ok(0)
}

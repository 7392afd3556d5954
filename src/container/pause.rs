//! Paused containers: the kernel's freezer stops every process of a cgroup at once, and none of them can tell.
//!
//! Version 2 has a file for it in every group. Version 1 has a tree of its own for it: the container's group
//! there is made, and all its processes are moved in, when it is first paused.

use super::{find::Container, supervise};
use crate::{
    layers::{
        Layer,
        cgroup::{Place, Version},
    },
    sys,
};
use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    sys::wait::waitpid,
    unistd::{ForkResult, Pid, fork},
};
use std::{
    fs::{self, read_to_string},
    io::{ErrorKind, PipeWriter, Read, pipe},
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

/// How long the kernel may take: a process that waits for a disk is frozen when it has its answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether its processes are stopped, or about to be.
pub fn is_paused(place: &Place) -> bool {
    let file = match place.version {
        Version::V1 => place.freezer.as_ref().map(|group| group.join("freezer.self_freezing")),
        Version::V2 => place.groups.first().map(|group| group.dir.join("cgroup.freeze")),
    };
    file.and_then(|file| read_to_string(file).ok()).is_some_and(|text| text.trim() == "1")
}

/// Stops all its processes, and returns when they stand still.
pub fn freeze(container: &Container) -> Result<()> {
    let place = &container.record.config.cgroup;
    let begin = Instant::now();
    begin_freezing(container)?;
    while !is_frozen(place) {
        if begin.elapsed() > PATIENCE {
            thaw(container)?;
            bail!("{} does not stand still after {} s: it goes on", container.name, PATIENCE.as_secs());
        }
        sleep(Duration::from_millis(1));
        // One that was forked while we moved its parent is still outside.
        begin_freezing(container)?;
    }
    Ok(())
}

fn begin_freezing(container: &Container) -> Result<()> {
    let place = &container.record.config.cgroup;
    match (place.version, &place.freezer, place.groups.first()) {
        (Version::V2, _, Some(group)) => write(&group.dir.join("cgroup.freeze"), "1"),
        (Version::V1, Some(freezer), Some(group)) => {
            let made =
                gather(freezer, &group.dir).and_then(|()| write(&freezer.join("freezer.state"), "FROZEN"));
            if container.pidfd().is_err() {
                // It has ended meanwhile, and nobody would remove the group.
                let _ = fs::remove_dir(freezer);
                bail!("container {} has just ended", container.name);
            }
            made
        }
        _ => bail!("{}", lacking(container)),
    }
}

/// Moves every process of `group` into the freezer's own group.
fn gather(freezer: &Path, group: &Path) -> Result<()> {
    match fs::create_dir(freezer) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("mkdir({freezer:?})"));
        }
        _ => {}
    }
    let there = pids(freezer)?;
    for pid in pids(group)?.into_iter().filter(|pid| !there.contains(pid)) {
        match fs::write(freezer.join("cgroup.procs"), &pid) {
            // It has ended.
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => {}
            moved => moved.with_context(|| format!("write({freezer:?}/cgroup.procs, {pid:?})"))?,
        }
    }
    Ok(())
}

fn pids(group: &Path) -> Result<Vec<String>> {
    let file = group.join("cgroup.procs");
    let text = read_to_string(&file).with_context(|| format!("cannot read {file:?}"))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn is_frozen(place: &Place) -> bool {
    let read = |file: PathBuf| read_to_string(file).unwrap_or_default();
    match (place.version, &place.freezer, place.groups.first()) {
        (Version::V1, Some(freezer), Some(group)) => {
            let all = pids(&group.dir).unwrap_or_default();
            let frozen = pids(freezer).unwrap_or_default();
            read(freezer.join("freezer.state")).trim() == "FROZEN"
                && all.iter().all(|pid| frozen.contains(pid))
        }
        (Version::V2, _, Some(group)) => read(group.dir.join("cgroup.events")).contains("frozen 1"),
        _ => false,
    }
}

/// Lets them run again.
pub fn thaw(container: &Container) -> Result<()> {
    let place = &container.record.config.cgroup;
    let outcome = match (place.version, &place.freezer, place.groups.first()) {
        (Version::V1, Some(freezer), _) => write(&freezer.join("freezer.state"), "THAWED"),
        (Version::V2, _, Some(group)) => write(&group.dir.join("cgroup.freeze"), "0"),
        _ => bail!("{}", lacking(container)),
    };
    match outcome {
        // It has ended, and its group is gone.
        Err(_) if container.pidfd().is_err() => Ok(()),
        outcome => outcome,
    }
}

fn write(file: &Path, value: &str) -> Result<()> {
    fs::write(file, value).with_context(|| format!("write({file:?}, {value:?})"))
}

fn lacking(container: &Container) -> &'static str {
    let config = &container.record.config;
    match config.cgroup.version {
        _ if !config.layers.any(&[Layer::Cpu, Layer::Memory]) => {
            "pausing takes a cgroup of its own: that is part of the layers cpu and memory"
        }
        Version::V1 => {
            "pausing takes a cgroup of its own and the freezer, which in cgroup version 1 only root has: sudo, \
             or boot with version 2"
        }
        Version::V2 => {
            "pausing takes a cgroup of its own: have one delegated to you, with systemd-run --user --scope \
             -p Delegate=yes rubber run ..."
        }
    }
}

/// Keeps a container still for as long as it lives, and lets it go even if we are killed.
pub struct Stillness {
    guardian: Pid,
    end: Option<PipeWriter>,
}

impl Stillness {
    /// None where it is paused already.
    pub fn of(container: &Container) -> Result<Option<Stillness>> {
        if container.state.pid().is_none() || is_paused(&container.record.config.cgroup) {
            return Ok(None);
        }
        let place = &container.record.config.cgroup;
        if place.groups.is_empty() || place.version == Version::V1 && place.freezer.is_none() {
            bail!("{}", lacking(container));
        }
        let (mut wait, end) = pipe()?;
        // SAFETY: no second thread exists here (held by a test).
        let guardian = match unsafe { fork() }.map_err(sys::no_more_processes).context("fork()")? {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                drop(end);
                let _ = supervise::hold_signals();
                let _ = wait.read(&mut [0]);
                std::process::exit(thaw(container).map_or_else(crate::report, |()| 0).into());
            }
        };
        let stillness = Stillness { guardian, end: Some(end) };
        freeze(container).map(|()| Some(stillness))
    }
}

impl Drop for Stillness {
    fn drop(&mut self) {
        self.end = None;
        let _ = waitpid(self.guardian, None);
    }
}

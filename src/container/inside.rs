//! The files of a container, seen from its root: of one that runs, and of one that has ended.
//!
//! What is done to them is done by a process of its own. It has the container's root for its own root and its users
//! for its users, but joins nothing of the container's: nobody in there gets to see it.

use super::{
    find::{Container, State},
    supervise,
};
use crate::{
    Exit,
    config::Config,
    image::below::Below,
    layers::{Layer, idmap, lower, userns},
    removal, sys,
};
use anyhow::{Context, Result, bail};
use nix::{
    libc,
    mount::MsFlags,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::CloneFlags,
};
use std::{ffi::OsString, fs::File, os::fd::AsFd, path::Path};

/// The root directory of one that runs: from here on it is the same directory, whatever becomes of the process.
pub fn root_of_running(container: &Container) -> Result<Below> {
    let (pid, pidfd) = container.pidfd()?;
    let root = Below::open(Path::new(&format!("/proc/{pid}/root")));
    // Its number may have become another's before we looked.
    if poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)? > 0 {
        bail!("container {} has just ended", container.name);
    }
    root.with_context(|| format!("cannot look into container {}", container.name))
}

#[derive(Clone, Copy, PartialEq)]
pub enum Purpose {
    Read,
    Write,
}

/// What is needed of a container before its files can be looked at. Keep it until that is done.
pub struct Visit<'a> {
    config: &'a Config,
    purpose: Purpose,
    running: Option<Below>,
    /// Nobody removes it meanwhile, and nobody else writes to one that has ended.
    /// (A `Flock` would let go of it as soon as the other process drops its copy.)
    _held: Option<File>,
}

impl<'a> Visit<'a> {
    pub fn prepare(container: &'a Container, purpose: Purpose) -> Result<Visit<'a>> {
        let (config, name) = (&container.record.config, &container.name);
        if !config.layers.any(&[Layer::Chroot, Layer::PivotRoot, Layer::Overlay]) {
            bail!("container {name} has no files of its own: it was run without a root directory");
        }
        let mut visit = Visit { config, purpose, running: None, _held: None };
        match container.state {
            State::Created => bail!("container {name} is still being made"),
            State::Running(_) | State::Paused(_) => visit.running = Some(root_of_running(container)?),
            State::Ended(_) if is_forgotten(config) => bail!(
                "what container {name} wrote was in memory, and is gone with it: the store is on an overlay, so name \
                 another with --root DIR"
            ),
            State::Ended(_) => visit._held = Some(hold(container, purpose)?),
        }
        Ok(visit)
    }

    /// Makes this process the container's root, as far as files go, and returns its root directory.
    pub fn enter(&self) -> Result<Below> {
        if idmap::any(self.config) {
            return self.enter_by_map();
        }
        become_its_root(self.config)?;
        match &self.running {
            Some(root) => Ok(Below::at(root.root().try_clone_to_owned()?)),
            None if self.config.layers.contains(Layer::Overlay) => self.mount(),
            None => Below::open(&self.config.dir),
        }
    }

    /// Its root is somebody who may not enter the store: so what is in there is opened first.
    fn enter_by_map(&self) -> Result<Below> {
        let root = match &self.running {
            Some(root) => Below::at(root.root().try_clone_to_owned()?),
            None => {
                leave_mounts()?;
                idmap::show(self.config)?;
                self.mount()?
            }
        };
        become_its_root(self.config)?;
        idmap::take_root(self.config)?;
        Ok(root)
    }

    fn mount(&self) -> Result<Below> {
        let config = self.config;
        leave_mounts()?;
        if let Purpose::Write = self.purpose {
            // It remembers that nothing of the last mount was synced, and refuses another: it is only scratch.
            removal::remove_tree(&config.work())?;
            sys::mkdir(&config.work(), 0o755)?;
        }
        lower::named(config, || mount_overlay(config, self.options()))
    }

    fn options(&self) -> OsString {
        let config = self.config;
        let mut options = OsString::from("lowerdir=");
        match self.purpose {
            Purpose::Read => {
                options.push(lower::escape(&config.upper()));
                options.push(":");
                options.push(lower::names(config));
            }
            Purpose::Write => {
                options.push(lower::names(config));
                options.push(",upperdir=");
                options.push(lower::escape(&config.upper()));
                options.push(",workdir=");
                options.push(lower::escape(&config.work()));
            }
        }
        options
    }
}

/// Its upper layer was a tmpfs in its own mount namespace.
fn is_forgotten(config: &Config) -> bool {
    config.upper_in_memory && config.layers.contains(Layer::Overlay)
}

/// The image alone, without what the container has written.
pub fn image(config: &Config) -> Result<Below> {
    match &config.image[..] {
        [one] => Below::open(one),
        _ => {
            leave_mounts()?;
            lower::named(config, || {
                let mut options = OsString::from("lowerdir=");
                options.push(lower::names(config));
                mount_overlay(config, options)
            })
        }
    }
}

/// What it has written, as long as that lies on a disk.
pub fn upper(container: &Container) -> Result<Below> {
    let (config, name) = (&container.record.config, &container.name);
    if !config.layers.contains(Layer::Overlay) {
        bail!(
            "container {name} has a copy of its image, and no layer of its own: that takes the overlay layer"
        );
    }
    if config.upper_in_memory {
        bail!(
            "what container {name} writes is kept in memory, out of reach: the store is on an overlay, so name \
             another with --root DIR"
        );
    }
    Below::open(&config.upper())
}

/// In a user namespace of the same ids as its own, if it has one.
pub fn become_its_root(config: &Config) -> Result<()> {
    if config.layers.contains(Layer::Userns) {
        userns::enter(&config.ids)?;
    }
    // A container that sees the host's processes sees this one.
    sys::prctl_not_dumpable()
}

/// How overlayfs marks an opaque directory in its upper layer.
pub fn opaque(config: &Config) -> &'static str {
    use crate::image::whiteout::{TRUSTED, USER};
    if config.layers.contains(Layer::Userns) { USER } else { TRUSTED }
}

fn hold(container: &Container, purpose: Purpose) -> Result<File> {
    let record = container.file("json");
    let gone = || format!("container {} has just been removed", container.name);
    let file = File::open(&record).with_context(gone)?;
    match purpose {
        Purpose::Read => file.lock_shared(),
        Purpose::Write => file.lock(),
    }
    .context("flock()")?;
    if record.exists() { Ok(file) } else { bail!(gone()) }
}

/// What is mounted from here on goes with this process.
fn leave_mounts() -> Result<()> {
    sys::unshare(CloneFlags::CLONE_NEWNS)?;
    sys::mount(None, Path::new("/"), None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)
}

fn mount_overlay(config: &Config, mut options: OsString) -> Result<Below> {
    if config.layers.contains(Layer::Userns) {
        options.push(",userxattr");
    }
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    sys::mount(Some(Path::new("overlay")), &config.dir, Some("overlay"), flags, Some(&options))?;
    Below::open(&config.dir)
}

/// Runs `inside` in a process of its own, and `here` meanwhile. The first of the two that fails is the one that has
/// something to say: the other only lost whom it talked to.
pub fn both<T>(inside: impl FnOnce() -> Result<u8>, here: impl FnOnce() -> Result<T>) -> Result<T> {
    let child = sys::fork("files", inside)?;
    let outcome = here();
    if outcome.is_err() {
        // Nothing, where it has failed itself: it has said so by the time we see its end of a pipe close.
        let _ = sys::kill(child, libc::SIGKILL);
    }
    match (supervise::wait_for(child)?, outcome) {
        (0, outcome) => outcome,
        (137, Err(error)) => Err(error),
        (code, _) => bail!(Exit(code, String::new())),
    }
}

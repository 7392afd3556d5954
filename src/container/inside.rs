//! The files of a container, seen from its root: of one that runs, and of one that has ended.

use super::find::Container;
use crate::image::below::Below;
use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{os::fd::AsFd, path::Path};

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

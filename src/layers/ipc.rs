//! IPC and cgroup namespaces: System V and POSIX message queues of our own,
//! and a cgroup tree that starts where we are.

use crate::{config::Config, sys};
use anyhow::Result;
use nix::sched::CloneFlags;

pub fn unshare(_: &Config) -> Result<()> {
    sys::unshare(CloneFlags::CLONE_NEWIPC)?;
    // The cgroup we are in now is "/" from here on: see cgroup_namespaces(7).
    sys::unshare(CloneFlags::CLONE_NEWCGROUP)
}

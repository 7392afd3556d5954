//! IPC and cgroup namespaces: System V and POSIX message queues of our own,
//! and a cgroup tree that starts where we are.

use crate::{config::Config, sys};
use anyhow::Result;
use nix::sched::CloneFlags;
use std::path::Path;

pub fn unshare(_: &Config) -> Result<()> {
    sys::unshare(CloneFlags::CLONE_NEWIPC)?;
    // The cgroup we are in now is "/" from here on: see cgroup_namespaces(7).
    sys::unshare(CloneFlags::CLONE_NEWCGROUP)
}

pub fn any_parameters(config: &Config) -> bool {
    !config.sysctls.is_empty()
}

/// `--sysctl`: which of our namespaces a parameter of /proc/sys is of, the kernel finds out by who writes it.
pub fn set_parameters(config: &Config) -> Result<()> {
    for (name, value) in &config.sysctls {
        sys::write(&Path::new("/proc/sys").join(name.replace('.', "/")), value)?;
    }
    Ok(())
}

//! IPC, cgroup and time namespaces: System V and POSIX message queues of our own, a cgroup tree that starts where
//! we are, and clocks that count from another moment.

use crate::{config::Config, sys};
use anyhow::Result;
use nix::sched::CloneFlags;
use std::path::Path;

pub fn unshare(config: &Config) -> Result<()> {
    // The cgroup we are in now is "/" from here on: see cgroup_namespaces(7).
    let both = CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWCGROUP;
    sys::unshare(both & config.namespaces.own())
}

pub fn any_offsets(config: &Config) -> bool {
    !config.clocks.is_empty()
}

/// `--timens`. As with pids, it is the next child who is inside; and once it is, the offsets stand for good:
/// time_namespaces(7).
pub fn shift_clocks(config: &Config) -> Result<()> {
    sys::unshare(sys::CLONE_NEWTIME)?;
    for (clock, seconds) in &config.clocks {
        sys::write(Path::new("/proc/self/timens_offsets"), &format!("{clock} {seconds} 0"))?;
    }
    Ok(())
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

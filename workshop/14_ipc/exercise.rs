//! IPC, cgroup and time namespaces: System V and POSIX message queues of our own, a cgroup tree that starts where
//! we are, and clocks that count from another moment.

use crate::{config::Config, learn::not_yet, sys};
use anyhow::Result;
use nix::sched::CloneFlags;
use std::path::Path;

pub fn unshare(config: &Config) -> Result<()> {
    // What is to stay the host's, or another container's, is none of ours to make: FLAG & own leaves it out.
    let own = config.namespaces.own();
    // Step 3: leave the host's message queues, semaphores and shared memory.
    not_yet(3)?;
    // Step 4: make the cgroup we are in the root of all we see.
    not_yet(4)
}

pub fn any_offsets(config: &Config) -> bool {
    !config.clocks.is_empty()
}

/// `--timens`. As with pids, it is the next child who is inside; and once it is, the offsets stand for good:
/// time_namespaces(7).
pub fn shift_clocks(config: &Config) -> Result<()> {
    // Step 1: make a time namespace for the next child.
    not_yet(1)?;
    // Step 2: say how far its clocks are from ours.
    not_yet(2)
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

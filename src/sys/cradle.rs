//! clone3(2), for what no other call can: to be born in a cgroup.

use super::process::which;
use crate::narrate;
use nix::{libc, sched::CloneFlags, unistd::ForkResult};
use std::{cell::Cell, fs::File, os::fd::AsRawFd, path::Path};

/// A cgroup of version 2 that a process can be born in. To move there later, by `cgroup.procs`, the kernel holds up every
/// fork on the machine, and waits some 10 ms until none is left.
pub struct Cradle<'a> {
    pub group: &'a Path,
    /// For the copy to know whether it came about: old kernels cannot (before 5.7), and not everybody may. Then it is
    /// told what stands in the way when it joins as others do.
    pub is_used: &'a Cell<bool>,
}

/// One that is open, and whether it is used.
pub type Opened<'a> = (File, &'a Cell<bool>);

impl<'a> Cradle<'a> {
    pub fn open(self) -> Option<Opened<'a>> {
        let group = if narrate::is_dry() { Path::new("/dev/null") } else { self.group };
        Some((File::open(group).ok()?, self.is_used))
    }
}

/// linux/sched.h; the crate libc's has the wrong type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// struct clone_args of clone3(2), as far as Linux 5.7 knows it.
#[repr(C)]
#[derive(Default)]
struct CloneInto {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// # Safety
/// As fork(2).
pub unsafe fn copy_into(flags: CloneFlags, group: &File) -> nix::Result<ForkResult> {
    let wish = CloneInto {
        flags: CLONE_INTO_CGROUP | flags.bits() as u64,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: group.as_raw_fd() as u64,
        ..CloneInto::default()
    };
    which(unsafe { libc::syscall(libc::SYS_clone3, &wish, size_of::<CloneInto>()) })
}

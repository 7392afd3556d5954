//! How soon a process has its turn, at the processor and at the disk; and for what machine it was written.

use super::call;
use anyhow::Result;
use nix::{errno::Errno, libc, sched::CpuSet, unistd::Pid};

/// What sched_setattr(2) takes (struct sched_attr of linux/sched/types.h): as yet without limits of utilisation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Turn {
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    /// Nanoseconds.
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

pub fn sched_setattr(turn: &Turn) -> Result<()> {
    let Turn { policy, flags, nice, priority, runtime, deadline, period } = *turn;
    let low = |first: u32, second: u32| u64::from(first) | u64::from(second) << 32;
    let attributes = [low(48, policy), flags, low(nice.cast_unsigned(), priority), runtime, deadline, period];
    let text = format!(
        "sched_setattr(0, {{size=48, sched_policy={policy}, sched_flags={flags}, sched_nice={nice}, \
         sched_priority={priority}, sched_runtime={runtime}, sched_deadline={deadline}, sched_period={period}}}, 0)"
    );
    // SAFETY: the kernel reads the 48 bytes that the first of them says there are.
    call(format_args!("{text}"), || {
        Errno::result(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, attributes.as_ptr(), 0) }).map(drop)
    })
}

/// Of this process: the class and the number in it, see ioprio_set(2).
pub fn ioprio_set(class: u8, priority: u8) -> Result<()> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    let value = i32::from(class) << 13 | i32::from(priority);
    call(format_args!("ioprio_set(IOPRIO_WHO_PROCESS, 0, {class}<<13|{priority})"), || {
        // SAFETY: no pointers.
        Errno::result(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) }).map(drop)
    })
}

/// The processors this process, and all it starts, may run on: sched_setaffinity(2). `list` is how that is written.
pub fn sched_setaffinity(list: &str, set: &CpuSet) -> Result<()> {
    call(format_args!("sched_setaffinity(0, {}, [{list}])", size_of::<CpuSet>()), || {
        nix::sched::sched_setaffinity(Pid::from_raw(0), set)
    })
}

/// As what kernel this one shows itself: personality(2).
pub fn personality(domain: u64) -> Result<()> {
    call(format_args!("personality({domain:#x})"), || {
        // SAFETY: no pointers.
        Errno::result(unsafe { libc::personality(domain) }).map(drop)
    })
}

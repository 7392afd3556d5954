//! Seccomp: a small program in the kernel looks at each system call, and answers those no container needs itself.

use super::Layer;
use crate::{
    config::Config,
    filter::{Filter, KILL_PROCESS, bpf, errno},
    learn::not_yet,
    sys,
};
use anyhow::Result;
use nix::libc;

/// Whether it is loaded while root's powers are still there: a filter takes CAP_SYS_ADMIN, so that nobody can
/// give a setuid program one that has it go wrong.
pub fn on_its_right(config: &Config) -> bool {
    has_filter(config) && !config.no_new_privileges
}

/// Or at the very end, because who has promised that no program is more than it was has nobody to deceive.
pub fn on_its_promise(config: &Config) -> bool {
    has_filter(config) && config.no_new_privileges
}

fn has_filter(config: &Config) -> bool {
    !matches!(config.seccomp, Filter::Unconfined)
}

pub fn has_promised(config: &Config) -> bool {
    config.no_new_privileges
}

/// From here on execve(2) gives nothing: no setuid bit counts, and no capabilities of a file. For good, and for
/// all children: see PR_SET_NO_NEW_PRIVS.
pub fn promise(_: &Config) -> Result<()> {
    // Step 1: promise it.
    not_yet(1)
}

/// There is no way back from this, for us or for any child of ours: what comes after must be allowed by it.
pub fn load(config: &Config) -> Result<()> {
    // Without that layer nobody takes root's powers away.
    let capabilities = match config.layers.contains(Layer::Capabilities) {
        true => config.capabilities.clone(),
        false => caps::all().into_iter().collect(),
    };
    // 32-bit programs are let in by some profiles and for some images: the same as here, for each machine.
    let policies = config.seccomp.policies(&capabilities)?;
    let [policy] = &policies[..] else { return sys::seccomp_filter(&bpf::whole(&policies)) };
    // Step 2: begin a program, a vec![] of instructions that `bpf` makes: end a process that makes another machine's calls, and have those of x32 be unknown.
    not_yet(2)?;
    // Step 3: answer the calls of this machine as the policy says.
    not_yet(3)?;
    // Step 4: give the program to the kernel.
    not_yet(4)
}

/// AUDIT_ARCH_* of linux/audit.h: the machine's number in ELF, and bits for 64-bit and little endian.
#[cfg(target_arch = "x86_64")]
const MACHINE: u32 = 62 | 0xc000_0000;
#[cfg(target_arch = "aarch64")]
const MACHINE: u32 = 183 | 0xc000_0000;

/// The bit that makes a call one of x32. No machine has as many calls.
const X32: u32 = 0x4000_0000;

//! Seccomp: a small program in the kernel looks at each system call, and answers those no container needs itself.

use super::Layer;
use crate::{
    config::Config,
    filter::{Filter, KILL_PROCESS, bpf, errno},
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
    sys::prctl_no_new_privs()
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
    // A call is known by its number, and the same number is another call on another machine: a 64-bit kernel also
    // runs 32-bit programs. Then there is x32, with the machine of x86-64 and numbers of its own.
    let mut program = vec![
        bpf::load_machine(),
        bpf::skip_if_equal(MACHINE),
        bpf::answer(KILL_PROCESS),
        bpf::load_number(),
        bpf::skip_if_less(X32),
        bpf::answer(errno(libc::ENOSYS)),
    ];
    program.extend(bpf::search(policy));
    sys::seccomp_filter(&program)
}

/// AUDIT_ARCH_* of linux/audit.h: the machine's number in ELF, and bits for 64-bit and little endian.
#[cfg(target_arch = "x86_64")]
const MACHINE: u32 = 62 | 0xc000_0000;
#[cfg(target_arch = "aarch64")]
const MACHINE: u32 = 183 | 0xc000_0000;

/// The bit that makes a call one of x32. No machine has as many calls.
const X32: u32 = 0x4000_0000;

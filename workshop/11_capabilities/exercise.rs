//! Capabilities: root's powers, one by one.

use super::user;
use crate::{config::Config, learn::not_yet, narrate, sys};
use anyhow::{Context, Result};
use caps::Capability::{self, *};
use nix::{errno::Errno, libc, unistd::Uid};

/// What root in a container keeps, unless told otherwise: docker's fourteen.
#[rustfmt::skip]
pub const DEFAULT: [Capability; 14] = [
    CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FSETID, CAP_FOWNER, CAP_MKNOD, CAP_NET_RAW, CAP_SETGID, CAP_SETUID,
    CAP_SETFCAP, CAP_SETPCAP, CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT, CAP_KILL, CAP_AUDIT_WRITE,
];

/// The bounding set is what execve(2) can ever give back to root or to a
/// setuid program, so it has to shrink too. Each drop takes CAP_SETPCAP:
/// it must be done before anything else is dropped.
pub fn bound(config: &Config) -> Result<()> {
    let mut known: Vec<_> = caps::all().into_iter().collect();
    known.sort_by_key(Capability::index);
    // Step 1: take each of them out of the bounding set that is not among config.capabilities. (An older
    // kernel does not know them all: `is_known`.)
    not_yet(1)
}

/// An older kernel has fewer of them.
fn is_known(capability: Capability) -> Result<bool> {
    // SAFETY: no pointers.
    let read = unsafe { libc::prctl(libc::PR_CAPBSET_READ, libc::c_ulong::from(capability.index())) };
    match Errno::result(read) {
        Err(Errno::EINVAL) => Ok(false),
        is_in => is_in.map(|is_in| is_in == 1).context("prctl(PR_CAPBSET_READ)"),
    }
}

/// What is left of root. Another user has none, as after any setuid(2).
pub fn drop(config: &Config) -> Result<()> {
    // A rehearsal has not become anybody.
    let is_root = match narrate::is_dry() {
        true => user::account(config)?.uid == 0,
        false => Uid::effective().is_root(),
    };
    // Step 2: root keeps config.capabilities as its effective and permitted set, anybody else nothing.
    // Nobody keeps anything that is inheritable or ambient.
    not_yet(2)
}

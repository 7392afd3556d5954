//! A process of ours among others: until it is the command, nothing may be had of it.
//!
//! A container's process can look into another that it sees, when that one may do no more than it may and is dumpable
//! (ptrace(2), "Ptrace access mode checking"): into its descriptors, its root, its memory. execve(2) makes the command
//! dumpable again, after it has closed the descriptors.

use crate::{
    config::Config,
    layers::{Layer, namespaces::Namespace},
    narrate, sys,
};
use anyhow::Result;
use nix::unistd::geteuid;

/// Whether the first process comes to be no more than others that have power over it. Root of all is out of their reach.
pub fn is_needed(config: &Config) -> bool {
    let is_shared = config.layers.contains(Layer::Userns) || gives_up(config) && geteuid().is_root();
    is_shared && !has_own_users(config)
}

/// Before these layers all of root's powers stay.
pub fn gives_up(config: &Config) -> bool {
    config.layers.any(&[Layer::User, Layer::Capabilities])
}

/// In a user namespace of its own others have no power over it. (And there an ordinary user's strace(1) can look on.)
fn has_own_users(config: &Config) -> bool {
    config.layers.contains(Layer::Userns) && config.namespaces.is_own(Namespace::User)
}

/// Its children begin as it is.
pub fn hide(_: &Config) -> Result<()> {
    sys::prctl_not_dumpable()
}

/// Becoming another user shows it again, where fs.suid_dumpable is 1 (proc_sys_fs(5)). (Who we are by then says nothing of
/// who we were.)
pub fn is_undone(config: &Config) -> bool {
    config.layers.contains(Layer::User) && config.user != "0" && !has_own_users(config)
}

/// Once powers are given up, a process of the container holds no file, directory, process or socket of the host's: only
/// what it needs to become the command, or to say why it cannot.
pub fn let_go(config: &Config) -> Result<()> {
    if is_looked_into(config) {
        sys::wipe_environment();
    }
    sys::many_calls("close every descriptor that is not needed any more", || {
        let mut first = 3;
        for kept in needed(config) {
            sys::close_now(first, kept - 1)?;
            first = kept + 1;
        }
        sys::close_now(first, u32::MAX)
    })
}

/// An init stays, and a process that may trace (CAP_SYS_PTRACE) sees even what is hidden, in a pid namespace of its own or
/// one that is joined: so what the caller has in its environment goes, too.
fn is_looked_into(config: &Config) -> bool {
    let joins = config.target.is_some() || !config.namespaces.is_own(Namespace::Pid);
    let is_of_bundle = !config.bundle.namespaces.is_empty();
    !narrate::is_dry() && (config.init || joins || is_of_bundle)
}

/// In their order. (No descriptor is negative.)
fn needed(config: &Config) -> Vec<u32> {
    let own = [narrate::listener(), sys::parent(), config.streams.start()].into_iter().flatten();
    let own = own.chain(config.bundle.open()).map(|fd| fd as u32);
    let mut all: Vec<_> = (3..3 + config.bundle.preserved).chain(own).collect();
    all.sort_unstable();
    all.dedup();
    all
}

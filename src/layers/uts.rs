//! UTS namespace: a hostname of our own.

use crate::{config::Config, sys};
use anyhow::Result;
use nix::sched::CloneFlags;

pub fn unshare(config: &Config) -> Result<()> {
    // In this order: the other way round it is the host that is renamed.
    sys::unshare(CloneFlags::CLONE_NEWUTS)?;
    sys::sethostname(&config.hostname)
}

//! Wrong: another namespace than the one the hostname belongs to.

use crate::{config::Config, sys};
use anyhow::Result;
use nix::sched::CloneFlags;

pub fn unshare(config: &Config) -> Result<()> {
    sys::unshare(CloneFlags::CLONE_NEWIPC)?;
    sys::sethostname(&config.hostname)
}

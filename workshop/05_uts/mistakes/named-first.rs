//! Wrong: the right calls in the wrong order.

use crate::{config::Config, sys};
use anyhow::Result;
use nix::sched::CloneFlags;

pub fn unshare(config: &Config) -> Result<()> {
    sys::sethostname(&config.hostname)?;
    sys::unshare(CloneFlags::CLONE_NEWUTS)
}

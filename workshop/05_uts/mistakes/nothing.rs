//! Wrong: nothing is done.

use crate::{config::Config, sys};
use anyhow::Result;
use nix::sched::CloneFlags;

pub fn unshare(config: &Config) -> Result<()> {
    Ok(())
}

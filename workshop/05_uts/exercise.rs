//! UTS namespace: a hostname of our own.

use crate::{config::Config, learn::not_yet, sys};
use anyhow::Result;
use nix::sched::CloneFlags;

pub fn unshare(config: &Config) -> Result<()> {
    // Step 1: leave the host's UTS namespace.
    not_yet(1)?;
    // Step 2: take the hostname that `config` asks for.
    not_yet(2)
}

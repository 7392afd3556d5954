//! PID namespace: processes are numbered anew, and the first one is pid 1.

use crate::{config::Config, learn::not_yet, sys};
use anyhow::Result;
use nix::sched::CloneFlags;

/// Does not move *us*: the next child we fork will be the first one inside, and
/// we watch it from here.
/// When that one ends, the kernel kills all others in the namespace.
pub fn unshare(_: &Config) -> Result<()> {
    // Step 1: make a PID namespace for the next child.
    not_yet(1)
}

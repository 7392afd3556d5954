//! The root mount: pivot_root(2) takes the host's filesystems away altogether,
//! where chroot(2) only looks the other way.

use crate::{config::Config, learn::not_yet, sys};
use anyhow::Result;
use nix::mount::{MntFlags, MsFlags};
use std::path::Path;

/// pivot_root wants a mount point, so the directory is mounted onto itself.
/// (It need not be another filesystem, whatever you have read.)
pub fn bind(config: &Config) -> Result<()> {
    // Step 1: make config.dir a mount point, by mounting it onto itself.
    not_yet(1)
}

/// With "." twice the old root ends up mounted on top of the new one, and no
/// directory is needed to hold it: see NOTES in pivot_root(2). It stays our
/// working directory for a while: names without a slash in front are the host's.
pub fn swap(config: &Config) -> Result<()> {
    // Step 2: make it the root mount. The old root shall stay our working directory for a while.
    not_yet(2)
}

/// Detached, because it is busy: we stand in it. Without this the host's files
/// would lie under the container's root, one umount away.
pub fn let_go(_: &Config) -> Result<()> {
    // Step 3: detach the old root, and go inside the new one.
    not_yet(3)
}

//! The root directory, the old way: chroot(2) changes where names start, and
//! nothing else. The chapter breaks out of it; `pivot_root` is what holds.

use crate::{config::Config, image, learn::not_yet, sys};
use anyhow::Result;
use std::path::Path;

/// Every container has a copy of its own, or one would spoil another's image.
pub fn unpack(config: &Config) -> Result<()> {
    // Step 1: copy the image (image::copy) into the container's own directory.
    not_yet(1)
}

/// Only names that start with a slash are the container's after this: the
/// working directory is still the host's, and `..` leads up from it.
pub fn change(config: &Config) -> Result<()> {
    // Step 2: make that directory the root of this process.
    not_yet(2)
}

pub fn enter(_: &Config) -> Result<()> {
    sys::chdir(Path::new("/"))
}

pub fn remove(config: &Config) -> Result<()> {
    sys::remove_tree(&config.dir)
}

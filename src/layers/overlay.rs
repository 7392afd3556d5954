//! A writable layer over a read-only image: one image, many containers, and a
//! start that copies nothing.

use super::lower;
use crate::{config::Config, sys};
use anyhow::Result;
use nix::mount::MsFlags;
use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

/// The upper layer (what was written) and overlay's scratch directory must be
/// on one filesystem.
pub fn make_upper(config: &Config) -> Result<()> {
    if config.upper_in_memory {
        return Ok(());
    }
    sys::mkdir(&config.upper(), 0o755)?;
    sys::mkdir(&config.work(), 0o755)
}

/// Image and upper show as one in the container's directory, over the upper
/// itself. Device nodes that the image brings along do nothing (MS_NODEV).
pub fn mount(config: &Config) -> Result<()> {
    // It may be made already, by somebody who had the power to show the files with other owners.
    let made = config.held.borrow_mut().remove(&config.dir);
    if let Some(made) = made {
        return sys::mounts::move_mount(&made, &sys::open_directory(&config.dir)?);
    }
    if config.upper_in_memory {
        let tmpfs = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        sys::mount(
            Some(Path::new("tmpfs")),
            &config.dir,
            Some("tmpfs"),
            tmpfs,
            Some(OsStr::new("mode=0700")),
        )?;
        sys::mkdir(&config.upper(), 0o755)?;
        sys::mkdir(&config.work(), 0o755)?;
    }
    let options = options(config);
    sys::mount(Some(Path::new("overlay")), &config.dir, Some("overlay"), MsFlags::MS_NODEV, Some(&options))
}

fn options(config: &Config) -> OsString {
    let mut options = OsString::from("lowerdir=");
    options.push(lower::names(config));
    options.push(",upperdir=");
    options.push(lower::escape(&config.upper()));
    options.push(",workdir=");
    options.push(lower::escape(&config.work()));
    // What is thrown away when the container ends need not reach the disk before; what is kept may be asked to.
    if !config.keep {
        options.push(",volatile");
    }
    if config.layers.contains(super::Layer::Userns) {
        // trusted.* attributes are the real root's alone.
        options.push(",userxattr");
    }
    options
}

pub fn remove_upper(config: &Config) -> Result<()> {
    sys::remove_tree(&config.work())?;
    sys::remove_tree(&config.upper())
}

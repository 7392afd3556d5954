//! What of /proc and /sys is the whole machine's: hidden, or read-only.

use super::mounts::empty;
use crate::{
    config::Config,
    place::{is, is_directory, open},
    sys::{self, mounts::*},
};
use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::stat::{Mode, fstat, makedev},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// A file is hidden behind the host's /dev/null, taken hold of while nobody in here could have made another of it.
pub fn hold(config: &Config) -> Result<Vec<OwnedFd>> {
    if config.bundle.masked.is_empty() {
        return Ok(vec![]);
    }
    let null =
        nix::fcntl::open("/dev/null", OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
            .context("open(\"/dev/null\")")?;
    if fstat(&null)?.st_rdev != makedev(1, 3) {
        bail!("/dev/null of the host is another device");
    }
    config.bundle.masked.iter().map(|_| open_tree_alone(null.as_fd())).collect()
}

/// What is not there needs no mask.
pub fn mask(config: &Config) -> Result<()> {
    let root = sys::open_directory(Path::new("/"))?;
    let mut nulls = std::mem::take(&mut config.bundle.held.borrow_mut().nulls);
    for path in &config.bundle.masked {
        let Some(place) = found(&root, path)? else { continue };
        let mask = match is_directory(&place)? {
            true => empty("tmpfs", RDONLY)?,
            false => nulls.pop().context("a mask for each file")?,
        };
        move_mount(&mask, &place).with_context(|| format!("{path:?}"))?;
    }
    Ok(())
}

pub fn close(config: &Config) -> Result<()> {
    let root = sys::open_directory(Path::new("/"))?;
    for path in &config.bundle.readonly {
        let Some(place) = found(&root, path)? else { continue };
        let tree = open_tree(place.as_fd(), "")?;
        mount_setattr(&tree, true, RDONLY, 0)?;
        move_mount(&tree, &place).with_context(|| format!("{path:?}"))?;
    }
    Ok(())
}

fn found(root: &OwnedFd, path: &Path) -> Result<Option<OwnedFd>> {
    match open(root, path) {
        Err(error) if is(&error, Errno::ENOENT) || is(&error, Errno::ENOTDIR) => Ok(None),
        found => found.map(Some),
    }
}

//! Device nodes of an image.

use super::tape::Member;
use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::stat::{Mode, SFlag, makedev, mknodat},
};
use std::{ffi::OsStr, os::fd::AsFd};
use tar::EntryType;

/// Makes the node, open to nobody yet; false where we may not: that takes the machine's own root (CAP_MKNOD in the
/// first user namespace), and a cgroup that lets it. The number 0:0 is no device's, and overlayfs has its own use for it.
pub fn make(parent: impl AsFd, name: &OsStr, member: &Member) -> Result<bool> {
    let kind = if member.kind == EntryType::Block { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
    let (major, minor) = member.device;
    if member.device == (0, 0) {
        return Ok(false);
    }
    let number = makedev(major.into(), minor.into());
    match mknodat(parent, name, kind, Mode::empty(), number) {
        Ok(()) => Ok(true),
        Err(Errno::EPERM) => Ok(false),
        Err(errno) => Err(errno).with_context(|| format!("mknodat({major}:{minor})")),
    }
}

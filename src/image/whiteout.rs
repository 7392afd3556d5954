//! How a layer says that something below it is gone: overlayfs's way, on disk, and OCI's, in an archive.
//! See overlayfs.rst, "whiteouts and opaque directories", and the image specification's layer.md.

use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::stat::{FileStat, Mode, SFlag, mknodat},
};
use std::{ffi::OsStr, fs::File, os::fd::AsFd};
use xattr::FileExt;

/// In an archive: `.wh.NAME` takes NAME away.
pub const PREFIX: &str = ".wh.";

/// In an archive: what aufs kept for itself. The next one is the only one of these that means something to others.
pub const AUFS: &str = ".wh..wh.";

/// In an archive: nothing of the layers below shows in this directory.
pub const OPAQUE: &str = ".wh..wh..opq";

/// In overlayfs: the attribute that says so, the real root's and everybody else's (`userxattr`).
pub const TRUSTED: &str = "trusted.overlay.opaque";
pub const USER: &str = "user.overlay.opaque";

/// A character device of number 0:0, which no driver has: anybody may make one.
pub fn is_whiteout(stat: &FileStat) -> bool {
    super::below::kind(stat) == SFlag::S_IFCHR && stat.st_rdev == 0
}

pub fn make(parent: impl AsFd, name: &OsStr) -> Result<()> {
    mknodat(parent, name, SFlag::S_IFCHR, Mode::empty(), 0).context("mknodat(S_IFCHR, 0:0)")
}

pub fn is_opaque(directory: &File, attributes: &[&str]) -> bool {
    attributes.iter().any(|name| matches!(directory.get_xattr(name), Ok(Some(value)) if value == b"y"))
}

/// In the way that who mounts the layer will look for.
pub fn make_opaque(directory: &File) -> Result<()> {
    match directory.set_xattr(TRUSTED, b"y") {
        Err(error) if error.raw_os_error() == Some(Errno::EPERM as i32) => {
            directory.set_xattr(USER, b"y").with_context(|| format!("fsetxattr({USER:?})"))
        }
        set => set.with_context(|| format!("fsetxattr({TRUSTED:?})")),
    }
}

/// A directory that was moved within the overlay, or a file of which only the owner was changed: the rest of it is
/// still in a layer below, and overlayfs alone knows where.
pub fn refers_below(file: &File, opaque: &str) -> bool {
    let stem = opaque.trim_end_matches("opaque");
    ["redirect", "metacopy"].iter().any(|name| matches!(file.get_xattr(format!("{stem}{name}")), Ok(Some(_))))
}

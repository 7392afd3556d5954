//! A place in the container, found once and held: whoever swaps a directory for a link afterwards, or had a link
//! there from the start, cannot make rubber mount or create anything outside. The kernel walks each name with the
//! container's root as "/" (openat2(2), RESOLVE_IN_ROOT), and what is missing is made from the place it holds.

use crate::{
    narrate,
    sys::mounts::{mkdirat, mknodat_file, openat_nofollow, openat2_in_root},
};
use anyhow::{Context, Error, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::{
        stat::{SFlag, fstat, stat},
        statfs::{PROC_SUPER_MAGIC, fstatfs},
    },
};
use std::{
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Directory,
    File,
}

/// Holds the place called `path` below `root`; what is missing on the way is made.
pub fn place(root: &OwnedFd, path: &Path, kind: Kind) -> Result<OwnedFd> {
    let mut path = path.to_owned();
    // As many links as the kernel follows: path_resolution(7).
    for _ in 0..40 {
        match open(root, &path) {
            Err(error) if is(&error, Errno::ENOENT) => {}
            found => return found.and_then(not_proc),
        }
        match make(root, &path, kind)? {
            Made::There(place) => return Ok(place),
            Made::LinkTo(target) => path = target,
        }
    }
    bail!("{path:?}: too many links on the way")
}

enum Made {
    There(OwnedFd),
    /// A link that leads nowhere is in the way, and this is where it would lead.
    LinkTo(PathBuf),
}

/// From the longest part that is there downwards.
fn make(root: &OwnedFd, path: &Path, kind: Kind) -> Result<Made> {
    let mut there = path.to_owned();
    let mut missing = Vec::new();
    let mut at = loop {
        let Some(name) = there.file_name() else { bail!("{path:?} leads nowhere") };
        missing.push(name.to_owned());
        there.pop();
        match open(root, &there) {
            Err(error) if is(&error, Errno::ENOENT) => {}
            found => break not_proc(found?)?,
        }
    };
    while let Some(name) = missing.pop() {
        let made = match (missing.is_empty(), kind) {
            (true, Kind::File) => mknodat_file(&at, &name),
            _ => mkdirat(&at, &name, 0o755),
        };
        match made {
            Err(error) if is(&error, Errno::EEXIST) => {
                let link = match nix::fcntl::readlinkat(&at, name.as_os_str()) {
                    // Somebody has just made a directory there: once more.
                    Err(Errno::EINVAL | Errno::ENOENT) => name.clone(),
                    link => link.with_context(|| format!("readlinkat({name:?})"))?,
                };
                let rest = missing.iter().rev();
                return Ok(Made::LinkTo(rest.fold(there.join(link), |path, name| path.join(name))));
            }
            made => made?,
        }
        at = openat_nofollow(&at, &name)?;
        there.push(name);
    }
    Ok(Made::There(at))
}

/// What is mounted over a part of /proc would tell programs lies about their own protection (CVE-2019-16884).
pub fn not_proc(place: OwnedFd) -> Result<OwnedFd> {
    if !narrate::is_dry() && fstatfs(&place)?.filesystem_type() == PROC_SUPER_MAGIC {
        bail!("it is in /proc, where nothing of ours is put");
    }
    Ok(place)
}

/// The root itself, where a link leads there: what is mounted over it would be seen by no process, and what is copied
/// from it would be the whole of it.
pub fn not_root(root: &OwnedFd, place: OwnedFd) -> Result<OwnedFd> {
    if is_root(root, &place)? {
        bail!(
            "it leads to /, and nothing can be mounted over the whole root: --without volumes runs without it"
        );
    }
    Ok(place)
}

pub fn is_root(root: &OwnedFd, place: &OwnedFd) -> Result<bool> {
    if narrate::is_dry() {
        return Ok(false);
    }
    let (root, place) = (fstat(root)?, fstat(place)?);
    Ok((root.st_dev, root.st_ino) == (place.st_dev, place.st_ino))
}

/// A name of what is held, for calls that take no descriptor. Where no /proc of the kernel's is mounted, the image may
/// have a file of that name, and lead us elsewhere.
pub fn by_number(file: &OwnedFd) -> Result<PathBuf> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let named = stat(&path).with_context(|| format!("stat({path:?})"))?;
    let held = fstat(file)?;
    let is_it = (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino);
    ensure!(is_it, "{path:?} is a file in the root: no /proc of the kernel's is mounted there");
    Ok(path)
}

pub fn open(root: &OwnedFd, path: &Path) -> Result<OwnedFd> {
    openat2_in_root(root.as_fd(), path, OFlag::O_PATH)
}

/// Whether there is anything of this name. That it cannot be found out is an error, and no "no".
pub fn is_there(path: &Path) -> Result<bool> {
    match stat(path) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(false),
        found => found.map(|_| true).with_context(|| format!("stat({path:?})")),
    }
}

pub fn is_directory(file: &OwnedFd) -> Result<bool> {
    Ok(narrate::is_dry() || fstat(file)?.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFDIR.bits())
}

pub fn is(error: &Error, errno: Errno) -> bool {
    error.downcast_ref() == Some(&errno)
}

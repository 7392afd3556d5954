//! Names below a directory whose content nobody vouches for.
//!
//! A path of an image is never walked by us and never joined to a path of the host. The kernel resolves it with
//! `openat2(2)` and RESOLVE_IN_ROOT, as chroot(2) would: an absolute link or a `..` in a link stays inside. What
//! comes back is the file descriptor of the *parent*; the last name is then used with calls that never follow it.

use anyhow::{Context, Result, bail};
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2},
    sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmod, fchmodat, fstat, fstatat, mkdirat},
    unistd::{UnlinkatFlags, unlinkat},
};
use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

/// Opens the directory itself, never what a link of that name points to.
pub const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A directory that is `/` for every name given to it.
pub struct Below {
    root: OwnedFd,
}

impl Below {
    pub fn open(root: &Path) -> Result<Below> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open(root, flags, Mode::empty()).with_context(|| format!("open({root:?})"))?;
        Ok(Below { root })
    }

    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The directory `path`, links followed inside the root; the empty path is the root itself.
    pub fn directory(&self, path: &Path) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        // EAGAIN: something was renamed on this machine while the kernel walked over a `..`; see openat2(2).
        let mut tries = 0..100;
        loop {
            match openat2(&self.root, path, how) {
                Err(Errno::EAGAIN) if tries.next().is_some() => continue,
                other => return other,
            }
        }
    }

    /// Like `directory`, and makes what is missing on the way with mode 0755.
    pub fn directory_made(&self, path: &Path) -> Result<OwnedFd> {
        match self.directory(path) {
            Err(Errno::ENOENT) => (),
            other => return other.with_context(|| format!("openat2({path:?}, RESOLVE_IN_ROOT)")),
        }
        // From the longest part that exists downwards: a loop, because an archive may nest as deep as it likes.
        let mut there = path.to_path_buf();
        let mut missing = Vec::new();
        let mut at = loop {
            missing.push(there.file_name().map(OsStr::to_owned).unwrap_or_default());
            there.pop();
            match self.directory(&there) {
                Err(Errno::ENOENT) if !there.as_os_str().is_empty() => continue,
                other => break other.with_context(|| format!("openat2({there:?}, RESOLVE_IN_ROOT)"))?,
            }
        };
        while let Some(name) = missing.pop() {
            match mkdirat(&at, name.as_os_str(), Mode::from_bits_truncate(0o755)) {
                Err(Errno::EEXIST) => bail!("{name:?} on the way to it is a link that leads nowhere"),
                other => other.with_context(|| format!("mkdirat({name:?})"))?,
            }
            at = openat(&at, name.as_os_str(), DIRECTORY, Mode::empty())?;
            fchmod(&at, Mode::from_bits_truncate(0o755))?; // mkdirat obeys umask
        }
        Ok(at)
    }
}

/// Splits a checked name into its parent and its last part.
pub fn split(path: &Path) -> (PathBuf, OsString) {
    let name = path.file_name().map(OsStr::to_owned).unwrap_or_default();
    (path.parent().map(Path::to_path_buf).unwrap_or_default(), name)
}

/// What `name` itself is, links not followed; `None` when there is nothing.
pub fn look(parent: impl AsFd, name: &OsStr) -> nix::Result<Option<FileStat>> {
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

pub fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// The names in a directory, without `.` and `..`.
pub fn names(directory: &OwnedFd) -> Result<Vec<OsString>> {
    // Opened again, because reading moves the position of an open directory.
    let mut dir = Dir::openat(directory, ".", DIRECTORY, Mode::empty()).context("openat(\".\")")?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry.context("getdents64()")?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// Removes `name` and everything below it, and refuses to step onto another mount.
///
/// What somebody else has removed meanwhile is not an error: the script of a killed rubber cleans up after itself.
pub fn remove(parent: impl AsFd, name: &OsStr) -> Result<()> {
    while !gone(&parent, name)? {
        if let Some(directory) = step_into(&parent, name, Path::new(name))? {
            empty(directory, name)?;
        }
    }
    Ok(())
}

/// One directory is open at a time and the way back is `..`: an image may be nested deeper than we may have files open.
fn empty(mut at: OwnedFd, name: &OsStr) -> Result<()> {
    let mut path = PathBuf::from(name);
    let mut depth = 0;
    loop {
        match first_full(&at)? {
            Some(child) => {
                path.push(&child);
                match step_into(&at, &child, &path)? {
                    Some(directory) => (at, depth) = (directory, depth + 1),
                    None => _ = path.pop(),
                }
            }
            None if depth == 0 => return Ok(()),
            None => {
                at = openat(&at, "..", DIRECTORY, Mode::empty()).context("openat(\"..\")")?;
                depth -= 1;
                path.pop();
            }
        }
    }
}

/// Unlinks everything in the directory up to the first directory that is not empty, and returns that one's name.
fn first_full(directory: &OwnedFd) -> Result<Option<OsString>> {
    let mut dir = Dir::openat(directory, ".", DIRECTORY, Mode::empty()).context("openat(\".\")")?;
    for entry in dir.iter() {
        let entry = entry.context("getdents64()")?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." && !gone(directory, name)? {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

/// Unlinks `name`; false when it is a directory with something in it.
fn gone(parent: impl AsFd, name: &OsStr) -> Result<bool> {
    match unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(true),
        Err(Errno::EISDIR | Errno::EPERM) => (),
        // A directory of an ordinary user's image may forbid its owner to write: `step_into` mends that.
        Err(error) => return Err(error).with_context(|| format!("unlinkat({name:?})")),
    }
    match unlinkat(&parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
        Err(Errno::EBUSY) => mount_point(name),
        Err(error) => Err(error).with_context(|| format!("unlinkat({name:?}, AT_REMOVEDIR)")),
    }
}

fn mount_point<T>(name: &OsStr) -> Result<T> {
    bail!("{name:?} is a mount point: unmount it first, rubber removes nothing across a mount")
}

/// Opens a directory that is about to be emptied, and makes sure that its owner may; `None` when it has vanished.
fn step_into(parent: impl AsFd, name: &OsStr, path: &Path) -> Result<Option<OwnedFd>> {
    // NO_XDEV sees bind mounts of the same filesystem too, which st_dev does not.
    let how = OpenHow::new().flags(DIRECTORY).resolve(ResolveFlag::RESOLVE_NO_XDEV);
    let open = || openat2(&parent, name, how);
    let opened = match open() {
        Err(Errno::EACCES) => {
            // It is a directory, so the flag, which follows links, has none to follow.
            fchmodat(&parent, name, Mode::S_IRWXU, FchmodatFlags::FollowSymlink).and_then(|()| open())
        }
        other => other,
    };
    let opened = match opened {
        Err(Errno::ENOENT) => return Ok(None),
        Err(Errno::EXDEV) => return mount_point(path.as_os_str()),
        other => other.with_context(|| format!("openat2({path:?}, RESOLVE_NO_XDEV)"))?,
    };
    if fstat(&opened)?.st_mode & 0o700 != 0o700 {
        fchmod(&opened, Mode::S_IRWXU).context("fchmod(0700)")?;
    }
    Ok(Some(opened))
}

//! Removing a directory that somebody else has filled: an archive, or a container.

use crate::{container::supervise, ids::Ids, layers::userns, sys};
use anyhow::{Context, Error, Result, bail, ensure};
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2},
    sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, fstat},
    unistd::{UnlinkatFlags, geteuid, unlinkat},
};
use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Removes `path` and all below it. Follows no link, crosses no mount (it stops
/// with an error there), and needs no memory for depth: `while mkdir a; cd a`
/// makes trees that are deeper than any path is long.
pub fn remove_tree(path: &Path) -> Result<()> {
    let removed = match remove_path(path) {
        Err(error) if is_denied(&error) => as_root_of_ours("remover", || remove_path(path)),
        removed => removed,
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

/// Whether an ordinary user could do better as `as_root_of_ours`.
pub fn is_denied(error: &Error) -> bool {
    let errno = error.chain().find_map(|cause| cause.downcast_ref());
    matches!(errno, Some(Errno::EACCES | Errno::EPERM)) && !geteuid().is_root()
}

/// What other users of a container wrote belongs to ids that are the caller's only in a user namespace (subuid(5)),
/// so that is where it can be read and removed: by a process called `name`.
pub fn as_root_of_ours(name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let child = sys::fork(name, || {
        userns::enter(&Ids::of_caller())?;
        work()?;
        Ok(0)
    })?;
    ensure!(supervise::wait_for(child)? == 0, "its files belong to other users");
    Ok(())
}

fn remove_path(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        bail!("it is a root directory")
    };
    match nix::fcntl::open(parent, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(Errno::ENOENT) => Ok(()),
        parent => remove(parent?, name),
    }
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

/// The same before Linux 5.6: whoever is open says which mount it is on (proc_pid_fdinfo(5)).
fn open_on_the_same_mount(parent: impl AsFd, name: &OsStr) -> nix::Result<OwnedFd> {
    let opened = openat(&parent, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())?;
    let mount = |file: BorrowedFd| {
        let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()));
        let about = about.map_err(|_| Errno::EXDEV)?;
        about.lines().find(|line| line.starts_with("mnt_id:")).map(str::to_owned).ok_or(Errno::EXDEV)
    };
    if mount(parent.as_fd())? == mount(opened.as_fd())? { Ok(opened) } else { Err(Errno::EXDEV) }
}

fn mount_point<T>(name: &OsStr) -> Result<T> {
    bail!("{name:?} is a mount point: unmount it first, rubber removes nothing across a mount")
}

/// Opens a directory that is about to be emptied, and makes sure that its owner may; `None` when it has vanished.
fn step_into(parent: impl AsFd, name: &OsStr, path: &Path) -> Result<Option<OwnedFd>> {
    // NO_XDEV sees bind mounts of the same filesystem too, which st_dev does not.
    let how = OpenHow::new().flags(DIRECTORY).resolve(ResolveFlag::RESOLVE_NO_XDEV);
    let open = || match openat2(&parent, name, how) {
        Err(Errno::ENOSYS) => open_on_the_same_mount(&parent, name),
        opened => opened,
    };
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

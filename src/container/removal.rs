//! Removing a directory that a container has written to.

use crate::{
    layers::userns::{self, Ids},
    sys,
};
use anyhow::{Context, Error, Result, bail};
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat2},
    sys::{
        stat::{FchmodatFlags, Mode, fchmodat, fstatat},
        wait::WaitPidFlag,
    },
    unistd::{UnlinkatFlags, geteuid, unlinkat},
};
use std::{
    ffi::{CStr, CString},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
};

/// Removes `path` and all below it. Follows no link, crosses no mount (it stops
/// with an error there), and needs no memory for depth: `while mkdir a; cd a`
/// makes trees that are deeper than any path is long.
pub fn remove_tree(path: &Path) -> Result<()> {
    let removed = match remove(path) {
        Err(error) if is_denied(&error) && !geteuid().is_root() => remove_as_root_of_ours(path),
        removed => removed,
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

fn is_denied(error: &Error) -> bool {
    matches!(error.chain().find_map(|cause| cause.downcast_ref()), Some(Errno::EACCES | Errno::EPERM))
}

/// What other users of a container wrote belongs to ids that are the caller's
/// only in a user namespace (subuid(5)), so that is where it can be removed.
fn remove_as_root_of_ours(path: &Path) -> Result<()> {
    let remover = sys::fork("remover", || {
        userns::enter(&Ids::of_caller())?;
        remove(path)?;
        Ok(0)
    })?;
    loop {
        match sys::wait4(WaitPidFlag::empty())? {
            Some((ended, 0)) if ended == remover => return Ok(()),
            Some((ended, _)) if ended == remover => bail!("its files belong to other users"),
            _ => {}
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    // Most are empty: nobody wrote anything.
    match unlinkat(AT_FDCWD, path, UnlinkatFlags::RemoveDir) {
        // EBUSY: it is a mount point, which `open` says in words.
        Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::EBUSY) => {}
        Err(Errno::ENOENT) => return Ok(()),
        removed => return Ok(removed?),
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        bail!("it is a root directory")
    };
    let parent = nix::fcntl::open(parent, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut directory = open(&parent, &CString::new(name.as_bytes())?)?;
    let mut names: Vec<CString> = Vec::new();
    loop {
        if let Some(name) = remove_files(&directory)? {
            directory = open(&directory, &name)?;
            names.push(name);
        } else if let Some(name) = names.pop() {
            directory = open(&directory, c"..")?;
            unlinkat(&directory, name.as_c_str(), UnlinkatFlags::RemoveDir)?;
        } else {
            return Ok(unlinkat(AT_FDCWD, path, UnlinkatFlags::RemoveDir)?);
        }
    }
}

/// Removes all but directories, until it meets one of those: its name.
fn remove_files(directory: &OwnedFd) -> Result<Option<CString>> {
    let mut entries = Dir::from_fd(open(directory, c".")?)?;
    for entry in entries.iter() {
        let name = entry?.file_name().to_owned();
        if name.as_c_str() == c"." || name.as_c_str() == c".." {
            continue;
        }
        match unlinkat(directory, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR | Errno::EPERM) if is_directory(directory, &name)? => return Ok(Some(name)),
            removed => removed.with_context(|| format!("{name:?}"))?,
        }
    }
    Ok(None)
}

fn is_directory(parent: &OwnedFd, name: &CStr) -> Result<bool> {
    let about = fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok(about.st_mode & nix::libc::S_IFMT == nix::libc::S_IFDIR)
}

/// Opens a directory, but not across a mount: bind mounts of the same disk too,
/// which its device number does not tell from it. A directory its owner may not
/// read (overlay makes one) is made readable.
fn open(parent: impl std::os::fd::AsFd, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_XDEV);
    let mut opened = openat2(&parent, name, how);
    if matches!(opened, Err(Errno::EACCES)) {
        fchmodat(&parent, name, Mode::S_IRWXU, FchmodatFlags::NoFollowSymlink)
            .or_else(|_| fchmodat(&parent, name, Mode::S_IRWXU, FchmodatFlags::FollowSymlink))?;
        opened = openat2(&parent, name, how);
    }
    match opened {
        Err(Errno::EXDEV) => bail!("something is mounted on {name:?} in it: unmount that first"),
        opened => opened.with_context(|| format!("{name:?}")),
    }
}

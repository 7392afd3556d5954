//! What a container that may write in its own cgroups has made of them: groups below groups, with processes in them.

use crate::sys;
use anyhow::{Context, Result};
use nix::{
    dir::{Dir, Type},
    errno::Errno,
    fcntl::{OFlag, openat},
    libc,
    sys::stat::Mode,
    unistd::{Pid, UnlinkatFlags, unlinkat},
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{Read, Write},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
};

/// So many groups are open at a time. From deeper ones the way back is lost, and we come again from the top.
const DEPTH: usize = 128;

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Removes the groups below `top`, the deepest first, until one has members: those are told to end. Returns how many
/// have gone.
///
/// By what is held: they may be nested deeper than any path is long, and the container may rename them (in version 1).
pub fn remove(top: &OwnedFd) -> Result<usize> {
    let (mut removed, mut is_lost) = (0, false);
    let mut way: Vec<(OwnedFd, OsString)> = Vec::new();
    let mut at = top.try_clone()?;
    loop {
        if let Some((name, child)) = first_below(&at)? {
            if way.len() == DEPTH {
                way.remove(0);
                is_lost = true;
            }
            way.push((std::mem::replace(&mut at, child), name));
            continue;
        }
        let Some((parent, name)) = way.pop() else {
            if !is_lost {
                return Ok(removed);
            }
            (at, is_lost) = (top.try_clone()?, false);
            continue;
        };
        match unlinkat(&parent, name.as_os_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => removed += 1,
            Err(Errno::EBUSY) => return end_members(&at).map(|()| removed),
            refused => refused.with_context(|| format!("unlinkat({name:?}, AT_REMOVEDIR)"))?,
        }
        at = parent;
    }
}

fn first_below(group: &OwnedFd) -> Result<Option<(OsString, OwnedFd)>> {
    let mut dir = Dir::openat(group, ".", DIRECTORY, Mode::empty()).context("openat(\".\")")?;
    for entry in dir.iter() {
        let entry = match entry {
            Err(Errno::ENOENT) => break, // it has just been removed
            entry => entry.context("getdents64()")?,
        };
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if entry.file_type() != Some(Type::Directory) || name == "." || name == ".." {
            continue;
        }
        match openat(group, name, DIRECTORY, Mode::empty()) {
            Err(Errno::ENOENT) => {}
            opened => {
                return Ok(Some((name.to_owned(), opened.with_context(|| format!("openat({name:?})"))?)));
            }
        }
    }
    Ok(None)
}

/// Kills the processes that are in the group itself.
pub fn end_members(group: &OwnedFd) -> Result<()> {
    let open = |name: &str, how| openat(group, name, how | OFlag::O_CLOEXEC, Mode::empty()).map(File::from);
    // In version 1 what is frozen cannot be killed.
    if let Ok(mut state) = open("freezer.state", OFlag::O_WRONLY) {
        let _ = state.write_all(b"THAWED");
    }
    let mut members = String::new();
    let read = open("cgroup.procs", OFlag::O_RDONLY)
        .map_err(std::io::Error::from)
        .and_then(|mut file| file.read_to_string(&mut members));
    match read.map_err(|error| error.raw_os_error()) {
        // It has just been removed; or has threads only, whose processes are members of a group above.
        Err(Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP)) => return Ok(()),
        Err(errno) => Err(Errno::from_raw(errno.unwrap_or(0))).context("read(\"cgroup.procs\")")?,
        Ok(_) => {}
    }
    // One that our own pid namespace does not know is 0 here, and for kill(2) that would be us.
    for pid in members.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0) {
        let _ = sys::kill(Pid::from_raw(pid), libc::SIGKILL);
    }
    Ok(())
}

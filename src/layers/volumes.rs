//! Volumes: files that are not the image's and outlive the container, seen at a name of its own.
//!
//! The image and whoever shares a volume with us may be hostile and quick: a link where we mount, put there at
//! the last moment, must not lead us out of the container. So what the host shares is held while its root is in
//! reach, and only when nothing of the host has a name any more do we look for the places. No name is used
//! twice: the kernel walks it once, and what we hold then is where we mount.

use super::user;
use crate::{
    config::{Attribute, Config, Mount, Names, Propagation, What},
    image, narrate,
    place::{Kind, by_number, is, is_directory, not_root, open, place},
    sys::{self, mounts::*},
};
use anyhow::{Context, Result};
use nix::{errno::Errno, fcntl::OFlag, mount::MntFlags};
use std::{
    fs::File,
    io::Write,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

/// What `rslave` and `rshared` connect to the host has to be taken from the host's own table; a copy of that
/// table is cut loose.
pub fn hold_tied(config: &Config) -> Result<()> {
    let root = sys::open_directory(Path::new("/"))?;
    config
        .mounts
        .iter()
        .filter(|mount| is_tied(mount))
        .try_for_each(|mount| take(config, mount, root.as_fd()))
}

pub fn any_tied(config: &Config) -> bool {
    config.mounts.iter().any(is_tied)
}

fn is_tied(mount: &Mount) -> bool {
    mount.propagation != Propagation::Private
}

/// The others. (A name without a slash in front is the host's, see `run`.)
pub fn hold(config: &Config) -> Result<()> {
    let is_held = |mount: &&Mount| config.held.borrow().contains_key(&mount.target);
    let missing = config.mounts.iter().filter(|mount| is_loose(mount) && !is_held(mount));
    missing.into_iter().try_for_each(|mount| take(config, mount, HERE))
}

pub fn any_loose(config: &Config) -> bool {
    config.mounts.iter().any(is_loose)
}

fn is_loose(mount: &Mount) -> bool {
    !is_tied(mount) && source(mount).is_some()
}

fn take(config: &Config, mount: &Mount, root: BorrowedFd) -> Result<()> {
    let Some(source) = source(mount) else { return Ok(()) };
    hold_at(config, root, source, &mount.target).with_context(|| describe(mount))
}

pub fn source(mount: &Mount) -> Option<&Path> {
    match &mount.what {
        What::Bind { source } | What::Volume { source, .. } => Some(source),
        What::Tmpfs { .. } => None,
    }
}

/// Holds a copy of the mounts at and below `source`, which is looked for with `root` as "/".
pub fn hold_at(config: &Config, root: BorrowedFd, source: &Path, target: &Path) -> Result<()> {
    let found = openat2_in_root(root, source, OFlag::O_PATH)?;
    let tree = open_tree(found.as_fd(), "")?;
    config.held.borrow_mut().insert(target.to_owned(), tree);
    Ok(())
}

pub fn any(config: &Config) -> bool {
    !config.mounts.is_empty()
}

/// What is above another comes first: see `Config`.
pub fn mount(config: &Config) -> Result<()> {
    let root = sys::open_directory(Path::new("/"))?;
    config.mounts.iter().try_for_each(|mount| one(config, &root, mount).with_context(|| describe(mount)))
}

fn one(config: &Config, root: &OwnedFd, mount: &Mount) -> Result<()> {
    if let What::Tmpfs { options } = &mount.what {
        return onto(root, mount, &tmpfs(options, attributes(mount))?);
    }
    let tree = held(config, &mount.target)?;
    if let What::Volume { fill: true, .. } = mount.what {
        fill(root, mount, &tree)?;
    }
    if mount.chown {
        give(config, &tree)?;
    }
    // With all that is mounted below: read-only only at the top would be no promise.
    let propagation = match mount.propagation {
        Propagation::Private => PRIVATE,
        Propagation::Slave => SLAVE,
        Propagation::Shared => 0,
    };
    mount_setattr(&tree, true, attributes(mount), propagation)?;
    onto(root, mount, &tree)
}

pub fn held(config: &Config, target: &Path) -> Result<OwnedFd> {
    config.held.borrow_mut().remove(target).context("nobody has taken hold of its source")
}

fn onto(root: &OwnedFd, mount: &Mount, tree: &OwnedFd) -> Result<()> {
    let kind = if is_directory(tree)? { Kind::Directory } else { Kind::File };
    move_mount(tree, &place(root, &mount.target, kind).and_then(|place| not_root(root, place))?)
}

fn describe(mount: &Mount) -> String {
    match &mount.what {
        What::Bind { source } => format!("{source:?} at {:?}", mount.target),
        What::Volume { name, .. } => format!("volume {name} at {:?}", mount.target),
        What::Tmpfs { .. } => format!("tmpfs at {:?}", mount.target),
    }
}

fn attributes(mount: &Mount) -> u64 {
    let bit = |attribute: &Attribute| match attribute {
        Attribute::Ro => RDONLY,
        Attribute::Nosuid => NOSUID,
        Attribute::Nodev => NODEV,
        Attribute::Noexec => NOEXEC,
    };
    mount.attributes.iter().map(bit).fold(0, |all, one| all | one)
}

fn tmpfs(options: &[(String, String)], attributes: u64) -> Result<OwnedFd> {
    let filesystem = fsopen("tmpfs")?;
    for (key, value) in options {
        fsconfig_set(&filesystem, key, value)?;
    }
    fsconfig_create(&filesystem)?;
    fsmount(&filesystem, attributes)
}

// ---- what is in it -------------------------------------------------------------

/// As docker: an empty volume begins as a copy of what the image has in its place.
fn fill(root: &OwnedFd, mount: &Mount, volume: &OwnedFd) -> Result<()> {
    if narrate::is_dry() || !image::names(volume)?.is_empty() {
        return Ok(());
    }
    // What was mounted before us is not the image's: a link may lead to /sys, or to another volume.
    let Ok(images) = openat2_in_mount(root.as_fd(), &mount.target, OFlag::O_PATH) else { return Ok(()) };
    let images = not_root(root, images)?;
    if !is_directory(&images)? || image::names(&images)?.is_empty() {
        return Ok(());
    }
    sys::many_calls("copy what the image has there into the empty volume", || {
        image::copy(&[by_number(&images)?], &by_number(volume)?)
    })
}

/// `U`: the container's user owns it, and all in it.
fn give(config: &Config, tree: &OwnedFd) -> Result<()> {
    let user = user::account(config)?;
    let text = format!("give it and all below to user {}, group {}", user.uid, user.gid);
    sys::many_calls(&text, || image::give(&by_number(tree)?, user.uid, user.gid))
}

// ---- what docker adds ----------------------------------------------------------

/// The files by which a program finds out about names, in memory: nothing of them is the image's, nothing of
/// them is left. An image without a place for one (or a user's volume over it) does without.
pub fn names(config: &Config) -> Result<()> {
    let root = sys::open_directory(Path::new("/"))?;
    let options = [("mode", "0755"), ("size", "1m")].map(|(key, value)| (key.into(), value.into()));
    let memory = tmpfs(&options, NOSUID | NODEV | NOEXEC)?;
    // Before Linux 6.15 a part can be had only of what is in a mount table: for as long as this takes, it lies
    // over /dev. (Not over the root: one ".." too many in a link would step onto it.)
    move_mount(&memory, &open(&root, Path::new("/dev"))?)?;
    let Names { hosts, hostname, resolv_conf } = &config.names;
    for (name, content) in [("hosts", hosts), ("hostname", hostname), ("resolv.conf", resolv_conf)] {
        let path = Path::new("/etc").join(name);
        if config.mounts.iter().any(|mount| path.starts_with(&mount.target)) {
            continue;
        }
        match place(&root, &path, Kind::File) {
            Ok(place) if narrate::is_dry() || !is_directory(&place)? => {
                move_mount(&file(&memory, name, content, config.read_only)?, &place)?;
            }
            Err(error) if !is_the_images(&error) => return Err(error),
            _ => narrate::note(format_args!("the image has no place for {path:?}")),
        }
    }
    sys::umount2("/dev", MntFlags::MNT_DETACH)
}

/// Whether it is for what the image has there, and not for the kernel's own reasons, that there is no place.
fn is_the_images(error: &anyhow::Error) -> bool {
    use Errno::*;
    let images = [ENOENT, ENOTDIR, EEXIST, ELOOP, EACCES, EPERM, EROFS, EXDEV, ENAMETOOLONG];
    error.downcast_ref().is_none_or(|errno| images.contains(errno))
}

fn file(memory: &OwnedFd, name: &str, content: &[u8], read_only: bool) -> Result<OwnedFd> {
    let mut file = File::from(openat_create(memory, name)?);
    if !narrate::is_dry() {
        file.write_all(content)?;
    }
    drop(file);
    let tree = open_tree(memory.as_fd(), name)?;
    if read_only {
        mount_setattr(&tree, false, RDONLY, 0)?;
    }
    Ok(tree)
}

pub fn any_workdir(config: &Config) -> bool {
    config.workdir != Path::new("/")
}

/// `--workdir`: made where the image has none.
pub fn workdir(config: &Config) -> Result<()> {
    let root = sys::open_directory(Path::new("/"))?;
    match open(&root, &config.workdir) {
        Err(error) if is(&error, Errno::ENOENT) => place(&root, &config.workdir, Kind::Directory).map(drop),
        // Whoever may not enter it, or finds no directory there, is told so in the end.
        _ => Ok(()),
    }
}

/// `--read-only`: the root and nothing else, for what is mounted on it has its own say.
pub fn close_root(_: &Config) -> Result<()> {
    mount_setattr(&sys::open_directory(Path::new("/"))?, false, RDONLY, 0)
}

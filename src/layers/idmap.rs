//! Files and other people's ids: where root gives a container ids of its own, the image and the volumes are shown
//! to it with owners it knows. Nothing on the disk changes (mount_setattr(2), "ID-mapped mounts").

use super::{cgroup, lower, overlay, userns, volumes};
use crate::{
    Exit,
    config::{Config, What},
    container::{
        supervise,
        terminal::{receive, send},
    },
    ids::{Ids, Range, lines},
    narrate,
    sys::{self, mounts::*},
};
use anyhow::{Context, Result, anyhow, bail};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    mount::MsFlags,
    sched::CloneFlags,
    unistd::{Gid, Pid, Uid},
};
use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
};

/// Only root may show files with other owners, and whom root inside is outside is no stranger to an ordinary user.
pub fn any(config: &Config) -> bool {
    matches!(config.ids, Ids::Ranges { programs: None, .. })
}

/// Makes the root and takes hold of the volumes, by somebody who is still root of all: from the user namespace
/// neither the store nor the host's directories can be entered. They come out as mounts that are nowhere yet.
pub fn prepare(config: &Config) -> Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let builder = sys::fork("builder", || {
        sys::unshare(CloneFlags::CLONE_NEWNS)?;
        sys::mount(None, Path::new("/"), None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)?;
        let user = show(config)?;
        lower::named(config, || overlay::mount(config))?;
        let (uid, gid) = root_outside(&config.ids);
        sys::chown(&config.dir, uid, gid)?;
        hand_over(&theirs, open_tree(sys::open_directory(&config.dir)?.as_fd(), "")?)?;
        for mount in &config.mounts {
            if let Some(source) = volumes::source(mount) {
                let root = sys::open_directory(Path::new("/"))?;
                let found = openat2_in_root(root.as_fd(), source, OFlag::O_PATH)?;
                let tree = open_tree(found.as_fd(), "")?;
                if mount.idmap || matches!(mount.what, What::Volume { .. }) {
                    show_tree(&tree, &user, source)?;
                }
                hand_over(&theirs, tree)?;
            }
        }
        Ok(0)
    })?;
    if supervise::wait_for(builder)? != 0 {
        // It has said why.
        bail!(Exit(125, String::new()));
    }
    if narrate::is_dry() {
        return Ok(());
    }
    let mut held = config.held.borrow_mut();
    let targets = config.mounts.iter().filter(|mount| volumes::source(mount).is_some());
    for target in [&config.dir].into_iter().chain(targets.map(|mount| &mount.target)) {
        held.insert(target.clone(), receive(&ours)?.context("the builder gave too little")?.into());
    }
    Ok(())
}

/// Shows each layer of the image in its own place, to those who share our mount table, with the owners it has in a
/// user namespace like the container's, which is returned.
pub fn show(config: &Config) -> Result<OwnedFd> {
    let Ids::Ranges { uids, gids, .. } = &config.ids else {
        bail!("there are no ids to show the files with")
    };
    let user = sample(&lines(uids), &lines(gids))?;
    for layer in &config.image {
        let place = sys::open_directory(layer)?;
        let shown = open_tree(place.as_fd(), "")?;
        show_tree(&shown, &user, layer)?;
        move_mount(&shown, &place)?;
    }
    Ok(user)
}

fn show_tree(tree: &OwnedFd, user: &OwnedFd, path: &Path) -> Result<()> {
    mount_idmap(tree, user).map_err(|error| {
        let why = match error.downcast_ref() {
            Some(Errno::EINVAL) => {
                "\n        its filesystem, or one mounted below, cannot (ext4, xfs and btrfs can, tmpfs since Linux 6.3)"
            }
            Some(Errno::ENOSYS) => "\n        it takes Linux 5.12",
            _ => "",
        };
        anyhow!("cannot show the files of {path:?} with other owners: {error:#}{why}")
    })
}

fn hand_over(socket: &UnixStream, mount: OwnedFd) -> Result<()> {
    if narrate::is_dry() { Ok(()) } else { send(socket, &File::from(mount)) }
}

/// A user namespace with these maps: the kernel wants one to read them from. Nobody stays in it.
pub fn sample(uids: &str, gids: &str) -> Result<OwnedFd> {
    let (mut made, mut making) = std::io::pipe()?;
    let (mut end, mut release) = std::io::pipe()?;
    let child = sys::fork("sample", || {
        sys::unshare(CloneFlags::CLONE_NEWUSER)?;
        making.write_all(&[1])?;
        if !narrate::is_dry() {
            end.read_exact(&mut [0])?;
        }
        Ok(0)
    })?;
    drop(making);
    made.read_exact(&mut [0]).context("no user namespace was made")?;
    sys::write(Path::new(&format!("/proc/{child}/uid_map")), uids)?;
    sys::write(Path::new(&format!("/proc/{child}/gid_map")), gids)?;
    let file = if narrate::is_dry() { "/dev/null".into() } else { format!("/proc/{child}/ns/user") };
    let user = File::open(&file).with_context(|| format!("open({file:?})"))?;
    release.write_all(&[1])?;
    supervise::wait_for(child)?;
    Ok(user.into())
}

fn root_outside(ids: &Ids) -> (u32, u32) {
    let Ids::Ranges { uids, gids, .. } = ids else { return (0, 0) };
    let root =
        |ranges: &[Range]| ranges.iter().find(|range| range.inside == 0).map_or(0, |range| range.outside);
    (root(uids), root(gids))
}

/// Forks the first process, in a user namespace, and tells who is who in it. We stay outside of it: only there
/// cgroups and what it wrote can be removed in the end.
pub fn fork(config: &Config, name: &'static str, work: impl FnOnce() -> Result<u8>) -> Result<Pid> {
    let (mut wait, mut go) = std::io::pipe()?;
    let kinds = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID;
    let child = sys::clone(kinds & config.kinds_of_its_own(), cgroup::cradle(config), name, || {
        if !narrate::is_dry() {
            wait.read_exact(&mut [0])?;
        }
        work()
    })?;
    config.first.set(child.as_raw());
    userns::map(config)?;
    go.write_all(&[1])?;
    Ok(child)
}

/// Until here we were root outside, who owns the store. Inside that one has no name.
pub fn take_root(_: &Config) -> Result<()> {
    sys::setgroups(&[])?;
    sys::setgid(Gid::from_raw(0))?;
    sys::setuid(Uid::from_raw(0))?;
    // Changing the user has taken both back (prctl(2)).
    sys::prctl_not_dumpable()?;
    sys::prctl_pdeathsig()
}

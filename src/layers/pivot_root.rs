//! The root mount: pivot_root(2) takes the host's filesystems away altogether,
//! where chroot(2) only looks the other way.

use crate::{config::Config, sys};
use anyhow::Result;
use nix::{
    mount::{MntFlags, MsFlags},
    sys::statvfs::{FsFlags, statvfs},
};
use std::path::Path;

/// pivot_root wants a mount point, so the directory is mounted onto itself.
/// (It need not be another filesystem, whatever you have read.)
pub fn bind(config: &Config) -> Result<()> {
    let root = &config.dir;
    sys::mount(Some(root), root, None, MsFlags::MS_BIND | MsFlags::MS_REC, None)?;
    // Device nodes in the image do nothing: /dev is a mount of our own.
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_NODEV | forbidden_already(root)?;
    sys::mount(None, root, None, flags, None)
}

/// What the mount that holds `directory` forbids. In a user namespace such a flag is locked: a
/// mount that would lose it is refused (mount_namespaces(7)). /home often has some.
fn forbidden_already(directory: &Path) -> Result<MsFlags> {
    // In a rehearsal the directory is not there, nor perhaps the store, but what they would be in is.
    let place = directory.ancestors().find(|place| place.exists()).unwrap_or(directory);
    let held = statvfs(place)?.flags();
    let flags = [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ];
    Ok(flags.into_iter().filter(|(held_by, _)| held.contains(*held_by)).map(|(_, flag)| flag).collect())
}

/// With "." twice the old root ends up mounted on top of the new one, and no
/// directory is needed to hold it: see NOTES in pivot_root(2). It stays our
/// working directory for a while: names without a slash in front are the host's.
pub fn swap(config: &Config) -> Result<()> {
    let old_root = sys::open_directory(Path::new("/"))?;
    sys::chdir(&config.dir)?;
    sys::pivot_root(".", ".")?;
    sys::fchdir(&old_root)
}

/// Detached, because it is busy: we stand in it. Without this the host's files
/// would lie under the container's root, one umount away.
pub fn let_go(_: &Config) -> Result<()> {
    sys::umount2(".", MntFlags::MNT_DETACH)?;
    sys::chdir(Path::new("/"))
}

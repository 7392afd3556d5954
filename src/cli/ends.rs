//! The two ends of what is shared: where it comes from on the host, and where it is seen in the container.

use super::mounts::{parts, text};
use crate::{
    config::{Mount, Propagation, What},
    container::{new_id, volume},
    facts,
    image::Store,
    narrate,
};
use anyhow::{Context, Result, bail};
use nix::fcntl::OFlag;
use std::{
    ffi::OsStr,
    fs,
    io::ErrorKind,
    os::{
        fd::AsRawFd,
        unix::{
            ffi::OsStrExt,
            fs::{FileTypeExt, OpenOptionsExt},
        },
    },
    path::{Component, Path, PathBuf},
};

/// As docker: what is no path is the name of a volume.
pub fn is_path(source: &OsStr) -> bool {
    let first = parts(source, b'/')[0];
    source.as_bytes().starts_with(b"/") || first == "." || first == ".."
}

pub fn named(store: &Store, source: &OsStr) -> Result<What> {
    let name = text(source)?;
    if name.contains('/') {
        bail!("{name:?} is neither a path nor a volume's name: ./{name} is the one that is here");
    }
    let source = if narrate::is_dry() { volume::path(store, name)? } else { volume::make(store, name)? };
    Ok(What::Volume { name: name.into(), source, fill: true, anonymous: false })
}

/// As docker's. It is made when the container is written down: nothing shall be left that has no name there.
pub fn anonymous(store: &Store) -> Result<What> {
    let name = new_id()? + &new_id()?;
    Ok(What::Volume { source: volume::path(store, &name)?, name, fill: true, anonymous: true })
}

/// As docker: `--volume` makes a directory that is missing. A slip of the finger does so as well, so we say it.
pub fn make_source(source: &OsStr) -> Result<PathBuf> {
    let path = std::path::absolute(source)?;
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound && !narrate::is_dry() => {
            fs::create_dir_all(&path).with_context(|| format!("cannot make {path:?}"))?;
            narrate::warn(format_args!("there was no {path:?}, so it is a new directory now"));
        }
        _ => {}
    }
    Ok(path)
}

pub fn old_source(source: &OsStr) -> Result<PathBuf> {
    if !is_path(source) {
        bail!("src={source:?} is no path: it begins with / or ./");
    }
    fs::symlink_metadata(source).with_context(|| format!("src={source:?}"))?;
    Ok(std::path::absolute(source)?)
}

/// The container's name for it, without "." and "..". Where links lead is seen in there.
pub fn destination(target: &OsStr) -> Result<PathBuf> {
    let path = Path::new(target);
    if !path.is_absolute() {
        bail!("{target:?} must start with a slash: it is a place in the container");
    }
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => _ = clean.pop(),
            Component::Normal(name) => clean.push(name),
            _ => {}
        }
    }
    if clean == Path::new("/") {
        bail!("nothing can be mounted over the whole root: --rootfs DIR runs another one");
    }
    if clean.starts_with("/proc") {
        bail!("nothing is mounted over /proc: programs could be told lies about their own protection");
    }
    Ok(clean)
}

/// Asked for in vain is worse than refused.
pub fn is_connected(mount: &Mount) -> Result<()> {
    let (What::Bind { source } | What::Volume { source, .. }) = &mount.what else { return Ok(()) };
    if mount.propagation == Propagation::Private {
        return Ok(());
    }
    let on = facts::own().mounts.unwrap_or_default().into_iter().find(|on| Some(on.id) == mount_id(source));
    match on.map(|on| on.propagation).as_deref() {
        Some("shared" | "shared,slave") => Ok(()),
        Some("slave") if mount.propagation == Propagation::Slave => Ok(()),
        _ => bail!(
            "{source:?} is not on a shared mount, so nothing would be told: mount --make-rshared it first"
        ),
    }
}

/// Which line of mountinfo `path` is on: proc_pid_fdinfo(5).
fn mount_id(path: &Path) -> Option<u32> {
    let file = fs::OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open(path).ok()?;
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    about.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

pub fn is_device(path: &Path) -> bool {
    fs::metadata(path)
        .is_ok_and(|about| about.file_type().is_char_device() || about.file_type().is_block_device())
}

//! What we believe and act on must be ours alone to change. A record says which programs are run as hooks, which
//! processes are killed and which groups and files go: another local user who could write one would have us do it.

use anyhow::{Context, Result, bail, ensure};
use nix::{fcntl::OFlag, unistd::geteuid};
use std::{
    fs::{File, Metadata, OpenOptions, metadata, symlink_metadata},
    io::{ErrorKind, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

/// Whether there is such a directory, which is then known to be ours. A link to it is, too.
pub fn directory(path: &Path) -> Result<bool> {
    let Some(about) = look(path)? else { return Ok(false) };
    ensure_owned(path, &about)?;
    let about = match about.is_symlink() {
        true => metadata(path).with_context(|| format!("stat({path:?})"))?,
        false => about,
    };
    ensure!(about.is_dir(), "{path:?} is not a directory");
    ensure_ours(path, &about)?;
    Ok(true)
}

/// The same, and a link is none.
pub fn directory_itself(path: &Path) -> Result<bool> {
    let Some(about) = look(path)? else { return Ok(false) };
    ensure!(about.is_dir(), "{path:?} is not a directory");
    ensure_ours(path, &about)?;
    Ok(true)
}

fn look(path: &Path) -> Result<Option<Metadata>> {
    match symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        about => about.map(Some).with_context(|| format!("lstat({path:?})")),
    }
}

/// Opens a file of ours for reading: no link, and nothing that would have us wait.
pub fn open(path: &Path) -> Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let file = match opened {
        Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => bail!("{path:?} is not a file"),
        opened => opened.with_context(|| format!("cannot open {path:?}"))?,
    };
    let about = file.metadata()?;
    ensure!(about.is_file(), "{path:?} is not a file");
    ensure_ours(path, &about)?;
    Ok(file)
}

/// The bytes of a file of ours. None where there is none.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let mut file = match open(path) {
        Err(error) if is_missing(&error) => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).with_context(|| format!("cannot read {path:?}"))?;
    Ok(Some(bytes))
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Of ours, or of the machine's root, who may change all anyway; and nobody else may write to it.
pub fn ensure_ours(path: &Path, about: &Metadata) -> Result<()> {
    ensure_owned(path, about)?;
    if about.mode() & 0o022 != 0 {
        bail!("{path:?} can be changed by others: see what is in it, then chmod go-w it");
    }
    Ok(())
}

pub fn ensure_owned(path: &Path, about: &Metadata) -> Result<()> {
    let owner = about.uid();
    if owner != geteuid().as_raw() && owner != 0 {
        bail!("{path:?} belongs to user {owner}: nothing that is in it is believed");
    }
    Ok(())
}

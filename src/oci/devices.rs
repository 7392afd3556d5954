//! /dev: the devices every program may count on, and those the config.json gives.

use crate::{
    config::Config,
    layers,
    place::{Kind, is, place},
    sys::{self, mounts::*},
};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    sys::stat::{SFlag, fstat, makedev},
    unistd::{Gid, Uid, fchownat},
};
use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

#[derive(Clone, Debug)]
pub struct Node {
    pub path: PathBuf,
    pub kind: SFlag,
    pub number: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// config-linux.md, "Default Devices". The console is there only with a terminal, which takes its place.
const DEFAULT: &[(&str, u64, u64)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: &[(&str, &str)] = &[
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

pub fn default() -> impl Iterator<Item = Node> {
    DEFAULT.iter().map(|(name, major, minor)| Node {
        path: Path::new("/dev").join(name),
        kind: SFlag::S_IFCHR,
        number: makedev(*major, *minor),
        mode: 0o666,
        uid: 0,
        gid: 0,
    })
}

/// Where we may make none (`spec` has found out), the host's own are borrowed.
pub fn hold(config: &Config) -> Result<()> {
    layers::devices::hold(config)
}

pub fn fill(config: &Config) -> Result<()> {
    let root = sys::open_directory(Path::new("/"))?;
    // The mode is what was asked for, and not what a umask leaves of it.
    sys::umask(0)?;
    for node in &config.bundle.nodes {
        make(&root, node).with_context(|| format!("{:?}", node.path))?;
    }
    layers::devices::add(config)?;
    let dev = place(&root, Path::new("/dev"), Kind::Directory)?;
    for (name, text) in LINKS {
        exists(symlinkat(text, &dev, name))?;
    }
    if config.tty {
        exists(mknodat_file(&dev, "console".as_ref()))?;
    }
    Ok(())
}

/// No harm if it is there: a root without a /dev of its own keeps what it was given the last time.
fn exists(made: Result<()>) -> Result<()> {
    match made {
        Err(error) if is(&error, Errno::EEXIST) => Ok(()),
        made => made,
    }
}

fn make(root: &OwnedFd, node: &Node) -> Result<()> {
    let (Some(above), Some(name)) = (node.path.parent(), node.path.file_name()) else {
        bail!("it has no name")
    };
    let directory = place(root, above, Kind::Directory)?;
    exists(mknodat_device(&directory, name, node.kind, node.mode, node.number))?;
    let found = openat_nofollow(&directory, name)?;
    let about = fstat(&found)?;
    let is_it = about.st_rdev == node.number && about.st_mode & SFlag::S_IFMT.bits() == node.kind.bits();
    ensure!(is_it, "there is another file of that name in the root");
    let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
    fchownat(&directory, name, Some(Uid::from_raw(node.uid)), Some(Gid::from_raw(node.gid)), flags)?;
    Ok(())
}

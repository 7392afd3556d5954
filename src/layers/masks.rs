//! Masks: what /proc and /sys tell of the whole machine, or of others on it, and no container needs. Docker's list.

use crate::{
    config::Config,
    narrate,
    oci::mounts::empty,
    place::{self, is, is_directory, is_there},
    sys::{self, mounts::*},
};
use anyhow::{Context, Result, ensure};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    mount::MsFlags,
    sys::stat::{SFlag, fstat, major, minor},
};
use std::{
    fs::read_dir,
    io::ErrorKind,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

const FILES: &[&str] = &[
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
];

const DIRECTORIES: &[&str] =
    &["/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/devices/virtual/powercap", "/sys/firmware"];

/// The kernel makes this directory to be mounted on, and lets nobody put anything in it. A tmpfs would do as well, and
/// takes the kernel longer than all that is to be hidden by it.
const EMPTY: &str = "/sys/fs/cgroup";

pub fn any(config: &Config) -> bool {
    !config.open_paths
}

/// Nobody but us is in this mount table yet, and the names are the kernel's own: no link can lead us astray.
pub fn mask(_: &Config) -> Result<()> {
    let null = null()?;
    let mut first: Option<PathBuf> = None;
    for file in those_there(FILES.iter().map(PathBuf::from))? {
        match &first {
            None => cover(&null, &file)?,
            // The mount that is there already, once more.
            Some(first) => sys::mount(Some(first), &file, None, MsFlags::MS_BIND, None)?,
        }
        first.get_or_insert(file);
    }
    let mut first = has_nothing(EMPTY)?.then(|| PathBuf::from(EMPTY));
    for directory in those_there(directories())? {
        match &first {
            None => {
                let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
                sys::mount(Some(Path::new("tmpfs")), &directory, Some("tmpfs"), flags, None)?;
            }
            Some(first) => sys::mount(Some(first), &directory, None, MsFlags::MS_BIND, None)?,
        }
        first.get_or_insert(directory);
    }
    Ok(())
}

/// In a /sys of the host's something may be mounted there, and a kernel without cgroups has none.
fn has_nothing(directory: &str) -> Result<bool> {
    if narrate::is_dry() {
        return Ok(true);
    }
    match read_dir(directory).and_then(|mut names| names.next().transpose()) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        first => Ok(first.with_context(|| format!("cannot look into {directory:?}"))?.is_none()),
    }
}

fn directories() -> impl Iterator<Item = PathBuf> {
    let throttles = (0..).map(|cpu| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle"));
    let throttles = throttles.map(PathBuf::from).take_while(|path| is_there(path).unwrap_or(true));
    DIRECTORIES.iter().map(PathBuf::from).chain(throttles)
}

/// All that are masked where they are there.
pub fn listed() -> impl Iterator<Item = PathBuf> {
    FILES.iter().map(PathBuf::from).chain(directories())
}

/// Not all kernels have all of them.
fn those_there(paths: impl Iterator<Item = PathBuf>) -> Result<Vec<PathBuf>> {
    let mut there = vec![];
    for path in paths {
        if is_there(&path)? {
            there.push(path);
        }
    }
    Ok(there)
}

/// The host's /dev/null, and no link or file that somebody has put in its place (CVE-2025-31133, -52565, -52881):
/// what we mount in here is what a container gets to see.
fn null() -> Result<OwnedFd> {
    // Without a slash in front it is the host's, see `run`.
    openat2_in_root(HERE, Path::new("dev/null"), OFlag::O_PATH).and_then(known_null)
}

fn known_null(null: OwnedFd) -> Result<OwnedFd> {
    let about = fstat(&null)?;
    let is_character = about.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits();
    ensure!(
        narrate::is_dry() || is_character && (major(about.st_rdev), minor(about.st_rdev)) == (1, 3),
        "the host's /dev/null is not the device 1:3: mknod -m 666 /dev/null c 1 3 makes it again"
    );
    Ok(null)
}

/// For a config.json's own list: taken hold of while nobody in there could have made another of it.
pub fn hold(config: &Config) -> Result<Option<OwnedFd>> {
    if config.bundle.masked.is_empty() {
        return Ok(None);
    }
    let null = openat2_in_root(HERE, Path::new("/dev/null"), OFlag::O_PATH).and_then(known_null)?;
    open_tree_alone(null.as_fd()).map(Some)
}

/// What is not there needs no mask. The first of a kind is in our mount table then, where more can be had of it.
pub fn hide(config: &Config) -> Result<()> {
    let root = sys::open_directory(Path::new("/"))?;
    let null = config.bundle.held.borrow_mut().null.take();
    let (mut over_file, mut over_directory) = (None, None);
    for path in &config.bundle.masked {
        let Some(place) = found(&root, path)? else { continue };
        let is_directory = is_directory(&place)?;
        let first = if is_directory { &mut over_directory } else { &mut over_file };
        let mask = match first {
            Some(first) => open_tree_alone(AsFd::as_fd(first))?,
            None if is_directory => empty("tmpfs", config.bundle.mount_label.as_ref(), RDONLY)?,
            None => null.as_ref().context("nobody has taken hold of /dev/null")?.try_clone()?,
        };
        move_mount(&mask, &place).with_context(|| format!("{path:?}"))?;
        first.get_or_insert(mask);
    }
    Ok(())
}

/// And what is only to be read.
pub fn close(config: &Config) -> Result<()> {
    let root = sys::open_directory(Path::new("/"))?;
    for path in &config.bundle.readonly {
        let Some(place) = found(&root, path)? else { continue };
        let tree = open_tree(place.as_fd(), "")?;
        mount_setattr(&tree, true, RDONLY, 0)?;
        move_mount(&tree, &place).with_context(|| format!("{path:?}"))?;
    }
    Ok(())
}

fn found(root: &OwnedFd, path: &Path) -> Result<Option<OwnedFd>> {
    match place::open(root, path) {
        Err(error) if is(&error, Errno::ENOENT) || is(&error, Errno::ENOTDIR) => Ok(None),
        found => found.map(Some),
    }
}

/// Read-only, or whoever may change modes in here would change that of the host's.
fn cover(null: &OwnedFd, file: &Path) -> Result<()> {
    let tree = open_tree(null.as_fd(), "")?;
    mount_setattr(&tree, false, RDONLY | NOSUID | NOEXEC, PRIVATE)?;
    move_mount(&tree, &place::open(&sys::open_directory(Path::new("/"))?, file)?)
}

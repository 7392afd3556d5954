//! Mount namespace: a mount table of our own, and the kernel's filesystems on it.

use super::namespaces::{Namespace, Whose};
use crate::{config::Config, learn::not_yet, narrate, place::is_there, sys};
use anyhow::{Result, bail};
use nix::{errno::Errno, mount::MsFlags, sched::CloneFlags};
use std::{ffi::OsStr, path::Path};

const NO_TRICKS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

pub fn unshare(_: &Config) -> Result<()> {
    // Step 1: get a mount table of our own.
    not_yet(1)?;
    // Step 2: cut it loose from the host's: no mount may travel either way.
    not_yet(2)
}

pub fn proc(config: &Config) -> Result<()> {
    fresh_or_hosts("proc", "/proc", NO_TRICKS)?;
    if config.open_paths {
        return Ok(());
    }
    // What sets up the whole machine, and what root may write without having
    // any capability: seen, but not touched.
    for path in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"] {
        if is_there(Path::new(path))? {
            bind(path, path)?;
            remount_read_only(path)?;
        }
    }
    Ok(())
}

pub fn sys(config: &Config) -> Result<()> {
    let read_only = if config.privileged { MsFlags::empty() } else { MsFlags::MS_RDONLY };
    fresh_or_hosts("sysfs", "/sys", NO_TRICKS | read_only)
}

/// A /dev of our own in memory. Never the image's: what a device node does is
/// up to the kernel, not to the file it comes in.
pub fn dev(config: &Config) -> Result<()> {
    let no_programs = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount("tmpfs", "/dev", no_programs, "mode=0755,size=65536k")?;
    // mknod(2) takes the umask away from the mode, and a /dev/null of mode 0644
    // is of no use to anyone but root.
    sys::umask(0)?;
    for (name, major, minor) in DEVICES {
        node(name, *major, *minor)?;
    }
    for (link, target) in LINKS {
        sys::symlink(target, link)?;
    }
    // newinstance: terminals of our own, not a view of the host's.
    sys::mkdir(Path::new("/dev/pts"), 0o755)?;
    mount("devpts", "/dev/pts", no_programs, pts_options(config))?;
    sys::mkdir(Path::new("/dev/shm"), 0o1777)?;
    mount("tmpfs", "/dev/shm", NO_TRICKS, "mode=1777,size=65536k")?;
    // Queues belong to an IPC namespace; mounted in the host's they would be the host's.
    if *config.namespaces.of(Namespace::Ipc) != Whose::Host {
        sys::mkdir(Path::new("/dev/mqueue"), 0o1777)?;
        mount("mqueue", "/dev/mqueue", NO_TRICKS, "")?;
    }
    Ok(())
}

/// Name, major and minor number, as in the kernel's admin-guide/devices.rst.
/// The console is 5:1 there, which is the host's: ours goes nowhere (1:3),
/// until a terminal takes its place.
const DEVICES: &[(&str, u64, u64)] = &[
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("console", 1, 3),
];

const LINKS: &[(&str, &str)] = &[
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// gid 5 is "tty" wherever it matters; with one id mapped there is no such group.
fn pts_options(config: &Config) -> &'static str {
    match config.ids.has_group(5) {
        true => "newinstance,ptmxmode=0666,mode=0620,gid=5",
        false => "newinstance,ptmxmode=0666,mode=0620",
    }
}

fn node(name: &str, major: u64, minor: u64) -> Result<()> {
    let path = format!("/dev/{name}");
    match sys::mknod(&path, 0o666, major, minor) {
        // In a user namespace nobody makes devices: we borrow the host's.
        Err(error) if is(&error, Errno::EPERM) => {
            sys::mknod_file(&path)?;
            let hosts = DEVICES
                .iter()
                .find(|device| (device.1, device.2) == (major, minor))
                .map_or(name, |device| device.0);
            bind(&format!("dev/{hosts}"), &path)
        }
        done => done,
    }
}

/// Mounts a filesystem of the kernel's, or where we may not, shows the host's:
/// an ordinary user may mount /proc and /sys only with a pid and a network
/// namespace of their own to show in it. (A relative name is the host's here,
/// see `run`.)
fn fresh_or_hosts(fstype: &str, target: &str, flags: MsFlags) -> Result<()> {
    match mount(fstype, target, flags, "") {
        Err(error) if is(&error, Errno::EPERM) => {
            bind(target.trim_start_matches('/'), target)?;
            match flags.contains(MsFlags::MS_RDONLY) {
                // With all that is mounted below, such as the cgroups that are ours to change.
                true => sys::mount_setattr_read_only(Path::new(target), true),
                false => Ok(()),
            }
        }
        done => done,
    }
}

fn mount(fstype: &str, target: &str, flags: MsFlags, data: &str) -> Result<()> {
    let target = Path::new(target);
    match target.symlink_metadata() {
        _ if narrate::is_dry() => {}
        Ok(found) if found.is_dir() => {}
        // A link would have us mount somewhere else in the image.
        Ok(_) => {
            bail!("{} in the image is not a directory, so nothing can be mounted on it", target.display())
        }
        Err(_) => sys::mkdir(target, 0o755)?,
    }
    let data = Some(OsStr::new(data)).filter(|data| !data.is_empty());
    sys::mount(Some(Path::new(fstype)), target, Some(fstype), flags, data)
}

fn bind(source: &str, target: &str) -> Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    sys::mount(Some(Path::new(source)), Path::new(target), None, flags, None)
}

/// A bind mount takes its flags only when it is mounted again (mount(2)).
fn remount_read_only(target: &str) -> Result<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | NO_TRICKS;
    sys::mount(None, Path::new(target), None, flags, None)
}

fn is(error: &anyhow::Error, errno: Errno) -> bool {
    error.downcast_ref() == Some(&errno)
}

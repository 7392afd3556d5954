//! Devices: a door to a driver of the host's, for whoever may open it there.

use super::{
    Layer,
    cgroup::{self, Version},
    volumes::{held, hold_at},
};
use crate::{
    config::{Config, DeviceRule},
    filter::ebpf,
    narrate,
    place::{Kind, is, place},
    sys::{self, mounts::*},
};
use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    sys::stat::{SFlag, fstat, major, minor},
    unistd::geteuid,
};
use std::{os::fd::BorrowedFd, path::Path};

/// What every container may do: make any node (that alone opens nothing), and use those in its /dev: null, zero,
/// full, random, urandom, the terminals.
#[rustfmt::skip]
const USUAL: &[(char, Option<u32>, Option<u32>, &str)] = &[
    ('c', None, None, "m"), ('b', None, None, "m"),
    ('c', Some(1), Some(3), "rwm"), ('c', Some(1), Some(5), "rwm"), ('c', Some(1), Some(7), "rwm"),
    ('c', Some(1), Some(8), "rwm"), ('c', Some(1), Some(9), "rwm"),
    ('c', Some(5), Some(0), "rwm"), ('c', Some(5), Some(2), "rwm"), ('c', Some(136), None, "rwm"),
];

pub fn is_limited(config: &Config) -> bool {
    !config.privileged
}

/// A node is only a pair of numbers, which root in a container can make (CAP_MKNOD): this is what keeps it from
/// opening the host's disk with it. Version 1 has a list in a group, version 2 a program at one.
pub fn limit(config: &Config) -> Result<()> {
    match config.cgroup.version {
        Version::V1 => {
            for group in cgroup::groups(config, Layer::Devices) {
                sys::mkdir(&group.dir, 0o755)?;
                sys::write(&group.dir.join("devices.deny"), "a")?;
                sys::write_each(&group.dir.join("devices.allow"), rules(config).iter().map(line))?;
            }
            Ok(())
        }
        Version::V2 => attach(config),
    }
}

fn attach(config: &Config) -> Result<()> {
    let Some(group) = config.cgroup.groups.first() else {
        narrate::note(format_args!("no cgroup: the tree is not ours to divide (rubber doctor says why)"));
        return Ok(());
    };
    // The group of all controllers, where no layer before this one has made it.
    for group in config.cgroup.made_by(Layer::Devices) {
        sys::mkdir(&group.dir, 0o755)?;
    }
    let program = sys::bpf_load_device_program(&ebpf::device_program(&rules(config)));
    // Whoever is not the machine's root can make no node either, and the host's say who may open them.
    // (A rehearsal is refused nothing.)
    let is_refused = match &program {
        Err(error) => is(error, Errno::EPERM),
        Ok(_) => narrate::is_dry() && !geteuid().is_root(),
    };
    if is_refused {
        narrate::note(format_args!("only the machine's root filters devices in version 2"));
        return Ok(());
    }
    sys::bpf_attach(&sys::open_directory(&group.dir)?, &program?)
}

pub fn join(config: &Config) -> Result<()> {
    for group in config.cgroup.made_by(Layer::Devices) {
        sys::write(&config.cgroup.members(group), "0")?;
    }
    Ok(())
}

pub fn remove(config: &Config) -> Result<()> {
    for group in config.cgroup.made_by(Layer::Devices).rev() {
        cgroup::remove_group(&group.dir)?;
    }
    Ok(())
}

pub fn rules(config: &Config) -> Vec<DeviceRule> {
    let usual = USUAL.iter().map(|(kind, major, minor, access)| DeviceRule {
        kind: *kind,
        major: *major,
        minor: *minor,
        access: (*access).into(),
    });
    let given = config.devices.iter().map(|device| device.rule.clone());
    usual.chain(open_already()).chain(given).chain(config.device_rules.iter().cloned()).collect()
}

/// A serial line that is the caller's stdout can be opened once more by its name, /dev/stdout.
fn open_already() -> impl Iterator<Item = DeviceRule> {
    (0..3).filter_map(|fd| {
        // SAFETY: it is only looked at, and may be closed.
        let about = fstat(unsafe { BorrowedFd::borrow_raw(fd) }).ok()?;
        let is_terminal = about.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits()
            && nix::unistd::isatty(unsafe { BorrowedFd::borrow_raw(fd) }).unwrap_or(false);
        let (major, minor) = (Some(major(about.st_rdev) as u32), Some(minor(about.st_rdev) as u32));
        (is_terminal && major != Some(136)).then(|| DeviceRule {
            kind: 'c',
            major,
            minor,
            access: "rw".into(),
        })
    })
}

/// As the files of version 1 have it: cgroup-v1/devices.rst.
fn line(rule: &DeviceRule) -> String {
    let number = |number: Option<u32>| number.map_or("*".into(), |number| number.to_string());
    format!("{} {}:{} {}", rule.kind, number(rule.major), number(rule.minor), rule.access)
}

pub fn any(config: &Config) -> bool {
    !config.devices.is_empty()
}

/// (A name without a slash in front is the host's, see `run`.)
pub fn hold(config: &Config) -> Result<()> {
    config.devices.iter().try_for_each(|device| {
        hold_at(config, HERE, &device.source, &device.target).with_context(|| format!("{:?}", device.source))
    })
}

/// The host's own node, and not one made here: it keeps its owner and mode, and an ordinary user, who may make
/// none, can have it as well. Read-only is the node, so that nobody in here changes its mode for all; the
/// device behind it does what it does.
pub fn add(config: &Config) -> Result<()> {
    let root = sys::open_directory(Path::new("/"))?;
    config.devices.iter().try_for_each(|device| {
        let add = || {
            let node = held(config, &device.target)?;
            mount_setattr(&node, false, RDONLY | NOSUID | NOEXEC, PRIVATE)?;
            move_mount(&node, &place(&root, &device.target, Kind::File)?)
        };
        add().with_context(|| format!("{:?} at {:?}", device.source, device.target))
    })
}

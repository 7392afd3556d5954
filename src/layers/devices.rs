//! Devices: a door to a driver of the host's, for whoever may open it there.

use super::volumes::{held, hold_at};
use crate::{
    config::Config,
    place::{Kind, place},
    sys::{self, mounts::*},
};
use anyhow::{Context, Result};
use std::path::Path;

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

//! Network namespace: no links but a loopback of our own.

use crate::{config::Config, sys};
use anyhow::Result;
use nix::sched::CloneFlags;

pub fn unshare(_: &Config) -> Result<()> {
    sys::unshare(CloneFlags::CLONE_NEWNET)?;
    // A new loopback is down, and even 127.0.0.1 unreachable.
    // By hand: ip link set lo up
    let socket = sys::socket()?;
    sys::ioctl_link_up(&socket, "lo")
}

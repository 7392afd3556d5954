//! What the container should be. Plain data: every layer reads it, none writes it.

use crate::{
    container::terminal,
    layers::{Layers, cgroup, userns},
    narrate,
};
use caps::Capability;
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

pub struct Config {
    /// Twelve hexadecimal digits: the hostname, and part of every name we make.
    pub id: String,
    /// The layers of isolation that are on.
    pub layers: Layers,
    /// The unpacked layers of the image, lowest first.
    pub image: Vec<PathBuf>,
    /// The container's own directory in the store. What it writes is in here, and its root is put
    /// together on top: whatever is mounted here hides the rest from the container alone.
    pub dir: PathBuf,
    /// The disk of `dir` cannot hold the upper layer of an overlay: use memory.
    pub upper_in_memory: bool,

    /// The command and its arguments, any bytes but NUL.
    pub command: Vec<OsString>,
    /// The whole environment, `NAME=value`; HOME is added when it is missing.
    pub env: Vec<OsString>,
    pub workdir: PathBuf,
    /// What is typed goes to the command (`-i`).
    pub interactive: bool,
    /// The command gets a terminal of its own (`-t`), whose other end comes out here.
    pub terminal: Option<terminal::Channel>,
    /// Pid 1 is a process of ours that collects zombies, and the command its child.
    pub init: bool,

    pub hostname: OsString,
    /// `uid[:gid]` or `name[:group]`; names are the image's.
    pub user: String,
    /// How many ids a user namespace maps: all the ranges we were given, or just our own.
    pub ids: userns::Ids,
    pub capabilities: Vec<Capability>,
    /// Nothing is read-only or masked for the sake of the host.
    pub privileged: bool,
    pub limits: Limits,
    /// Where in the cgroup tree the container goes; empty where there is no place for it.
    pub cgroup: cgroup::Place,
}

/// What was asked for; `None` is "no limit of our own".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// Bytes.
    pub memory: Option<u64>,
    /// Memory and swap together, bytes; -1 is no limit. As docker's `--memory-swap`.
    pub memory_and_swap: Option<i64>,
    /// Bytes the kernel tries to leave us when memory is short.
    pub memory_reservation: Option<u64>,
    /// 2 to 262144; a container with twice the shares gets twice the time, when there is not enough for all.
    pub cpu_shares: Option<u64>,
    /// Microseconds of CPU time in each `CPU_PERIOD`.
    pub cpu_quota: Option<u64>,
    /// As in `0-2,5`.
    pub cpuset: Option<String>,
    /// Processes and threads; -1 is no limit.
    pub pids: Option<i64>,
}

/// The stretch of time a CPU quota counts in, in microseconds: the kernel's default.
pub const CPU_PERIOD: u64 = 100_000;

impl Config {
    /// Where to look for a file of the container's: at its name, once its root is ours. In a dry run
    /// it never is, and the file is where the image has it.
    pub fn in_image(&self, path: &Path) -> PathBuf {
        let below = path.strip_prefix("/").unwrap_or(path);
        let in_layers = || self.image.iter().rev().map(|layer| layer.join(below));
        match narrate::is_dry() {
            true => in_layers().find(|file| file.symlink_metadata().is_ok()).or(in_layers().next()),
            false => None,
        }
        .unwrap_or(path.into())
    }

    /// What the container writes (overlay's upper layer), in the host's words.
    pub fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    /// Overlay's own scratch directory; on the same filesystem as `upper`.
    pub fn work(&self) -> PathBuf {
        self.dir.join("work")
    }
}

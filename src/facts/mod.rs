//! What a process sees, and what the kernel says of it, as plain data.
//!
//! Everything here only looks: nothing is changed, so nothing is narrated.
//! A fact that cannot be read is `None`, and `unreadable` says why; it is
//! never guessed.

mod bare;
mod calls;
mod cgroup;
mod holds;
mod inside;
mod mounts;
mod names;
mod namespaces;
mod proc;
mod status;

pub use cgroup::{Cgroup, Limits, cpu_stat};
pub use mounts::{Mount, parse as mounts_in};
pub use names::{CAPABILITY_SETS, NAMESPACES};

use anyhow::{Result, bail};
use proc::Proc;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io};

/// The names of these fields are what `rubber facts --format json` prints and what
/// expressions such as `ns.uts` name: they stay. Unknown fields are ignored and missing
/// ones are `None`, so facts can travel between versions of rubber.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// The number the process was asked for by; for ourselves, the one we see.
    pub pid: Option<i32>,
    /// Its number in every pid namespace it is visible in, outermost first.
    pub pids: Option<Vec<i32>>,
    pub parent: Option<i32>,
    /// Clock ticks after boot. A pid alone does not identify a process; a pid and this do.
    pub started: Option<u64>,
    pub name: Option<String>,
    pub state: Option<String>,
    pub exe: Option<String>,
    pub command: Option<Vec<String>>,
    pub session: Option<i32>,
    /// `None` when there is no controlling terminal.
    pub tty: Option<String>,

    /// Inode number of each namespace. `pid_for_children` and `time_for_children` are
    /// there only when they differ from `pid` and `time`.
    pub ns: BTreeMap<String, Option<u64>>,
    /// Whether it is the one the machine booted with; `None` where that cannot be known.
    pub ns_host: BTreeMap<String, Option<bool>>,

    /// By how many seconds the clocks of its children differ from those of the machine; its own, too, unless
    /// there is a `time_for_children`.
    pub time_offsets: Option<BTreeMap<String, f64>>,

    pub root: Option<Root>,
    pub cwd: Option<String>,
    pub mounts: Option<Vec<Mount>>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub interfaces: Option<Vec<Interface>>,

    pub cgroup: Option<Cgroup>,
    pub limits: Limits,
    /// The CPUs it may run on, as the kernel writes them: `0-3,8`.
    pub cpus_allowed: Option<String>,

    pub uid: Option<Ids>,
    pub gid: Option<Ids>,
    pub groups: Option<Vec<u32>>,
    pub uid_map: Option<Vec<IdRange>>,
    pub gid_map: Option<Vec<IdRange>>,
    /// `allow` or `deny`: whether this user namespace may call setgroups(2).
    pub setgroups: Option<String>,

    /// The five sets, by name: `caps.effective` and so on.
    pub caps: BTreeMap<String, Vec<String>>,
    /// The same sets as the kernel writes them: sixteen hexadecimal digits.
    pub caps_raw: BTreeMap<String, String>,
    /// `disabled`, `strict` or `filter`.
    pub seccomp: Option<String>,
    pub seccomp_filters: Option<u32>,
    pub no_new_privs: Option<bool>,

    pub fds: Option<BTreeMap<u32, String>>,
    pub env: Option<BTreeMap<String, String>>,
    /// Four octal digits.
    pub umask: Option<String>,
    pub signals: Signals,
    pub rlimits: Option<BTreeMap<String, Rlimit>>,
    pub oom_score_adj: Option<i32>,
    pub count: Counts,
    /// The kernel's release.
    pub kernel: Option<String>,

    /// Field to reason, for everything above that could not be read.
    pub unreadable: BTreeMap<String, String>,
}

/// How many; kept apart so that they can be told without telling what.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Processes this reader sees in /proc.
    pub processes: Option<usize>,
    /// Device nodes directly in the process's /dev.
    pub devices: Option<usize>,
    pub mounts: Option<usize>,
    pub interfaces: Option<usize>,
    pub fds: Option<usize>,
    pub env: Option<usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Root {
    pub path: Option<String>,
    /// `major:minor`, as in the third field of mountinfo.
    pub device: String,
    pub inode: u64,
    pub fstype: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Interface {
    pub name: String,
    /// `None` when only the name could be read.
    pub up: Option<bool>,
    pub addresses: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ids {
    pub real: u32,
    pub effective: u32,
    pub saved: u32,
    pub fs: u32,
}

/// `count` ids from `inside` on are `outside` and following in the reader's user namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Signals {
    pub blocked: Option<Vec<String>>,
    pub ignored: Option<Vec<String>>,
    pub caught: Option<Vec<String>>,
}

/// `None` is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rlimit {
    pub soft: Option<u64>,
    pub hard: Option<u64>,
}

/// What the calling process sees, with or without a /proc.
pub fn own() -> Facts {
    match Proc::own() {
        Ok(proc) => read(&proc),
        Err(reason) => bare::read(&reason),
    }
}

/// What can be seen of process `pid` from here.
pub fn of(pid: &str) -> Result<Facts> {
    if !pid.bytes().all(|byte| byte.is_ascii_digit()) || pid.bytes().all(|byte| byte == b'0') {
        bail!("{pid:?} is not a process id: give a number from 1 up, as `ps` shows it");
    }
    // A number too large for a pid is no process either.
    let Ok(number) = pid.parse() else { bail!("no process {pid}") };
    let proc = Proc::of(number)?;
    let facts = read(&proc);
    // Between two reads the process may end and its number go to another.
    match facts.started.is_some() && facts.started == proc.started() {
        true => Ok(facts),
        false => bail!("no process {number}: it ended while it was looked at"),
    }
}

/// `status` first: it knows whether this is a kernel thread or a zombie, which have less to read.
const READERS: &[fn(&Proc, &mut Facts)] =
    &[status::read, namespaces::read, mounts::read, inside::read, holds::read, cgroup::read];

fn read(proc: &Proc) -> Facts {
    let mut facts = Facts::default();
    for reader in READERS {
        reader(proc, &mut facts);
    }
    facts.tally();
    facts
}

impl Facts {
    /// The value found, or `None` and the reason put down under `field`.
    fn note<T>(&mut self, field: &str, found: io::Result<T>) -> Option<T> {
        found.map_err(|error| self.unreadable.insert(field.to_owned(), proc::reason(&error))).ok()
    }

    fn tally(&mut self) {
        self.count.mounts = self.mounts.as_ref().map(Vec::len);
        self.count.interfaces = self.interfaces.as_ref().map(Vec::len);
        self.count.fds = self.fds.as_ref().map(BTreeMap::len);
        self.count.env = self.env.as_ref().map(BTreeMap::len);
    }

    pub fn ns(&self, kind: &str) -> Option<u64> {
        self.ns.get(kind).copied().flatten()
    }

    /// The filesystem type of the mount that is the root, if the root is a mount at all:
    /// after chroot(2) it need not be.
    pub fn root_mount(&self) -> Option<&Mount> {
        self.mounts.iter().flatten().rev().find(|mount| mount.target == "/")
    }

    /// The same facts without what is nobody's business inside a container: the host's
    /// environment, open files, command lines, mounts and addresses. The counts stay.
    #[allow(dead_code)] // `run` is to tell these to `portrait`
    pub fn for_inside(mut self) -> Facts {
        (self.env, self.fds, self.command, self.exe, self.cwd) = (None, None, None, None, None);
        (self.mounts, self.cgroup, self.rlimits) = (None, None, None);
        for interface in self.interfaces.iter_mut().flatten() {
            interface.addresses.clear();
        }
        self.unreadable.clear();
        self
    }
}

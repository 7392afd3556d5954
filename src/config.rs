//! What the container should be. Plain data: every layer reads it, none writes it.

use crate::{
    container::streams::Streams,
    filter::Filter,
    ids::Ids,
    join::Target,
    layers::{
        Layers, cgroup,
        namespaces::{Donor, Namespace, Namespaces},
    },
    narrate,
    oci::Bundle,
};
use caps::Capability;
use nix::sched::CloneFlags;
use nix::sys::stat::{SFlag, major, minor};
use serde::{Deserialize, Serialize};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    ffi::OsString,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

#[derive(Default, Serialize, Deserialize)]
pub struct Config {
    /// Twelve hexadecimal digits: the hostname, and part of every name we make.
    pub id: String,
    /// The layers of isolation that are on.
    pub layers: Layers,
    /// The unpacked layers of the image, lowest first.
    #[serde(with = "words")]
    pub image: Vec<PathBuf>,
    /// The container's own directory in the store. What it writes is in here, and its root is put
    /// together on top: whatever is mounted here hides the rest from the container alone.
    #[serde(with = "word")]
    pub dir: PathBuf,
    /// What it wrote stays when it has ended, until `rubber rm`.
    pub keep: bool,
    /// The disk of `dir` cannot hold the upper layer of an overlay: use memory.
    pub upper_in_memory: bool,

    /// The command and its arguments, any bytes but NUL.
    #[serde(with = "words")]
    pub command: Vec<OsString>,
    /// The whole environment, `NAME=value`; HOME is added when it is missing.
    #[serde(with = "words")]
    pub env: Vec<OsString>,
    #[serde(with = "word")]
    pub workdir: PathBuf,
    /// What is typed goes to the command (`-i`).
    pub interactive: bool,
    /// The command gets a terminal of its own (`-t`).
    pub tty: bool,
    /// Whose stdin, stdout and stderr the command gets.
    #[serde(skip)]
    pub streams: Streams,
    /// The container that is joined (`rubber exec`), where it is not to be made.
    #[serde(skip)]
    pub target: Option<Target>,
    /// Whose its namespaces are.
    #[serde(default)]
    pub namespaces: Namespaces,
    /// Its clocks, by their names in time_namespaces(7), and by how many seconds they differ from the host's.
    #[serde(default)]
    pub clocks: BTreeMap<String, i64>,
    /// The containers whose namespaces it joins.
    #[serde(skip)]
    pub donors: Vec<Donor>,
    /// Pid 1 is a process of ours that collects zombies, and the command its child.
    pub init: bool,

    #[serde(with = "word")]
    pub hostname: OsString,
    /// `uid[:gid]` or `name[:group]`; names are the image's.
    pub user: String,
    /// Which ids exist inside, and who they are outside.
    pub ids: Ids,
    /// Its first process, once that is there.
    #[serde(skip)]
    pub first: Cell<i32>,
    #[serde(with = "capabilities")]
    pub capabilities: Vec<Capability>,
    /// Which system calls are let through.
    #[serde(default)]
    pub seccomp: Filter,
    /// No program is more than who runs it, whatever its setuid bit or its capabilities say.
    #[serde(default)]
    pub no_new_privileges: bool,
    /// The AppArmor profile and the SELinux label of the command.
    #[serde(default)]
    pub apparmor: Option<String>,
    #[serde(default)]
    pub selinux: Option<String>,
    /// Nothing is read-only or masked for the sake of the host.
    pub privileged: bool,
    /// No path of /proc and /sys is, at least.
    #[serde(default)]
    pub open_paths: bool,
    pub limits: Limits,
    /// What is shared with it, in this order: a mount comes before what is mounted below it.
    pub mounts: Vec<Mount>,
    pub devices: Vec<Device>,
    /// `--device-cgroup-rule`: for nodes that are made later.
    #[serde(default)]
    pub device_rules: Vec<DeviceRule>,
    /// What the host shares, held until it is mounted, by its target.
    #[serde(skip)]
    pub held: RefCell<BTreeMap<PathBuf, OwnedFd>>,
    #[serde(skip)]
    pub names: Names,
    /// Nothing can be written but what is mounted.
    pub read_only: bool,
    pub umask: u32,
    /// Groups to be in as well, names (the image's) or numbers.
    pub groups: Vec<String>,
    /// Of its own namespaces: as in `net.ipv4.ip_forward`, and the value.
    pub sysctls: Vec<(String, String)>,
    /// Where in the cgroup tree the container goes; empty where there is no place for it.
    pub cgroup: cgroup::Place,
    /// Its first process is there from the beginning, and has nothing to join.
    #[serde(skip)]
    pub is_born_in_group: Cell<bool>,
    /// What only a config.json can ask for (`rubber-oci`).
    #[serde(skip)]
    pub bundle: Bundle,
}

/// What is in /etc/hosts, /etc/hostname and /etc/resolv.conf.
#[derive(Default)]
pub struct Names {
    pub hosts: Vec<u8>,
    pub hostname: Vec<u8>,
    pub resolv_conf: Vec<u8>,
}

/// Something of elsewhere that is seen at `target`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    #[serde(flatten)]
    pub what: What,
    /// The container's name for it: absolute, without "." and "..".
    #[serde(with = "word")]
    pub target: PathBuf,
    /// What cannot be done through it, nor through what is mounted below.
    pub attributes: Vec<Attribute>,
    pub propagation: Propagation,
    /// All files in it are given to the container's user.
    pub chown: bool,
    /// Its files are shown with the owners they have in the container's user namespace.
    #[serde(default)]
    pub idmap: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum What {
    /// A file or a directory of the host's.
    Bind {
        #[serde(with = "word")]
        source: PathBuf,
    },
    /// A directory of the store's. An empty one is filled with what the image has in its place.
    Volume {
        name: String,
        #[serde(with = "word")]
        source: PathBuf,
        fill: bool,
        /// It is this container's alone, and goes with it, or with `rm -v`.
        #[serde(default)]
        anonymous: bool,
    },
    /// Memory, with options as in tmpfs(5).
    Tmpfs { options: Vec<(String, String)> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attribute {
    Ro,
    Nosuid,
    Nodev,
    Noexec,
}

/// Whether what is mounted on one side later is seen on the other: mount_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Propagation {
    Private,
    /// The host's are seen in the container.
    Slave,
    /// And the other way round.
    Shared,
}

/// A device of the host's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Device {
    #[serde(with = "word")]
    pub source: PathBuf,
    #[serde(with = "word")]
    pub target: PathBuf,
    pub rule: DeviceRule,
}

/// What may be done with which devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// `c` for character devices, `b` for block devices, `a` for all.
    pub kind: char,
    /// `None` is any number.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    /// Of `r`, `w` and `m`: read, write, and make a node of.
    pub access: String,
}

impl DeviceRule {
    /// All of the device that a node of this kind and number is.
    pub fn of(kind: SFlag, number: u64) -> DeviceRule {
        let kind = if kind == SFlag::S_IFBLK { 'b' } else { 'c' };
        let (major, minor) = (Some(major(number) as u32), Some(minor(number) as u32));
        DeviceRule { kind, major, minor, access: "rwm".into() }
    }
}

/// A limit of each process, setrlimit(2). `u64::MAX` is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rlimit {
    /// As in `nofile`.
    pub name: String,
    pub soft: u64,
    pub hard: u64,
}

/// What was asked for; `None` is "no limit of our own".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
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
    pub rlimits: Vec<Rlimit>,
    /// -1000 to 1000: how likely the kernel is to kill it when memory is short.
    pub oom_score_adj: Option<i32>,
}

/// The stretch of time a CPU quota counts in, in microseconds: the kernel's default.
pub const CPU_PERIOD: u64 = 100_000;

impl Config {
    /// The kinds of namespaces that are made for it.
    pub fn kinds_of_its_own(&self) -> CloneFlags {
        let has_layer = |kind: &Namespace| self.layers.contains(kind.layer());
        Namespace::ALL.into_iter().filter(has_layer).map(Namespace::flag).collect::<CloneFlags>()
            & self.namespaces.own()
    }

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

/// In a record, a word or a path is text where it can be, and else its bytes.
pub mod word {
    use super::*;
    use serde::{Deserializer, Serializer};
    use std::{
        ffi::OsStr,
        os::unix::ffi::{OsStrExt, OsStringExt},
    };

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    pub enum Word {
        Text(String),
        Bytes(Vec<u8>),
    }

    impl From<&OsStr> for Word {
        fn from(word: &OsStr) -> Word {
            word.to_str().map_or_else(|| Word::Bytes(word.as_bytes().into()), |text| Word::Text(text.into()))
        }
    }

    impl From<Word> for OsString {
        fn from(word: Word) -> OsString {
            match word {
                Word::Text(text) => text.into(),
                Word::Bytes(bytes) => OsString::from_vec(bytes),
            }
        }
    }

    pub fn serialize<S: Serializer>(word: &impl AsRef<OsStr>, to: S) -> Result<S::Ok, S::Error> {
        Word::from(word.as_ref()).serialize(to)
    }

    pub fn deserialize<'a, T: From<OsString>, D: Deserializer<'a>>(from: D) -> Result<T, D::Error> {
        Word::deserialize(from).map(OsString::from).map(T::from)
    }
}

mod words {
    use super::{word::Word, *};
    use serde::{Deserializer, Serializer};
    use std::ffi::OsStr;

    pub fn serialize<S: Serializer>(words: &[impl AsRef<OsStr>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(words.iter().map(|word| Word::from(word.as_ref())))
    }

    pub fn deserialize<'a, T: From<OsString>, D: Deserializer<'a>>(from: D) -> Result<Vec<T>, D::Error> {
        Ok(Vec::<Word>::deserialize(from)?.into_iter().map(OsString::from).map(T::from).collect())
    }
}

/// By their names, as in `CAP_CHOWN`.
mod capabilities {
    use super::*;
    use serde::{Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(set: &[Capability], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(set.iter().map(Capability::to_string))
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<Capability>, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        names.iter().map(|name| name.parse().map_err(|_| D::Error::custom(name))).collect()
    }
}

//! Namespaces: whose each of them is. A layer makes one of its own, unless it is told to leave the host's or to
//! take another container's.

use super::{Layer, idmap};
use crate::{config::Config, sys};
use anyhow::Result;
use nix::sched::CloneFlags;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, os::fd::OwnedFd};

/// The kinds that can be chosen, as /proc/PID/ns calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    Pid,
    Net,
    Uts,
    Ipc,
    Cgroup,
    User,
}

use Namespace::*;

impl Namespace {
    /// The user namespace last: it may come along with another that is joined.
    pub const ALL: [Namespace; 6] = [Pid, Net, Uts, Ipc, Cgroup, User];

    pub fn name(self) -> &'static str {
        match self {
            User => "user",
            Pid => "pid",
            Net => "net",
            Uts => "uts",
            Ipc => "ipc",
            Cgroup => "cgroup",
        }
    }

    /// The layer that makes one. (Ipc makes two.)
    pub fn layer(self) -> Layer {
        match self {
            User => Layer::Userns,
            Pid => Layer::Pid,
            Net => Layer::Net,
            Uts => Layer::Uts,
            Ipc | Cgroup => Layer::Ipc,
        }
    }

    /// The kind that a parameter of /proc/sys is of. Of all others there is one for the whole machine.
    pub fn of_parameter(name: &str) -> Option<Namespace> {
        match name.split_once('.')? {
            ("net", _) => Some(Net),
            ("user", _) => Some(User),
            ("fs", rest) if rest.starts_with("mqueue.") => Some(Ipc),
            ("kernel", "domainname") => Some(Uts),
            ("kernel", rest) if IPC_PARAMETERS.contains(&rest) => Some(Ipc),
            _ => None,
        }
    }

    pub fn flag(self) -> CloneFlags {
        match self {
            User => CloneFlags::CLONE_NEWUSER,
            Pid => CloneFlags::CLONE_NEWPID,
            Net => CloneFlags::CLONE_NEWNET,
            Uts => CloneFlags::CLONE_NEWUTS,
            Ipc => CloneFlags::CLONE_NEWIPC,
            Cgroup => CloneFlags::CLONE_NEWCGROUP,
        }
    }
}

/// Of kernel.*, beside fs.mqueue.
const IPC_PARAMETERS: &[&str] =
    &["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];

/// Whether it can be a parameter's name, such as net.ipv4.ip_forward: each part of it becomes that of a file's.
pub fn is_parameter(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    name.split('.').all(|part| !part.is_empty() && part.bytes().all(is_plain))
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    Own,
    Host,
    /// The container of this id.
    Container(String),
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Namespaces(pub BTreeMap<Namespace, Whose>);

impl Namespaces {
    /// What none is named for is its own.
    pub fn of(&self, kind: Namespace) -> &Whose {
        self.0.get(&kind).unwrap_or(&Whose::Own)
    }

    pub fn is_own(&self, kind: Namespace) -> bool {
        *self.of(kind) == Whose::Own
    }

    /// Those that are its own, as flags.
    pub fn own(&self) -> CloneFlags {
        Namespace::ALL.into_iter().filter(|kind| self.is_own(*kind)).map(Namespace::flag).collect()
    }

    /// Whether there is nothing for a layer to make, as another container has made it.
    pub fn has_joined(&self, layer: Layer) -> bool {
        let mut made = Namespace::ALL.into_iter().filter(|kind| kind.layer() == layer).peekable();
        made.peek().is_some() && !made.any(|kind| self.is_own(kind))
    }
}

/// A process whose namespaces are joined, held so that its number cannot become another's.
pub struct Donor {
    /// Of the container whose first process it is.
    pub id: String,
    pub pidfd: OwnedFd,
    pub flags: CloneFlags,
}

pub fn any_joined(config: &Config) -> bool {
    config.donors.iter().any(|donor| !(donor.flags - late(config)).is_empty())
}

/// All at once: a user namespace among them gives us the right to join the others.
pub fn join(config: &Config) -> Result<()> {
    join_each(config, |flags| flags - late(config))
}

pub fn any_late(config: &Config) -> bool {
    config.donors.iter().any(|donor| donor.flags.intersects(late(config)))
}

/// The cgroup namespace comes when we are in a group of our own: from inside of it that would be out of reach, where
/// the tree is mounted with nsdelegate (cgroups(7)).
pub fn join_late(config: &Config) -> Result<()> {
    join_each(config, |flags| flags & late(config))
}

/// (Whoever becomes another root on the way has no right to join it by then.)
fn late(config: &Config) -> CloneFlags {
    if idmap::any(config) { CloneFlags::empty() } else { CloneFlags::CLONE_NEWCGROUP }
}

fn join_each(config: &Config, which: impl Fn(CloneFlags) -> CloneFlags) -> Result<()> {
    let flags = config.donors.iter().map(|donor| (donor, which(donor.flags)));
    flags
        .filter(|(_, flags)| !flags.is_empty())
        .try_for_each(|(donor, flags)| sys::setns(&donor.pidfd, flags))
}

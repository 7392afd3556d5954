//! Namespaces as people type them: `--network host`, `--pid container:web`.

use crate::{
    config::Mount,
    container::{find, processes},
    ids::{Ids, IsAble},
    image::Store,
    layers::{
        Layer, Layers,
        namespaces::{Donor, Namespace, Namespaces, Whose},
    },
    narrate,
};
use Namespace::*;
use anyhow::{Context, Result, bail};
use nix::sched::CloneFlags;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::read_link,
    path::{Path, PathBuf},
};

#[derive(clap::Args)]
#[command(next_help_heading = "Namespaces")]
pub struct Modes {
    /// Network: none (its own, with nothing but a loopback), host, or container:NAME
    #[arg(long, visible_alias = "net", value_name = "MODE")]
    network: Option<String>,
    /// Processes it sees: private (its own), host, or container:NAME
    #[arg(long, value_name = "MODE")]
    pid: Option<String>,
    /// System V IPC and message queues: private, host, or container:NAME (shared memory by name is files in
    /// /dev/shm: -v shares those)
    #[arg(long, value_name = "MODE")]
    ipc: Option<String>,
    /// Hostname: private, host, or container:NAME
    #[arg(long, value_name = "MODE")]
    uts: Option<String>,
    /// Root of the cgroups it sees: private, host, or container:NAME
    #[arg(long, value_name = "MODE")]
    cgroupns: Option<String>,
    /// Ids: private, host, or container:NAME [default: host for root, private for everybody else]
    #[arg(long, value_name = "MODE")]
    userns: Option<String>,
    /// Which ids exist inside, and who they are outside; more than once for more ranges
    #[arg(long, value_name = "CONTAINER:HOST:SIZE", allow_hyphen_values = true)]
    uidmap: Vec<String>,
    /// The same for groups [default: as --uidmap]
    #[arg(long, value_name = "CONTAINER:HOST:SIZE", allow_hyphen_values = true)]
    gidmap: Vec<String>,
    /// Clocks that differ from the host's by so many seconds (or 30m, 12h, 2d), as in monotonic=2d,boottime=2d
    #[arg(long, value_name = "CLOCK=OFFSET,...", value_delimiter = ',', allow_hyphen_values = true)]
    timens: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    Private,
    Host,
    Container(String),
}

/// What was found of the containers that were named.
#[derive(Default)]
pub struct Found {
    pub namespaces: Namespaces,
    pub donors: Vec<Donor>,
    /// Of the user namespace that is joined.
    pub ids: Option<Ids>,
    /// Of the UTS namespace that is joined.
    pub hostname: Option<OsString>,
    /// The user namespace that is joined, as its link reads.
    user: Option<PathBuf>,
}

impl Modes {
    fn word(&self, kind: Namespace) -> Option<&str> {
        let word = match kind {
            User => &self.userns,
            Pid => &self.pid,
            Net => &self.network,
            Uts => &self.uts,
            Ipc => &self.ipc,
            Cgroup => &self.cgroupns,
        };
        word.as_deref()
    }

    pub fn mode(&self, kind: Namespace) -> Result<Option<Mode>> {
        let Some(word) = self.word(kind) else { return Ok(None) };
        let flag = flag(kind);
        Ok(Some(match word {
            "host" => Mode::Host,
            "none" if kind == Net => Mode::Private,
            "private" => Mode::Private,
            "bridge" if kind == Net => {
                bail!("{flag} bridge: rubber has no bridge yet; there are none, host and container:NAME")
            }
            word => match word.strip_prefix("container:").filter(|name| !name.is_empty()) {
                Some(name) => Mode::Container(name.into()),
                None => bail!("{flag} {word:?}: there are {}, host and container:NAME", own_word(kind)),
            },
        }))
    }

    /// Whether the ids are to be others than the caller's, which root has to ask for.
    pub fn wants_ids(&self) -> Result<bool> {
        let maps = !self.uidmap.is_empty() || !self.gidmap.is_empty();
        match self.mode(User)? {
            Some(Mode::Host | Mode::Container(_)) if maps => {
                bail!("--uidmap, --gidmap: they are for a user namespace of its own: leave --userns out")
            }
            mode => Ok(maps || !matches!(mode, None | Some(Mode::Host))),
        }
    }

    /// The ids of a user namespace of its own.
    pub fn ids(&self) -> Result<Ids> {
        let is_able = if super::run::is_able() { IsAble::Yes } else { IsAble::No };
        match (&self.uidmap[..], &self.gidmap[..], is_able) {
            ([], [], IsAble::Yes) => Ids::of_roots_ranges(),
            ([], [], IsAble::No) => Ok(Ids::of_caller()),
            (uids, gids, is_able) => Ids::asked_for(uids, gids, is_able),
        }
    }

    /// The host's are those that no layer makes: `--network host` is `--without net`.
    pub fn layers(&self, asked: Layers) -> Result<Layers> {
        let mut layers = asked;
        for kind in Namespace::ALL.into_iter().filter(|kind| *kind != User) {
            let (layer, mode) = (kind.layer(), self.mode(kind)?);
            match mode {
                Some(Mode::Host) if layer != Layer::Ipc => layers = layers.without(layer),
                Some(mode) if mode != Mode::Host && !asked.contains(layer) => {
                    bail!(
                        "{} {}: the {} layer is off",
                        flag(kind),
                        self.word(kind).unwrap_or(""),
                        layer.name()
                    )
                }
                _ => {}
            }
        }
        match (self.mode(Ipc)?, self.mode(Cgroup)?) {
            (Some(Mode::Host), Some(Mode::Host)) => Ok(layers.without(Layer::Ipc)),
            _ => Ok(layers),
        }
    }

    /// By how many seconds each clock is shifted.
    pub fn clocks(&self, layers: Layers) -> Result<BTreeMap<String, i64>> {
        if self.timens.is_empty() {
            return Ok(BTreeMap::new());
        }
        if !layers.contains(Layer::Ipc) {
            narrate::warn(format_args!("the ipc layer is off, so --timens does nothing here"));
            return Ok(BTreeMap::new());
        }
        if !Path::new("/proc/self/ns/time").exists() {
            bail!(
                "--timens: this kernel has no time namespaces (Linux 5.6 and later, built with CONFIG_TIME_NS)"
            );
        }
        self.timens.iter().map(|word| clock(word)).collect()
    }

    /// Whose each namespace is, and the containers to join, which are held from here on.
    pub fn find(&self, layers: Layers, store: Option<&Store>) -> Result<Found> {
        let mut found = Found::default();
        for kind in Namespace::ALL {
            let whose = match self.mode(kind)? {
                _ if !layers.contains(kind.layer()) => Whose::Host,
                None | Some(Mode::Private) => Whose::Own,
                Some(Mode::Host) => Whose::Host,
                Some(Mode::Container(name)) => {
                    let store = store.context("a container to join is looked for in the store")?;
                    let taken = self.take(&mut found, store, kind, &name);
                    Whose::Container(taken.with_context(|| format!("{} container:{name}", flag(kind)))?)
                }
            };
            // A user namespace may have come along with another.
            found.namespaces.0.entry(kind).or_insert(whose);
        }
        Ok(found)
    }

    fn take(&self, found: &mut Found, store: &Store, kind: Namespace, name: &str) -> Result<String> {
        let container = find::find(store, name)?;
        let (pid, pidfd) = container.pidfd()?;
        let theirs = |kind: Namespace| {
            let link = format!("/proc/{pid}/ns/{}", kind.name());
            read_link(&link).with_context(|| format!("readlink({link:?})"))
        };
        let is_new = |kind: Namespace| -> Result<bool> {
            Ok(theirs(kind)? != read_link(format!("/proc/self/ns/{}", kind.name()))?)
        };
        let mut flags = if is_new(kind)? { kind.flag() } else { CloneFlags::empty() };
        let config = container.record.config;
        if kind == User {
            found.ids = Some(config.ids.clone());
        }
        // Who is not root may join only as the root of the user namespace that owns the others.
        if (kind == User || !super::run::is_able()) && is_new(User)? {
            if kind != User && self.mode(User)?.is_some_and(|mode| mode == Mode::Private) {
                bail!("only root can join it from a user namespace of its own: leave --userns out");
            }
            let user = theirs(User)?;
            if found.user.as_ref().is_some_and(|other| *other != user) {
                bail!("it is in another user namespace than the one that is joined already");
            }
            if found.user.is_none() {
                flags |= User.flag();
            }
            found.user = Some(user);
            found.ids = Some(config.ids.clone());
            found.namespaces.0.insert(User, Whose::Container(config.id.clone()));
        }
        if kind == User && matches!(config.ids, Ids::Ranges { programs: None, .. }) {
            bail!("root would lose the power to clear up after its own: the same --uidmap makes one like it");
        }
        if kind == Pid && super::run::is_able() && self.wants_ids()? {
            bail!("a user namespace of its own has no power over that one: leave --userns out");
        }
        // The others an ordinary user hides from: its program is not of their user namespace.
        if kind == Pid && super::run::is_able() && is_new(Pid)? && processes::any_may_trace(pid.as_raw())? {
            bail!(
                "a process in there may trace others (CAP_SYS_PTRACE), and this one before it has given up root's powers\n        \
                 give sys_ptrace to the container that joins, not to the one that is joined"
            );
        }
        if kind == Uts {
            found.hostname = Some(config.hostname);
        }
        match found.donors.iter_mut().find(|donor| donor.id == config.id) {
            Some(donor) => donor.flags |= flags,
            None => found.donors.push(Donor { id: config.id.clone(), pidfd, flags }),
        }
        Ok(config.id)
    }
}

/// What ids of its own are no match for.
pub fn check(ids: &Ids, layers: Layers, mounts: &[Mount]) -> Result<()> {
    let is_roots = matches!(ids, Ids::Ranges { programs: None, .. });
    if is_roots && !layers.contains(Layer::Overlay) {
        bail!("ids of its own need the overlay layer: it shows the image's files with owners they know");
    }
    for mount in mounts {
        if mount.idmap && !is_roots {
            bail!(
                "{:?}: idmap is for containers that root gives ids of their own: --userns private or --uidmap, as root",
                mount.target
            );
        }
        if mount.chown && is_roots {
            bail!(
                "{:?}: U gives files to ids that the host has; with ids of its own, idmap shows them",
                mount.target
            );
        }
    }
    Ok(())
}

/// The other clocks cannot be shifted: what time it is, is the same for the whole machine.
fn clock(word: &str) -> Result<(String, i64)> {
    let (clock, offset) = word.split_once('=').unwrap_or((word, ""));
    if !["monotonic", "boottime"].contains(&clock) {
        bail!("--timens {word:?}: there are monotonic=SECONDS and boottime=SECONDS (time_namespaces(7))");
    }
    let (number, unit) = match offset.as_bytes() {
        [.., b's'] => (&offset[..offset.len() - 1], 1),
        [.., b'm'] => (&offset[..offset.len() - 1], 60),
        [.., b'h'] => (&offset[..offset.len() - 1], 3600),
        [.., b'd'] => (&offset[..offset.len() - 1], 86400),
        _ => (offset, 1),
    };
    match number.parse::<i64>().ok().and_then(|number| number.checked_mul(unit)) {
        Some(seconds) => Ok((clock.into(), seconds)),
        None => bail!("--timens {word:?}: {offset:?} is no number of seconds, such as 3600, -60 or 2d"),
    }
}

fn flag(kind: Namespace) -> &'static str {
    match kind {
        User => "--userns",
        Pid => "--pid",
        Net => "--network",
        Uts => "--uts",
        Ipc => "--ipc",
        Cgroup => "--cgroupns",
    }
}

fn own_word(kind: Namespace) -> &'static str {
    if kind == Net { "none" } else { "private" }
}

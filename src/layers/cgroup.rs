//! Control groups: how much, where namespaces are about what you see.
//!
//! Version 1 has one tree of groups per controller, version 2 one tree for all.
//! What differs is only *which file* takes *which number*, so the layers `cpu`
//! and `memory` are tables, and this file does what both have in common.

use super::{
    Layer, Layers,
    namespaces::{Namespace, Whose},
};
use crate::{
    config::{Config, Limits},
    narrate,
    place::{is, is_there},
    subgroups,
    sys::{self, Cradle},
};
use anyhow::{Context, Error, Result, bail};
use nix::{
    errno::Errno,
    mount::MsFlags,
    sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs},
    unistd::{AccessFlags, access},
};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    ffi::OsStr,
    fs::read_to_string,
    path::{Path, PathBuf},
    time::Duration,
};

const ROOT: &str = "/sys/fs/cgroup";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Version {
    V1,
    #[default]
    V2,
}

/// A value for a file of a controller.
#[derive(Debug, PartialEq)]
pub struct Setting {
    pub controller: &'static str,
    pub file: &'static str,
    pub value: String,
    /// Nobody asked for it: where the kernel has no such file, so be it.
    pub by_default: bool,
}

/// A directory in a cgroup tree, for one container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// The layer that makes it and takes it away.
    pub layer: Layer,
    pub controllers: Vec<Cow<'static, str>>,
    #[serde(with = "crate::config::word")]
    pub dir: PathBuf,
}

/// Where in the cgroup trees a container goes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Place {
    pub version: Version,
    pub groups: Vec<Group>,
    /// Version 1 has a tree of its own for what `rubber pause` does: made when it is first used.
    #[serde(default)]
    pub freezer: Option<PathBuf>,
}

impl Place {
    /// Looks for a place for container `id`; makes nothing yet. No groups where
    /// the tree is not ours to divide: an ordinary user's, most often.
    /// Where that cannot be found out, it is an error: nobody shall think that their limits hold.
    pub fn find(id: &str, layers: Layers, limits: &Limits) -> Result<Place> {
        let name = format!("rubber-{id}");
        if is_a(Path::new(ROOT), CGROUP2_SUPER_MAGIC)? {
            let layer =
                [Layer::Cpu, Layer::Memory, Layer::Devices].into_iter().find(|layer| layers.contains(*layer));
            let group = |(base, layer): (PathBuf, _)| Group {
                layer,
                controllers: ["cpu", "cpuset", "memory", "pids"].map(Cow::from).into(),
                dir: base.join(name),
            };
            let groups = delegated()?.zip(layer).map(group).into_iter().collect();
            return Ok(Place { version: Version::V2, groups, freezer: None });
        }
        let mut wanted: Vec<(_, &'static [&'static str])> =
            vec![(Layer::Cpu, &["cpu"]), (Layer::Memory, &["memory"]), (Layer::Memory, &["pids"])];
        wanted.push((Layer::Devices, &["devices"]));
        if limits.cpuset.is_some() {
            wanted.push((Layer::Cpu, &["cpuset"]));
        }
        let tree = |controllers: &[&str]| Path::new(ROOT).join(controllers[0]);
        let is_ours = |tree: &Path| Ok::<_, Error>(is_a(tree, CGROUP_SUPER_MAGIC)? && is_writable(tree)?);
        let mut groups = vec![];
        for (layer, names) in wanted {
            let tree = tree(names);
            if layers.contains(layer) && is_ours(&tree)? {
                let controllers = names.iter().map(|name| Cow::from(*name)).collect();
                groups.push(Group { layer, controllers, dir: tree.join(&name) });
            }
        }
        let freezer = tree(&["freezer"]);
        let freezer = (!groups.is_empty() && is_ours(&freezer)?).then(|| freezer.join(&name));
        Ok(Place { version: Version::V1, groups, freezer })
    }

    fn of(&self, controller: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.controllers.iter().any(|name| name == controller))
    }

    /// Whether processes can be limited here.
    pub fn counts_processes(&self) -> Result<bool> {
        let Some(group) = self.of("pids") else { return Ok(false) };
        if self.version == Version::V1 {
            return Ok(true);
        }
        let file = group.dir.parent().context("a cgroup has a parent")?.join("cgroup.controllers");
        let names = read_to_string(&file).with_context(|| format!("read({file:?})"))?;
        Ok(names.split_whitespace().any(|name| name == "pids"))
    }

    /// The group that takes this controller's settings.
    pub fn with(&self, controller: &str) -> Result<&Group> {
        match self.of(controller) {
            Some(group) => Ok(group),
            None => bail!(lacking(self.version, controller)),
        }
    }

    pub fn made_by(&self, layer: Layer) -> impl DoubleEndedIterator<Item = &Group> {
        self.groups.iter().filter(move |group| group.layer == layer)
    }

    /// The list of a group's members. In version 1 `tasks` moves one thread, and
    /// we are no more than that; `cgroup.procs` would stop every fork on the
    /// machine while it looks for our other threads.
    pub fn members(&self, group: &Group) -> PathBuf {
        group.dir.join(match self.version {
            Version::V1 => "tasks",
            Version::V2 => "cgroup.procs",
        })
    }

    /// A file of the container's, such as the one that counts its kills.
    pub fn file(&self, controller: &str, name: &str) -> Option<PathBuf> {
        Some(self.of(controller)?.dir.join(name))
    }
}

/// Where controllers are: in trees of their own also where an idle version 2
/// tree is mounted beside them.
pub fn version() -> Version {
    if is_a(Path::new(ROOT), CGROUP2_SUPER_MAGIC).unwrap_or(false) { Version::V2 } else { Version::V1 }
}

/// The part of the version 2 tree that is ours to divide: all of it for root.
/// For an ordinary user the highest group above their own that they may write
/// to (cgroups(7), "Cgroup delegation").
pub fn delegated() -> Result<Option<PathBuf>> {
    if is_writable(Path::new(ROOT))? {
        return Ok(Some(ROOT.into()));
    }
    let own = read_to_string("/proc/self/cgroup").context("read(\"/proc/self/cgroup\")")?;
    let Some(own) = own.lines().find_map(|line| line.strip_prefix("0::/")) else { return Ok(None) };
    let mut highest = None;
    for dir in Path::new(ROOT).join(own).ancestors().take_while(|dir| *dir != Path::new(ROOT)) {
        if !is_writable(dir)? || !is_writable(&dir.join("cgroup.procs"))? {
            break;
        }
        highest = Some(dir.to_owned());
    }
    Ok(highest)
}

/// The group of version 2, for the first process to be born in: it is there already.
pub fn cradle(config: &Config) -> Option<Cradle<'_>> {
    // Who builds the layers themselves is to see their own `join` at work.
    let group = config.cgroup.groups.first().filter(|_| cfg!(feature = "whole"))?;
    let is_one_for_all = config.cgroup.version == Version::V2;
    is_one_for_all.then_some(Cradle { group: &group.dir, is_used: &config.is_born_in_group })
}

/// Joins its groups, where it is not there from the beginning.
pub fn unless_born(config: &Config, join: fn(&Config) -> Result<()>) -> Result<()> {
    if !config.is_born_in_group.get() {
        return join(config);
    }
    narrate::note(format_args!("it was born there: CLONE_INTO_CGROUP"));
    Ok(())
}

/// The groups that `layer` makes; where there are none, that is told.
pub fn groups(config: &Config, layer: Layer) -> impl Iterator<Item = &Group> {
    let place = &config.cgroup;
    if place.groups.is_empty() {
        narrate::note(format_args!("no cgroup: the tree is not ours to divide (rubber doctor says why)"));
    } else if place.made_by(layer).next().is_none() {
        narrate::note(format_args!("version 2 has one group for all controllers: this is the one above"));
    }
    place.made_by(layer)
}

/// Whether a container sees in /sys/fs/cgroup what limits it: where it has groups, and a namespace that hides others.
pub fn is_shown(config: &Config) -> bool {
    let is_hidden =
        config.layers.contains(Layer::Ipc) && *config.namespaces.of(Namespace::Cgroup) != Whose::Host;
    is_hidden && !config.cgroup.groups.is_empty()
}

/// /sys/fs/cgroup as seen from the cgroup namespace: its own groups, to be read and not written, so that no limit
/// can be taken off from inside. Of version 1 no tree in which it has no group: there it would see the host's.
pub fn show(config: &Config) -> Result<()> {
    let root = Path::new(ROOT);
    if !narrate::is_dry() && !is_there(root)? {
        narrate::note(format_args!("this kernel has no cgroups to show"));
        return Ok(());
    }
    let read_only = if config.privileged { MsFlags::empty() } else { MsFlags::MS_RDONLY };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | read_only;
    let cover = |flags| {
        let memory = Some(OsStr::new("mode=0755,size=1m"));
        sys::mount(Some(Path::new("tmpfs")), root, Some("tmpfs"), flags, memory)
    };
    if config.cgroup.version == Version::V2 {
        let mount = || sys::mount(Some(Path::new("cgroup")), root, Some("cgroup2"), flags, None);
        return match mount() {
            // In a /sys that an ordinary user was lent the host's tree is there already, and twice in one place
            // the kernel mounts nothing.
            Err(error) if is(&error, Errno::EBUSY) => cover(flags).and_then(|()| mount()),
            done => done,
        };
    }
    let own = read_to_string("/proc/self/cgroup").context("read(\"/proc/self/cgroup\")")?;
    cover(flags - MsFlags::MS_RDONLY)?;
    // A tree may have several controllers: `4:cpu,cpuacct:/…`.
    for name in own.lines().filter_map(|line| line.split(':').nth(1)) {
        if !name.split(',').any(|controller| config.cgroup.of(controller).is_some()) {
            continue;
        }
        let tree = root.join(name);
        sys::mkdir(&tree, 0o755)?;
        match sys::mount(Some(Path::new("cgroup")), &tree, Some("cgroup"), flags, Some(OsStr::new(name))) {
            // The kernel shows nobody a tree that its cgroup namespace was not made in.
            Err(error) if is(&error, Errno::EPERM) => {
                narrate::note(format_args!("the kernel does not show us the {name} tree from here"));
                continue;
            }
            done => done?,
        }
        for one in name.split(',').filter(|one| *one != name) {
            sys::symlink(name, &format!("{ROOT}/{one}"))?;
        }
    }
    sys::mount(None, root, None, flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND, None)
}

/// In version 2 a group has a controller's files only where its parent hands
/// the controller down.
pub fn hand_down(group: &Group, controller: &str) -> Result<()> {
    let parent = group.dir.parent().context("a cgroup has a parent")?;
    let has = |file: &str| {
        let names = read_to_string(parent.join(file)).unwrap_or_default();
        names.split_whitespace().any(|name| name == controller)
    };
    if has("cgroup.subtree_control") {
        return Ok(());
    }
    if !has("cgroup.controllers") {
        bail!(lacking(Version::V2, controller));
    }
    sys::write(&parent.join("cgroup.subtree_control"), &format!("+{controller}"))
}

fn lacking(version: Version, controller: &str) -> String {
    let next = match (version, nix::unistd::geteuid().is_root()) {
        (_, true) => format!("see rubber doctor; the kernel may want cgroup_enable={controller} at boot"),
        (Version::V2, false) => {
            "have it delegated to you: systemd-run --user --scope -p Delegate=yes rubber run ...".into()
        }
        (Version::V1, false) => "only root has it in cgroup version 1: sudo, or boot with version 2".into(),
    };
    format!("this limit needs the {controller} controller, which we do not have\n        {next}")
}

/// Removes what `rubber pause` has made, if it ever came to that. What is frozen does not end: so this comes first.
pub fn remove_freezer(place: &Place) -> Result<()> {
    match place.freezer.as_ref().filter(|freezer| freezer.exists()) {
        Some(freezer) => remove_group(freezer),
        None => Ok(()),
    }
}

/// Removes them all, from the last to the first: one that cannot be removed does not keep the others.
pub fn remove_groups<'a>(groups: impl DoubleEndedIterator<Item = &'a Path>) -> Result<()> {
    groups.rev().map(remove_group).fold(Ok(()), Result::and)
}

/// So many groups below one of ours are removed, and so many milliseconds may pass without one that goes.
const MOST: usize = 100_000;
const PATIENCE: usize = 1000;

/// Removes a group, those that the container has made below it, and the processes that are still in them: without a pid
/// namespace a command may have left some behind. No error where there is no group.
pub fn remove_group(dir: &Path) -> Result<()> {
    let is_gone = || match sys::rmdir(dir) {
        Err(error) if is(&error, Errno::EBUSY) => Ok(false),
        Err(error) if is(&error, Errno::ENOENT) => Ok(true),
        done => done.map(|()| true),
    };
    if is_gone()? {
        return Ok(());
    }
    let group = sys::open_directory(dir)?;
    let (mut removed, mut waited) = (0, 0);
    while removed < MOST && waited < PATIENCE {
        subgroups::end_members(&group)?;
        match subgroups::remove(&group)? {
            0 => waited += 1,
            some => (removed, waited) = (removed + some, 0),
        }
        if is_gone()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    bail!("{} still has processes a second after they were killed", dir.display())
}

fn is_a(path: &Path, kind: FsType) -> Result<bool> {
    let found = statfs(path).map(|found| found.filesystem_type() == kind);
    unless_refused(found).with_context(|| format!("statfs({path:?})"))
}

fn is_writable(path: &Path) -> Result<bool> {
    unless_refused(access(path, AccessFlags::W_OK).map(|()| true))
        .with_context(|| format!("access({path:?}, W_OK)"))
}

/// What is not there, or not ours, is a "no"; anything else is an answer we did not get.
fn unless_refused(found: nix::Result<bool>) -> nix::Result<bool> {
    use Errno::*;
    match found {
        Err(ENOENT | ENOTDIR | ELOOP | EACCES | EPERM | EROFS) => Ok(false),
        found => found,
    }
}

//! The cgroup a config.json names, in every tree there is: a client looks for what it wants to know in any of them.

use super::{
    mounts::{Mount, What},
    namespaces,
    resources::Setting,
};
use crate::{
    config::{Config, DeviceRule},
    filter::ebpf::{self, Answer},
    layers::cgroup::{Version, remove_groups, version},
    sys::{self, Cradle, mounts::RDONLY},
};
use anyhow::{Context, Result, bail, ensure};
use nix::{errno::Errno, sched::CloneFlags, unistd::Pid};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, read_to_string},
    io::ErrorKind,
    os::fd::AsFd,
    path::{Component, Path, PathBuf},
};

/// A directory in one of the trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Of version 1. None: the tree of version 2, whose groups have all controllers.
    pub controllers: Option<Vec<String>>,
    /// Where the tree is mounted.
    pub tree: PathBuf,
    pub dir: PathBuf,
}

impl Group {
    pub fn has(&self, controller: &str) -> bool {
        match &self.controllers {
            Some(controllers) => controllers.iter().any(|name| name == controller),
            None => version() == Version::V2,
        }
    }

    fn members(&self) -> PathBuf {
        // In version 1 one thread is moved, which we are: see `layers::cgroup`.
        self.dir.join(if self.controllers.is_some() { "tasks" } else { "cgroup.procs" })
    }
}

/// Absolute is below each tree's root, relative is below our own group: in version 2 beside it, as a group with processes
/// of its own cannot hand down all controllers, and what is below it then would take nobody in.
pub fn find(path: &Path) -> Result<Vec<Group>> {
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir));
    ensure!(is_plain, "cgroupsPath {path:?} has a \".\" or a \"..\" in it");
    // What has no name that the kernel takes can be neither made nor removed.
    let longest = path.components().map(|part| part.as_os_str().len()).max().unwrap_or(0);
    ensure!(longest <= 255, "cgroupsPath has a name of {longest} bytes in it: the longest has 255");
    let length = path.as_os_str().len();
    ensure!(length <= 3000, "cgroupsPath has {length} bytes: give it at most 3000");
    let own = read_to_string("/proc/self/cgroup").context("cannot read /proc/self/cgroup")?;
    let mounts = read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    let trees: Vec<_> = mounts.lines().filter_map(mounted).collect();
    let groups = own.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (names, own) = (fields.next()?, fields.next()?);
        let names: Vec<_> = names.split(',').filter(|name| !name.is_empty()).collect();
        let Tree { root, place, .. } = trees.iter().find(|tree| tree.is_of(&names))?;
        let tree = PathBuf::from(place);
        let dir = match path.strip_prefix("/") {
            Ok(below) => tree.join(below),
            // Of a tree that is mounted from a group of its own on, this is what we see.
            Err(_) => {
                let own = Path::new(own).strip_prefix(root).ok()?;
                let above = if version() == Version::V2 { own.parent().unwrap_or(own) } else { own };
                tree.join(above).join(path)
            }
        };
        let controllers = names.iter().map(|name| name.trim_start_matches("name=").to_owned());
        let controllers = (!names.is_empty()).then(|| controllers.collect());
        Some(Group { controllers, tree, dir })
    });
    Ok(groups.collect())
}

/// A tree of cgroups, or a part of one, that is mounted.
struct Tree<'a> {
    /// From which group on.
    root: &'a str,
    place: &'a str,
    /// Of version 1, with its controllers among them.
    options: Option<&'a str>,
}

impl Tree<'_> {
    /// Without a name it is version 2's.
    fn is_of(&self, names: &[&str]) -> bool {
        let Some(options) = self.options else { return names.is_empty() };
        !names.is_empty() && names.iter().all(|name| options.split(',').any(|option| option == *name))
    }
}

/// A line of proc_pid_mountinfo(5), if it is one.
fn mounted(line: &str) -> Option<Tree<'_>> {
    let (before, after) = line.split_once(" - cgroup")?;
    let mut before = before.split(' ').skip(3);
    let (root, place) = (before.next()?, before.next()?);
    let (version, after) = after.split_once(' ')?;
    let options = match version {
        "" => Some(after.rsplit_once(' ')?.1),
        "2" => None,
        _ => return None,
    };
    Some(Tree { root, place, options })
}

/// Makes them, and returns those that there are: without privileges not all trees are ours to divide.
pub fn make(groups: Vec<Group>, settings: &[Setting]) -> Result<Vec<Group>> {
    let mut made = Vec::new();
    for group in groups {
        match one(&group, settings) {
            Err(error) if is_refused(&error) && !settings.iter().any(|it| group.has(&it.controller)) => {}
            done => {
                done?;
                made.push(group);
            }
        }
    }
    for same_file in settings.chunk_by(|one, next| one.file == next.file) {
        let setting = &same_file[0];
        let group = made.iter().find(|group| group.has(&setting.controller));
        let Some(group) = group else {
            bail!(
                "this limit ({}) needs the {} controller, which is not there",
                setting.file,
                setting.controller
            )
        };
        write(group, same_file)?;
    }
    Ok(made)
}

/// Whoever is in one of them, or below, would be counted with the container and killed with it.
pub fn ensure_free(groups: &[Group]) -> Result<()> {
    groups.iter().try_for_each(|group| ensure_nobody(&group.dir))
}

fn ensure_nobody(dir: &Path) -> Result<()> {
    if !dir.is_dir() {
        return Ok(());
    }
    let is_free = members(dir)?.is_empty();
    ensure!(is_free, "the cgroup {} has processes already (name another cgroupsPath)", dir.display());
    below(dir)?.iter().try_for_each(|dir| ensure_nobody(dir))
}

fn is_refused(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Errno::EACCES | Errno::EPERM | Errno::EROFS))
}

/// From the top down. A new cpuset of version 1 is empty, and nobody could be in it; in version 2 a controller is
/// there only where the group above hands it down.
fn one(group: &Group, settings: &[Setting]) -> Result<()> {
    let below = group.dir.strip_prefix(&group.tree)?;
    let mut dir = group.tree.clone();
    for name in below.components() {
        if group.controllers.is_none() && version() == Version::V2 {
            hand_down(&dir, settings)?;
        }
        dir.push(name);
        match sys::mkdir(&dir, 0o755) {
            Err(error) if error.downcast_ref() == Some(&Errno::EEXIST) => {}
            done => done?,
        }
        if group.controllers.is_some() && group.has("cpuset") {
            inherit(&dir)?;
        }
    }
    Ok(())
}

fn hand_down(dir: &Path, settings: &[Setting]) -> Result<()> {
    let names = |file: &str| read_to_string(dir.join(file)).unwrap_or_default();
    let (there, down) = (names("cgroup.controllers"), names("cgroup.subtree_control"));
    let has = |text: &str, name: &str| text.split_whitespace().any(|word| word == name);
    let basic = ["cpu", "memory", "pids", "io", "cpuset"].map(String::from);
    for name in settings.iter().map(|setting| &setting.controller).chain(&basic) {
        if has(&there, name) && !has(&down, name) {
            let outcome = sys::write(&dir.join("cgroup.subtree_control"), &format!("+{name}"));
            let outcome = outcome.with_context(|| {
                format!("{} does not hand down the {name} controller, and it is asked for", dir.display())
            });
            if !basic.contains(name) || settings.iter().any(|setting| setting.controller == *name) {
                outcome?;
            }
        }
    }
    Ok(())
}

fn inherit(dir: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if read_to_string(dir.join(file)).is_ok_and(|own| own.trim().is_empty()) {
            let above = dir.parent().map(|above| read_to_string(above.join(file))).transpose()?;
            sys::write(&dir.join(file), above.unwrap_or_default().trim())?;
        }
    }
    Ok(())
}

/// Writes the limits of a container that is there.
pub fn change(groups: &[Group], settings: &[Setting]) -> Result<()> {
    for same_file in settings.chunk_by(|one, next| one.file == next.file) {
        let controller = &same_file[0].controller;
        let group = groups.iter().find(|group| group.has(controller));
        write(group.with_context(|| format!("there is no {controller} cgroup"))?, same_file)?;
    }
    Ok(())
}

/// The sum of memory and swap cannot be below the memory, so one of the two files has to be written first: which,
/// depends on what there was. Where the kernel does not count swap, or pages that are reserved, there is no such limit
/// to keep.
fn write(group: &Group, same_file: &[Setting]) -> Result<()> {
    const SUM: &str = "memory.memsw.limit_in_bytes";
    let name = same_file[0].file.as_str();
    let file = group.dir.join(name);
    let is_optional = [SUM, "memory.swap.max"].contains(&name) || name.contains(".rsvd.");
    if is_optional && !file.exists() {
        return Ok(());
    }
    let write = || sys::write_each(&file, same_file.iter().map(|setting| &setting.value));
    match write() {
        Err(error)
            if name == "memory.limit_in_bytes"
                && error.downcast_ref() == Some(&Errno::EINVAL)
                && group.dir.join(SUM).exists() =>
        {
            sys::write(&group.dir.join(SUM), "-1")?;
            write()
        }
        done => done,
    }
}

/// In version 2 by a program, which ends with the group. Whoever is not the machine's root can make no node, and is
/// refused the program, too.
pub fn filter_devices(groups: &[Group], rules: &[(Answer, DeviceRule)]) -> Result<()> {
    let Some(group) = groups.iter().find(|group| group.controllers.is_none()) else { return Ok(()) };
    if rules.is_empty() {
        return Ok(());
    }
    let program = ebpf::answering(rules.iter().map(|(answer, rule)| (*answer, rule)));
    match sys::bpf_load_device_program(&program) {
        Err(error) if is_refused(&error) => Ok(()),
        program => sys::bpf_attach(&sys::open_directory(&group.dir)?, &program?),
    }
}

/// config-linux.md, "Cgroup ownership": in version 2, whoever is the container's user and can write in its own tree may
/// divide its group, too. They get what the kernel says can be given away, which is not the limits.
pub fn give_to_user(config: &Config, groups: &[Group]) -> Result<()> {
    const DELEGATE: &str = "/sys/kernel/cgroup/delegate";
    let group = groups.iter().find(|group| group.controllers.is_none() && version() == Version::V2);
    let is_writable = |group: &&Group| {
        let is_it = |mount: &Mount| matches!(&mount.what, What::Tree(dir) if *dir == group.dir);
        let mount = config.bundle.mounts.iter().find(|mount| is_it(mount));
        mount.is_some_and(|mount| mount.how.set & RDONLY == 0)
    };
    let group = group.filter(|_| namespaces::is_new(config, CloneFlags::CLONE_NEWCGROUP)).filter(is_writable);
    let (Some(group), Some(owner)) = (group, namespaces::outside(config, config.bundle.user.uid)) else {
        return Ok(());
    };
    let files =
        read_to_string(DELEGATE).unwrap_or("cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".into());
    for name in std::iter::once("").chain(files.lines()) {
        match File::open(group.dir.join(name)) {
            // It is of a controller that is not handed down.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            file => sys::fchown(file?.as_fd(), owner)?,
        }
    }
    Ok(())
}

pub fn any(config: &Config) -> bool {
    !config.bundle.groups.is_empty()
}

/// 0 is the one who writes. Whoever is forked from here on is in it, too.
pub fn join(config: &Config) -> Result<()> {
    let is_born_in = |group: &Group| config.is_born_in_group.get() && group.controllers.is_none();
    let mut others = config.bundle.groups.iter().filter(|group| !is_born_in(group));
    others.try_for_each(|group| match (sys::write(&group.members(), "0"), &config.target) {
        // In version 2 a group that hands down controllers has no processes: systemd in a container divides it so.
        (Err(error), Some(target)) if error.downcast_ref() == Some(&Errno::EBUSY) => {
            sys::write(&group_of(target.pid, group)?.join("cgroup.procs"), "0")
        }
        (done, _) => done,
    })
}

/// Where in a tree of version 2 this process is now.
fn group_of(pid: Pid, group: &Group) -> Result<PathBuf> {
    let groups = read_to_string(format!("/proc/{pid}/cgroup")).context("the container has just ended")?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/")).context("it is in no such group")?;
    Ok(group.tree.join(path))
}

/// The group of version 2 that the first process can be born in, which is the quickest way into it.
pub fn cradle(config: &Config) -> Option<Cradle<'_>> {
    // One of systemd's is made when there is a process to be in it.
    let is_there = |group: &&Group| group.controllers.is_none() && !config.bundle.by_systemd;
    let group = config.bundle.groups.iter().find(is_there)?;
    Some(Cradle { group: &group.dir, is_used: &config.is_born_in_group })
}

/// All processes of the container, in whatever tree there is: also in groups that it made below its own.
pub fn processes(groups: &[Group]) -> Result<Vec<i32>> {
    let Some(group) = groups.iter().find(|group| group.dir.is_dir()) else { return Ok(vec![]) };
    let (mut all, mut dirs) = (members(&group.dir)?, below(&group.dir)?);
    while let Some(dir) = dirs.pop() {
        // It may be gone, or have threads alone, which are counted above it (cgroup v2, "Threads").
        all.extend(members(&dir).unwrap_or_default());
        dirs.extend(below(&dir)?);
    }
    Ok(all)
}

fn members(dir: &Path) -> Result<Vec<i32>> {
    let file = dir.join("cgroup.procs");
    let text = read_to_string(&file).with_context(|| format!("cannot read {file:?}"))?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// With groups that the container made below.
pub fn remove(groups: &[Group]) -> Result<()> {
    remove_groups(groups.iter().map(|group| &*group.dir))
}

fn below(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
        entries => entries.with_context(|| format!("cannot read {dir:?}"))?,
    };
    let mut dirs = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            dirs.push(entry.path());
        }
    }
    Ok(dirs)
}

//! The processes of a container, as /proc of the host tells them.

use super::{find::Container, inside};
use crate::{
    image::below::Below,
    layers::{Layer, namespaces::Namespace},
};
use anyhow::{Context, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{read, read_dir, read_link, read_to_string},
    path::Path,
};

/// How often the kernel counts the time a process runs, in a second: always 100 for programs (time(7)).
const TICKS: f64 = 100.0;

pub struct Process {
    /// As the host numbers it.
    pub pid: i32,
    /// As the container does; none for one of a namespace that is further in.
    pub inside: Option<i32>,
    pub parent: i32,
    /// The container's user id, and its name for it.
    pub uid: u32,
    pub user: Option<String>,
    /// One letter: see proc_pid_stat(5).
    pub state: char,
    /// Seconds of CPU time, its own and of its children that have ended.
    pub time: f64,
    pub command: String,
    ids: Vec<i32>,
    host_uid: u32,
}

impl Process {
    pub fn is_zombie(&self) -> bool {
        self.state == 'Z'
    }
}

/// Those in its cgroups, in its pid namespace, and all they have started: a zombie is in no group any more.
pub fn of(container: &Container) -> Result<Vec<Process>> {
    let (first, _held) = container.pidfd()?;
    let first = first.as_raw();
    let mut all: BTreeMap<i32, Process> = read_dir("/proc")
        .context("cannot read /proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, look(pid)?)))
        .collect();
    let mut ours = in_groups(container);
    ours.insert(first);
    let config = &container.record.config;
    if config.layers.contains(Layer::Pid) && config.namespaces.is_own(Namespace::Pid) {
        let namespace = |pid: i32| read_link(format!("/proc/{pid}/ns/pid")).ok();
        let theirs = namespace(first);
        ours.extend(all.keys().filter(|pid| theirs.is_some() && namespace(**pid) == theirs));
    }
    let belongs = |pid: &i32| {
        let mut at = *pid;
        // As deep as there are processes: a tree that changes meanwhile may look like a circle.
        (0..all.len()).any(|_| {
            let found = ours.contains(&at);
            at = all.get(&at).map_or(0, |process| process.parent);
            found
        })
    };
    let pids: Vec<i32> = all.keys().filter(|pid| belongs(pid)).copied().collect();
    let depth = all.get(&first).map_or(1, |process| process.ids.len());
    let map = read_to_string(format!("/proc/{first}/uid_map")).unwrap_or_default();
    let names = names(container);
    let mut found: Vec<_> = pids.iter().filter_map(|pid| all.remove(pid)).collect();
    for process in &mut found {
        process.inside = process.ids.get(depth - 1).copied();
        process.uid = seen_inside(&map, process.host_uid);
        process.user = names.get(&process.uid).cloned();
    }
    found.sort_by_key(|process| (process.inside.is_none(), process.inside, process.pid));
    Ok(found)
}

fn in_groups(container: &Container) -> BTreeSet<i32> {
    let groups = container.record.config.cgroup.groups.iter();
    let text = groups.map(|group| read_to_string(group.dir.join("cgroup.procs")).unwrap_or_default());
    text.flat_map(|text| text.lines().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// None for one that has just ended.
fn look(pid: i32) -> Option<Process> {
    let status = read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    let stat = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Its name is in brackets and may have anything in it; the fields behind are counted from 3.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    let words = read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ");
    Some(Process {
        pid,
        inside: None,
        parent: field("PPid:").parse().ok()?,
        uid: 0,
        user: None,
        state: fields.first()?.chars().next()?,
        time: (14..=17).map(ticks).sum::<f64>() / TICKS,
        command: if words.is_empty() { format!("[{}]", field("Name:")) } else { words },
        ids: field("NSpid:").split_whitespace().filter_map(|id| id.parse().ok()).collect(),
        // The effective one.
        host_uid: field("Uid:").split_whitespace().nth(1)?.parse().ok()?,
    })
}

/// Whether a process in the pid namespace of `pid` may trace all others there (CAP_SYS_PTRACE), and may not do all that we
/// may anyway. In a user namespace of its own it has no power over what root runs.
pub fn any_may_trace(pid: i32) -> Result<bool> {
    const SYS_PTRACE: u64 = 1 << 19;
    let link = |pid: &str, kind: &str| read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    let (pids, users) = (link(&pid.to_string(), "pid"), link("self", "user"));
    let own = bounding("self").unwrap_or(u64::MAX);
    let all = read_dir("/proc").context("cannot read /proc")?.flatten();
    Ok(all.filter_map(|entry| entry.file_name().into_string().ok()).any(|pid| {
        let may = |set: u64| set & SYS_PTRACE != 0 && own & !set != 0;
        link(&pid, "pid") == pids && link(&pid, "user") == users && bounding(&pid).is_some_and(may)
    }))
}

/// What it can ever gain, as a set of bits: capabilities(7).
fn bounding(pid: &str) -> Option<u64> {
    let status = read_to_string(format!("/proc/{pid}/status")).ok()?;
    let set = status.lines().find_map(|line| line.strip_prefix("CapBnd:"))?;
    u64::from_str_radix(set.trim(), 16).ok()
}

/// The id a user namespace has for a user of ours, in the words of its uid_map (user_namespaces(7)).
fn seen_inside(map: &str, uid: u32) -> u32 {
    let lines = map.lines().map(|line| line.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
    let found = lines.map(Iterator::collect::<Vec<_>>).find_map(|line| match line[..] {
        [inside, outside, count] if (outside..).contains(&uid) && uid - outside < count => {
            Some(inside + (uid - outside))
        }
        _ => None,
    });
    found.unwrap_or(65534)
}

/// What the image calls its users. Nobody vouches for the file: at most a megabyte of it is looked at.
fn names(container: &Container) -> BTreeMap<u32, String> {
    let read = |root: &Below| root.read(Path::new("etc/passwd"), 1 << 20);
    let text = inside::root_of_running(container).and_then(|root| read(&root)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut names = BTreeMap::new();
    for line in lines {
        if let (Some(name), Some(Ok(uid))) = (line.first(), line.get(2).map(|uid| uid.parse())) {
            names.entry(uid).or_insert_with(|| (*name).to_owned());
        }
    }
    names
}

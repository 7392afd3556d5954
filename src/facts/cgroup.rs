//! Which cgroups a process is in, and what they limit.
//!
//! A limit counts for everything below it, so of those on the way up to the top of what is
//! mounted here the tightest is told.

use super::{
    Facts,
    mounts::{self, Mount},
    proc::Proc,
};
use serde::{Deserialize, Deserializer, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cgroup {
    /// `v1`, `v2` or `hybrid`: controllers in v1 with a v2 tree beside them.
    pub version: String,
    /// Path by v1 controller (`memory`), v1 name (`systemd`) or `unified`, which is v2.
    pub paths: BTreeMap<String, String>,
}

/// In each: absent when the cgroup cannot be seen from here, `null` when there is no limit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub memory: Option<Option<u64>>,
    /// Bytes of memory and swap together, as docker counts, whatever the cgroup version.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<Option<u64>>,
    /// CPUs' worth of time: quota divided by period.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Option<f64>>,
    /// Microseconds of CPU time in each `cpu_period`.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<Option<u64>>,
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<Option<u64>>,
    /// v1 only, 2 to 262144.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cpu_shares: Option<Option<u64>>,
    /// v2 only, 1 to 10000.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<Option<u64>>,
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub pids: Option<Option<u64>>,
    /// A list such as `0-3,8`.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub cpuset: Option<Option<String>>,
}

/// A field that is there, also when it is null.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

pub fn read(proc: &Proc, facts: &mut Facts) {
    let cgroup = proc.text("cgroup").map(|lines| parse(&lines));
    facts.cgroup = facts.note("cgroup", cgroup);
    let Some(cgroup) = &facts.cgroup else { return };
    // For another process the mounts to look through are still ours.
    let ours = match proc.is_own() {
        true => facts.mounts.clone(),
        false => {
            Proc::own().ok().and_then(|own| own.text("mountinfo").ok()).map(|table| mounts::parse(&table))
        }
    };
    facts.limits = limits(cgroup, &ours.unwrap_or_default());
}

/// A number in the cpu.stat of the cgroup that process `pid` is in, such as `nr_throttled`.
pub fn cpu_stat(pid: i32, name: &str) -> Option<u64> {
    let cgroup = parse(&Proc::of(pid).ok()?.text("cgroup").ok()?);
    let ours = mounts::parse(&Proc::own().ok()?.text("mountinfo").ok()?);
    let stat = Chain::of("cpu", &cgroup, &ours).own("cpu.stat")?;
    stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// Lines of cgroups(7): `4:memory:/a` and `1:name=systemd:/b` for v1, `0::/c` for v2.
fn parse(lines: &str) -> Cgroup {
    let mut paths = BTreeMap::new();
    for line in lines.lines() {
        let [_, controllers, path] = line.splitn(3, ':').collect::<Vec<_>>()[..] else { continue };
        for controller in controllers.split(',') {
            let name = controller.strip_prefix("name=").unwrap_or(controller);
            let name = if name.is_empty() { "unified" } else { name };
            paths.insert(name.to_owned(), path.to_owned());
        }
    }
    let version = match (paths.contains_key("unified"), paths.len()) {
        (true, 1) => "v2",
        (true, _) => "hybrid",
        (false, _) => "v1",
    };
    Cgroup { version: version.to_owned(), paths }
}

/// What each limit is called in either version; the rest of this file hardly knows one.
fn limits(cgroup: &Cgroup, mounts: &[Mount]) -> Limits {
    let [memory, cpu, pids, cpuset] =
        ["memory", "cpu", "pids", "cpuset"].map(|controller| Chain::of(controller, cgroup, mounts));

    let memory_max = memory.tightest(|dir| number(dir, "memory.limit_in_bytes", "memory.max"));
    let quota = cpu.tightest(quota);
    Limits {
        memory: memory_max,
        memory_swap: match memory.unified {
            // Without swap accounting there is no such file, and nothing is known of the sum.
            false => memory
                .own("memory.memsw.limit_in_bytes")
                .and_then(|_| memory.tightest(|dir| number(dir, "memory.memsw.limit_in_bytes", ""))),
            // v2 limits swap alone: the sum has a limit only if both have.
            true => memory
                .tightest(|dir| number(dir, "", "memory.swap.max"))
                .map(|swap| Some(swap?.saturating_add(memory_max.flatten()?))),
        },
        cpus: quota.map(|quota| Some(quota?.0)),
        cpu_quota: quota.map(|quota| Some(quota?.1)),
        cpu_period: quota.map(|quota| Some(quota?.2)),
        cpu_shares: cpu.own("cpu.shares").map(|text| text.parse().ok()),
        cpu_weight: cpu.own("cpu.weight").map(|text| text.parse().ok()),
        pids: pids.tightest(|dir| number(dir, "pids.max", "pids.max")),
        cpuset: ["cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"]
            .iter()
            .find_map(|file| cpuset.own(file).filter(|list| !list.is_empty()))
            .map(Some),
    }
}

/// One controller's directories, from the process's own up to the top of the mount.
struct Chain {
    dirs: Vec<PathBuf>,
    unified: bool,
}

impl Chain {
    /// Without directories when the cgroup cannot be seen through any of `mounts`.
    fn of(controller: &str, cgroup: &Cgroup, mounts: &[Mount]) -> Chain {
        let unified = !cgroup.paths.contains_key(controller);
        let seen = cgroup.paths.get(if unified { "unified" } else { controller }).and_then(|path| {
            let mount = mounts.iter().rev().find(|mount| match unified {
                true => mount.fstype == "cgroup2",
                false => mount.fstype == "cgroup" && mount.super_options.split(',').any(|o| o == controller),
            })?;
            let below = Path::new(path).strip_prefix(&mount.root).ok()?;
            let top = Path::new(&mount.target);
            // "/.." leads to a cgroup above the namespace we look from.
            let hidden =
                path.split('/').any(|name| name == "..") || !top.join(below).join("cgroup.procs").exists();
            if hidden || (unified && !has_controller(top, controller)) {
                return None;
            }
            let depth = below.components().count();
            Some(top.join(below).ancestors().take(depth + 1).map(Path::to_owned).collect())
        });
        Chain { dirs: seen.unwrap_or_default(), unified }
    }

    /// `read` says nothing for a directory without the file. That none has it is no limit, too:
    /// there is none to write at the top, or where v2 did not pass the controller down.
    fn tightest<T: PartialOrd>(&self, read: impl Fn(&Path) -> Option<Option<T>>) -> Option<Option<T>> {
        let found = self.dirs.iter().filter_map(|dir| read(dir)).flatten();
        let least = found.reduce(|least, next| if next < least { next } else { least });
        (!self.dirs.is_empty()).then_some(least)
    }

    fn own(&self, file: &str) -> Option<String> {
        content(self.dirs.first()?, file)
    }
}

fn has_controller(top: &Path, controller: &str) -> bool {
    content(top, "cgroup.controllers").is_some_and(|list| list.split(' ').any(|name| name == controller))
}

fn content(dir: &Path, file: &str) -> Option<String> {
    Some(fs::read_to_string(dir.join(file)).ok()?.trim().to_owned())
}

/// v1 writes "no limit" as the largest number of whole pages, or as -1; v2 writes `max`.
fn number(dir: &Path, v1: &str, v2: &str) -> Option<Option<u64>> {
    const LARGEST_OF_64K_PAGES: u64 = 0x7FFF_FFFF_FFFF_0000;
    let names = [v1, v2].into_iter().filter(|name| !name.is_empty());
    let text = names.filter_map(|name| content(dir, name)).next()?;
    Some(text.parse().ok().filter(|limit| *limit < LARGEST_OF_64K_PAGES))
}

/// CPUs, quota and period.
fn quota(dir: &Path) -> Option<Option<(f64, u64, u64)>> {
    let (quota, period) = match content(dir, "cpu.max") {
        Some(both) => both.split_once(' ').map(|(quota, period)| (quota.to_owned(), period.to_owned()))?,
        None => (content(dir, "cpu.cfs_quota_us")?, content(dir, "cpu.cfs_period_us")?),
    };
    let period: u64 = period.parse().ok().filter(|period| *period > 0)?;
    Some(quota.parse().ok().map(|quota: u64| (quota as f64 / period as f64, quota, period)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        assert_eq!(parse("0::/x\n").version, "v2");
        assert_eq!(parse("4:memory:/\n1:name=systemd:/\n").version, "v1");
        let hybrid = parse("4:cpu,cpuacct:/a:b\n0::/\n");
        assert_eq!((hybrid.version.as_str(), hybrid.paths["cpuacct"].as_str()), ("hybrid", "/a:b"));
    }

    #[test]
    fn absent_and_null_are_different_and_stay_so() {
        let limits = Limits { pids: Some(None), memory: Some(Some(7)), ..Limits::default() };
        let json = serde_json::to_string(&limits).unwrap();
        assert_eq!(json, r#"{"memory":7,"pids":null}"#);
        assert_eq!(serde_json::from_str::<Limits>(&json).unwrap(), limits);
    }
}

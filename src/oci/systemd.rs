//! systemd's cgroups: with --systemd-cgroup it makes the container's group, as a scope of its own, from a cgroupsPath
//! that says slice:prefix:name.
//!
//! Only systemd may divide its tree, and it undoes what it was not told of (daemon-reload). So it is told the limits,
//! as far as it has a word for them. The scope's directory is then ours to write the rest to (Delegate), as it is with
//! any other group: see `cgroup`. A scope goes when its last process has ended.
//!
//! An ordinary user has a systemd of their own, with a part of the tree that is theirs: it is asked by whoever is not
//! the machine's root, also in a user namespace, where podman has put us.
//!
//! It is spoken to by busctl(1), which comes with it: systemd's own socket answers systemctl alone, so there has to be
//! a bus, as podman and the kubelet want one.

use super::{resources::Setting, state, story};
use crate::{
    config::{CPU_PERIOD, Config},
    layers::cgroup::{Version, version},
    sys,
};
use anyhow::{Context, Result, bail, ensure};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::{
    fs::read_to_string,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Not by a PATH: it is the client's, and may be the container's.
const BUSCTL: &[&str] = &["/usr/bin/busctl", "/bin/busctl", "/run/current-system/sw/bin/busctl"];

/// How long systemd may take for one of its jobs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A scope, by its names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    name: String,
    slice: String,
    whose: Whose,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Whose {
    Machine,
    /// With the group that its systemd has, below which is all it makes.
    User(PathBuf),
}

impl Unit {
    /// What a cgroupsPath says; without one it is a scope in the slice that systemd has for all that is not said of.
    pub fn named(path: &str, id: &str) -> Result<Unit> {
        ensure!(
            Path::new("/run/systemd/system").is_dir(),
            "--systemd-cgroup: no systemd runs here, there is no /run/systemd/system (have the client use cgroupfs: \
             podman --cgroup-manager cgroupfs, containerd SystemdCgroup = false)"
        );
        if state::is_machines_root()? {
            return Unit::parse(path, id, Whose::Machine);
        }
        ensure!(
            version() == Version::V2,
            "--systemd-cgroup: this machine has cgroup version 1, of which an ordinary user's systemd can hand down \
             nothing (have the client use cgroupfs: podman --cgroup-manager cgroupfs)"
        );
        let told = busctl(&Whose::User(PathBuf::new()), "get-property", &["ControlGroup".into()])?;
        // s "/user.slice/user-1000.slice/user@1000.service"
        let group = told.split('"').nth(1).context("systemd does not say which group it has")?;
        Unit::parse(path, id, Whose::User(group.into()))
    }

    fn parse(path: &str, id: &str, whose: Whose) -> Result<Unit> {
        let usual = if whose == Whose::Machine { "system.slice" } else { "user.slice" };
        let parts: Vec<_> =
            if path.is_empty() { vec!["", "rubber-oci", id] } else { path.split(':').collect() };
        let [slice, prefix, name] = parts[..] else {
            bail!("cgroupsPath {path:?}: with --systemd-cgroup it is slice:prefix:name")
        };
        let slice = if slice.is_empty() { usual } else { slice };
        ensure!(!name.is_empty(), "cgroupsPath {path:?} has no name behind the last colon");
        ensure!(is_slice(slice), "cgroupsPath {path:?}: {slice:?} is not the name of a slice: a-b.slice is");
        let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}-{name}") };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ":_.-\\@".contains(c);
        ensure!(
            name.chars().all(is_plain) && name.len() <= 240,
            "cgroupsPath {path:?}: {name:?} is no name of a unit: letters, digits, and : _ . - \\ @ are, 240 at most"
        );
        Ok(Unit { name: format!("{name}.scope"), slice: slice.into(), whose })
    }

    /// From the root of each tree on: a-b.slice is in a.slice.
    pub fn path(&self) -> PathBuf {
        let names = self.slice.trim_end_matches(".slice");
        let ends = names.match_indices('-').map(|(at, _)| at).chain([names.len()]);
        let above = ends.filter(|end| *end > 0 && names != "-").map(|end| format!("{}.slice", &names[..end]));
        let root = match &self.whose {
            Whose::Machine => Path::new("/"),
            Whose::User(group) => group,
        };
        root.join(above.collect::<PathBuf>()).join(&self.name)
    }

    /// Makes it, with this process in it. A scope without one is not to be had. What its config.json says itself has the last
    /// word.
    pub fn start(&self, first: Pid, limits: &[Setting], own: &[Property]) -> Result<()> {
        let mut properties = vec![
            property("Description", "s", ["container of rubber-oci"]),
            property("Slice", "s", [&self.slice]),
            property("PIDs", "au", ["1", &first.to_string()]),
            property("Delegate", "b", ["true"]),
            // It neither ends at a shutdown before who made it, nor stays to be looked at when it has failed.
            property("DefaultDependencies", "b", ["false"]),
            property("CollectMode", "s", ["inactive-or-failed"]),
        ];
        properties.extend(of_limits(version(), limits));
        properties.extend_from_slice(own);
        let mut words = vec!["ssa(sv)a(sa(sv))".into(), self.name.clone(), "fail".into()];
        words.extend(list(properties));
        words.push("0".into());
        self.call("StartTransientUnit", words)?;
        self.until("does not make", || {
            let groups = read_to_string(format!("/proc/{first}/cgroup"))
                .context("the container's first process has just ended")?;
            Ok(groups.lines().any(|line| line.ends_with(&format!("/{}", self.name))))
        })
    }

    /// The limits again, of a container that is there.
    pub fn change(&self, limits: &[Setting]) -> Result<()> {
        let properties = of_limits(version(), limits);
        if properties.is_empty() {
            return Ok(());
        }
        let mut words = vec!["sba(sv)".into(), self.name.clone(), "true".into()];
        words.extend(list(properties));
        self.call("SetUnitProperties", words)?;
        // It writes them behind its answer, and before the next one: then the files are ours again.
        self.call("GetUnit", vec!["s".into(), self.name.clone()])
    }

    /// Has systemd forget it, with nobody left in it. Most often it has done so already, and knows no such unit.
    pub fn stop(&self) -> Result<()> {
        if self.call("StopUnit", vec!["ss".into(), self.name.clone(), "replace".into()]).is_err() {
            return Ok(());
        }
        let is_gone = || self.call("GetUnit", vec!["s".into(), self.name.clone()]).is_err();
        self.until("does not stop", || Ok(is_gone()))
    }

    fn call(&self, method: &str, mut words: Vec<String>) -> Result<()> {
        words.splice(..0, [method.into(), "--".into()]);
        busctl(&self.whose, "call", &words).map(drop)
    }

    fn until(&self, what: &str, done: impl Fn() -> Result<bool>) -> Result<()> {
        let begin = Instant::now();
        while !done()? {
            ensure!(
                begin.elapsed() < PATIENCE,
                "systemd {what} {} in {} s (systemctl status {0} says why)",
                self.name,
                PATIENCE.as_secs()
            );
            sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// systemd.slice(5): each dash is a level.
fn is_slice(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ":_.-\\@".contains(c);
    let Some(levels) = name.strip_suffix(".slice") else { return false };
    name == "-.slice"
        || levels.split('-').all(|level| !level.is_empty() && level.chars().all(is_plain))
            && name.len() <= 255
}

/// Before anything else: all that the container's processes use is to be counted.
pub fn ask(config: &Config) -> Result<()> {
    story::tell(config, &story::Word::Ungrouped).map(drop)
}

// ---- its words -----------------------------------------------------------------

/// A name, a signature, and values, as busctl(1) has them.
pub type Property = Vec<String>;

fn property<const N: usize>(name: &str, signature: &str, values: [&str; N]) -> Property {
    [name, signature].into_iter().chain(values).map(String::from).collect()
}

/// An array begins with how many there are.
fn list(properties: Vec<Property>) -> impl Iterator<Item = String> {
    std::iter::once(properties.len().to_string()).chain(properties.into_iter().flatten())
}

/// What systemd calls a number in one of our files: systemd.resource-control(5), "infinity" is the largest number.
/// Device rules are not told, as it would want a node for each: systemd leaves our own filter alone.
const NUMBERS: &[(&str, &str)] = &[
    ("memory.max", "MemoryMax"),
    ("memory.high", "MemoryHigh"),
    ("memory.low", "MemoryLow"),
    ("memory.min", "MemoryMin"),
    ("memory.swap.max", "MemorySwapMax"),
    ("memory.limit_in_bytes", "MemoryLimit"),
    ("pids.max", "TasksMax"),
    ("cpu.weight", "CPUWeight"),
    ("cpu.shares", "CPUShares"),
    ("io.weight", "IOWeight"),
    ("blkio.weight", "BlockIOWeight"),
];

fn of_limits(version: Version, limits: &[Setting]) -> Vec<Property> {
    let number = |setting: &Setting| {
        let (_, name) = NUMBERS.iter().find(|(file, _)| *file == setting.file)?;
        let word = setting.value.trim_start_matches("default ");
        let number = if ["max", "-1"].contains(&word) { u64::MAX } else { word.parse().ok()? };
        Some(property(name, "t", [&number.to_string()]))
    };
    let given = |file: &str| limits.iter().find(|setting| setting.file == file).map(|it| it.value.as_str());
    let mut all: Vec<_> = limits.iter().filter_map(number).collect();
    for (file, name) in [("cpuset.cpus", "AllowedCPUs"), ("cpuset.mems", "AllowedMemoryNodes")] {
        // In version 1 systemd knows no cpuset.
        if version == Version::V2 {
            all.extend(given(file).and_then(bits).map(|bytes| bitmap(name, &bytes)));
        }
    }
    let v2 = given("cpu.max").and_then(|value| value.split_once(' '));
    let v1 = given("cpu.cfs_quota_us").map(|quota| (quota, given("cpu.cfs_period_us").unwrap_or_default()));
    if let Some((quota, period)) = v2.or(v1) {
        all.extend(of_quota(quota, period.parse().unwrap_or(CPU_PERIOD)));
    }
    all
}

/// systemd keeps whole hundredths of a second for each, so what is between is rounded up; the file has it as it is.
fn of_quota(quota: &str, period: u64) -> [Property; 2] {
    const STEP: u64 = 10_000;
    let a_second = quota.parse::<u64>().ok().map(|quota| quota.saturating_mul(1_000_000) / period.max(1));
    let a_second = a_second.map_or(u64::MAX, |time| time.div_ceil(STEP).saturating_mul(STEP));
    [
        property("CPUQuotaPerSecUSec", "t", [&a_second.to_string()]),
        property("CPUQuotaPeriodUSec", "t", [&period.to_string()]),
    ]
}

fn bitmap(name: &str, bytes: &[u8]) -> Property {
    let head = property(name, "ay", [&bytes.len().to_string()]);
    head.into_iter().chain(bytes.iter().map(u8::to_string)).collect()
}

/// "0-2,8" as bits: 7, 1. None where it is no such list, which the kernel then says.
fn bits(list: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
        if last >= 8192 {
            return None;
        }
        for bit in first..=last {
            bytes.resize(bytes.len().max(bit / 8 + 1), 0);
            bytes[bit / 8] |= 1 << (bit % 8);
        }
    }
    Some(bytes)
}

/// Asks systemd's manager, and returns what it says, in busctl's form.
fn busctl(whose: &Whose, verb: &str, words: &[String]) -> Result<String> {
    const MANAGER: [&str; 3] =
        ["org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"];
    let busctl = BUSCTL.iter().find(|file| Path::new(file).is_file());
    let busctl = busctl
        .context("there is no /usr/bin/busctl, by which systemd is spoken to (it comes with systemd)")?;
    let mut command = Command::new(busctl);
    command.env_clear().stdin(Stdio::null());
    match whose {
        Whose::Machine => command.arg("--system"),
        // A user's bus is found by these, and by nothing else.
        Whose::User(_) => command.arg("--user").envs(
            ["DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"]
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        ),
    };
    command.args(["--quiet", verb]).args(MANAGER).args(words);
    let output = sys::started(command.output()).with_context(|| format!("cannot start {busctl}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    let why = error.trim().lines().last().unwrap_or("it does not say why");
    let of = if let Whose::Machine = whose { "systemd" } else { "the user's systemd" };
    ensure!(output.status.success(), "{of}, {}: {}", words[0], why.trim_start_matches("Call failed: "));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_scope() {
        let unit = |path: &str| Unit::parse(path, "id", Whose::Machine).map(|unit| unit.path());
        assert_eq!(unit("").unwrap(), Path::new("/system.slice/rubber-oci-id.scope"));
        assert_eq!(unit(":a:b").unwrap(), Path::new("/system.slice/a-b.scope"));
        assert_eq!(unit("a-b-c.slice:x:y").unwrap(), Path::new("/a.slice/a-b.slice/a-b-c.slice/x-y.scope"));
        assert_eq!(unit("-.slice::y").unwrap(), Path::new("/y.scope"));
        let theirs = |path: &str| Unit::parse(path, "id", Whose::User("/u/1".into())).unwrap().path();
        assert_eq!(theirs(""), Path::new("/u/1/user.slice/rubber-oci-id.scope"));
        assert_eq!(theirs("a-b.slice:x:y"), Path::new("/u/1/a.slice/a-b.slice/x-y.scope"));
        for wrong in
            ["/a/b", "a:b", "a:b:c", "a-.slice:b:c", "-a.slice:b:c", "../x.slice:b:c", ":a/b:c", "a.slice:b:"]
        {
            assert!(unit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits_have_systemds_names() {
        let limits = |pairs: &[(&str, &str)]| {
            let setting = |(file, value): &(&str, &str)| Setting {
                controller: file.split('.').next().unwrap().into(),
                file: (*file).into(),
                value: (*value).into(),
            };
            let all = of_limits(Version::V2, &pairs.iter().map(setting).collect::<Vec<_>>());
            all.iter().map(|words| words.join(" ")).collect::<Vec<_>>()
        };
        assert_eq!(
            limits(&[("memory.max", "4096"), ("pids.max", "max")]),
            ["MemoryMax t 4096", "TasksMax t 18446744073709551615"]
        );
        assert_eq!(
            limits(&[("cpu.max", "50001 100000")]),
            ["CPUQuotaPerSecUSec t 510000", "CPUQuotaPeriodUSec t 100000"]
        );
        assert_eq!(limits(&[("cpu.max", "max 100000")])[0], "CPUQuotaPerSecUSec t 18446744073709551615");
        assert_eq!(limits(&[("cpuset.cpus", "0-2,8")]), ["AllowedCPUs ay 2 7 1"]);
        assert_eq!(limits(&[("cpu.max.burst", "1"), ("cpuset.cpus", "x")]), [""; 0]);
    }
}

//! The rows of the portrait: what is compared, and which layer makes the difference.

use super::{Asked, Outside, Row, Whose, bytes};
use crate::facts::{Facts, IdRange};

/// The container's facts and, when they were told, the host's.
struct View<'a> {
    here: &'a Facts,
    host: Option<&'a Facts>,
    asked: Option<&'a Asked>,
}

/// One row: the layer, what it changes, what to type to turn it on, and how to compare.
type Comparison = (&'static str, &'static str, &'static str, fn(&View, &mut Row));

const COMPARISONS: &[Comparison] = &[
    ("00 process", "given to it", "", given),
    ("01 chroot", "root directory", "--until chroot", root),
    ("02 mount", "mounts, devices", "--until mount", mounts),
    ("04 overlay", "root filesystem", "--until overlay", filesystem),
    ("05 uts", "hostname", "--until uts", hostname),
    ("06 pid", "processes", "--until pid", processes),
    ("07 net", "interfaces", "--until net", interfaces),
    ("08 cpu", "cpu limit", "--cpus 0.5", cpu_limit),
    ("09 memory", "memory limit", "-m 128m", memory_limit),
    ("09 memory", "process limit", "--pids-limit 64", process_limit),
    ("10 user", "user", "--user 1000", user),
    ("11 capabilities", "root's powers", "--until 11", capabilities),
    ("12 seccomp", "system calls", "--until seccomp", seccomp),
    ("13 userns", "user ids", "without sudo", user_map),
    ("14 ipc", "ipc cgroup time", "--until ipc", other_namespaces),
];

pub fn compare(here: &Facts, outside: &Outside) -> Vec<Row> {
    let view = View { here, host: outside.host.as_ref(), asked: outside.asked.as_ref() };
    let row = |&(layer, what, flag, fill): &Comparison| {
        let (here, host, more) = (String::new(), None, None);
        let mut row = Row { layer, what, flag, here, host, more, whose: Whose::Unknown };
        fill(&view, &mut row);
        row
    };
    let mut rows: Vec<Row> = COMPARISONS.iter().map(row).collect();
    // The root directory is made by 01 or 03.
    rows.sort_by_key(|row| row.layer);
    rows
}

impl View<'_> {
    /// Puts what `show` makes of either side into the row.
    fn show(&self, row: &mut Row, show: impl Fn(&Facts) -> String) {
        row.here = show(self.here);
        row.host = self.host.map(show);
    }

    /// Whose namespace this is: by comparison, else by what the kernel's numbers say.
    fn namespace(&self, kind: &str) -> Whose {
        match (self.here.ns(kind), self.host.and_then(|host| host.ns(kind))) {
            (Some(here), Some(host)) => own(here != host),
            _ => match self.here.ns_host.get(kind).copied().flatten() {
                Some(is_host) => own(!is_host),
                None => Whose::Unknown,
            },
        }
    }

    /// Whose a fact is that both sides have a value of.
    fn fact<T: PartialEq>(&self, fact: impl Fn(&Facts) -> Option<T>) -> Whose {
        match (fact(self.here), self.host.and_then(fact)) {
            (Some(here), Some(host)) => own(here != host),
            _ => Whose::Unknown,
        }
    }

    /// A limit: the kernel's word where its cgroup can be seen, else what was asked for.
    fn limit<T: Copy + PartialEq>(
        &self,
        row: &mut Row,
        seen: impl Fn(&Facts) -> Option<Option<T>>,
        asked: impl Fn(&Asked) -> Option<T>,
        show: impl Fn(T) -> String,
    ) {
        let word = |limit: Option<Option<T>>| match limit {
            Some(Some(limit)) => show(limit),
            Some(None) => "no limit".to_owned(),
            None => "not visible".to_owned(),
        };
        let here = seen(self.here).or_else(|| self.asked.map(&asked));
        let host = self.host.and_then(&seen);
        row.here = word(here);
        row.host = self.host.map(|_| word(host));
        row.whose = match (here, host) {
            (Some(None), _) => Whose::Host,
            (Some(here), Some(host)) => own(here != host),
            // The host's cgroups cannot be seen, but this was asked for.
            (Some(Some(_)), None) => Whose::Own,
            (None, _) => Whose::Unknown,
        };
    }
}

fn own(is_own: bool) -> Whose {
    if is_own { Whose::Own } else { Whose::Host }
}

/// What is shown for a fact that only /proc tells, when it was not mounted here.
const NO_PROC: &str = "no /proc";

/// `?` for what cannot be known; the row's mark says so too.
fn or_unknown(value: Option<impl ToString>) -> String {
    value.map_or("?".to_owned(), |value| value.to_string())
}

fn given(view: &View, row: &mut Row) {
    view.show(row, |facts| {
        format!("{} variables, {} fds", or_unknown(facts.count.env), or_unknown(facts.count.fds))
    });
    row.whose = view.fact(|facts| Some((facts.count.env?, facts.count.fds?)));
}

fn root(view: &View, row: &mut Row) {
    let place = |facts: &Facts| facts.root.as_ref().map(|root| (root.device.clone(), root.inode));
    view.show(row, |facts| match place(facts) {
        Some((device, inode)) => format!("{device} inode {inode}"),
        None => "?".to_owned(),
    });
    row.whose = view.fact(place);
    // pivot_root(2) moves to a mount, chroot(2) to any directory.
    if row.whose == Whose::Own && view.here.root_mount().is_some() {
        row.layer = "03 pivot_root";
    }
}

fn mounts(view: &View, row: &mut Row) {
    view.show(row, |facts| {
        let mounts = facts.count.mounts.map_or(NO_PROC.to_owned(), |count| count.to_string());
        format!("{mounts} and {}", or_unknown(facts.count.devices))
    });
    row.whose = view.namespace("mnt");
}

fn filesystem(view: &View, row: &mut Row) {
    let fstype = |facts: &Facts| facts.root.as_ref()?.fstype.clone();
    view.show(row, |facts| or_unknown(fstype(facts)));
    let place = |facts: &Facts| facts.root.as_ref().map(|root| root.device.clone());
    row.whose = view.fact(place);
}

fn hostname(view: &View, row: &mut Row) {
    view.show(row, |facts| or_unknown(facts.hostname.as_ref()));
    row.whose = match view.namespace("uts") {
        Whose::Unknown => view.fact(|facts| facts.hostname.clone()),
        known => known,
    };
}

fn processes(view: &View, row: &mut Row) {
    view.show(row, |facts| {
        let seen = facts.count.processes.map_or(NO_PROC.to_owned(), |count| format!("sees {count}"));
        format!("pid {}, {seen}", or_unknown(facts.pid))
    });
    row.whose = match view.namespace("pid") {
        // Only the first process of a pid namespace is 1.
        Whose::Unknown if view.here.pid == Some(1) => Whose::Own,
        known => known,
    };
}

fn interfaces(view: &View, row: &mut Row) {
    let names = |facts: &Facts| -> Option<Vec<String>> {
        Some(facts.interfaces.as_ref()?.iter().map(|interface| interface.name.clone()).collect())
    };
    view.show(row, |facts| match names(facts) {
        Some(names) if names.is_empty() => "none".to_owned(),
        names => or_unknown(names.map(|names| names.join(" "))),
    });
    row.whose = match view.namespace("net") {
        Whose::Unknown => view.fact(names),
        known => known,
    };
}

fn cpu_limit(view: &View, row: &mut Row) {
    view.limit(row, |facts| facts.limits.cpus, |asked| asked.cpus, |cpus| format!("{cpus} CPU"));
}

fn memory_limit(view: &View, row: &mut Row) {
    view.limit(row, |facts| facts.limits.memory, |asked| asked.memory, bytes);
}

fn process_limit(view: &View, row: &mut Row) {
    view.limit(row, |facts| facts.limits.pids, |asked| asked.pids, |pids| pids.to_string());
}

fn user(view: &View, row: &mut Row) {
    let uid = |facts: &Facts| facts.uid.as_ref().map(|uid| uid.effective);
    view.show(row, |facts| match uid(facts) {
        Some(0) => "uid 0 (root)".to_owned(),
        uid => format!("uid {}", or_unknown(uid)),
    });
    row.whose = view.fact(uid);
}

/// The bounding set, because it is what the process and its children can ever have.
fn capabilities(view: &View, row: &mut Row) {
    let bounding = |facts: &Facts| facts.caps.get("bounding").cloned();
    view.show(row, |facts| {
        let in_force = facts.caps.get("effective").map(Vec::len);
        format!("{}, {} in force", or_unknown(bounding(facts).map(|caps| caps.len())), or_unknown(in_force))
    });
    row.whose = view.fact(bounding);
    if let (Some(here), Some(host)) = (bounding(view.here), view.host.and_then(bounding)) {
        row.more = gone(&here, &host);
    }
}

/// Names those that opened most doors first, and counts the rest.
fn gone(here: &[String], host: &[String]) -> Option<String> {
    const WORST: [&str; 5] = ["SYS_ADMIN", "NET_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO"];
    let worst = |name: &str| WORST.iter().position(|worst| *worst == name).unwrap_or(WORST.len());
    let gone = host.iter().filter(|cap| !here.contains(cap)).map(|cap| cap.trim_start_matches("CAP_"));
    let mut gone: Vec<&str> = gone.collect();
    gone.sort_by_key(|name| worst(name));
    let named = gone.iter().take(4).map(|name| name.to_lowercase()).collect::<Vec<_>>().join(" ");
    match gone.len() {
        0 => None,
        1..=4 => Some(format!("gone: {named}")),
        count => Some(format!("gone: {named} and {} more", count - 4)),
    }
}

fn seccomp(view: &View, row: &mut Row) {
    view.show(row, |facts| match facts.seccomp.as_deref() {
        Some("disabled") => "all allowed".to_owned(),
        Some("filter") => match facts.seccomp_filters {
            Some(count @ 2..) => format!("{count} filters"),
            _ => "filtered".to_owned(),
        },
        other => or_unknown(other),
    });
    row.whose = match view.fact(|facts| facts.seccomp.clone()) {
        // Filters add up: with the host's own there may be more in here.
        Whose::Host if view.fact(|facts| facts.seccomp_filters) == Whose::Own => Whose::Own,
        known => known,
    };
}

fn user_map(view: &View, row: &mut Row) {
    view.show(row, |facts| match facts.uid_map.as_deref() {
        None => NO_PROC.to_owned(),
        Some([]) => "no id mapped".to_owned(),
        Some([IdRange { inside: 0, outside: 0, count: u32::MAX }]) => "each is itself".to_owned(),
        Some([IdRange { inside, outside, .. }, rest @ ..]) => {
            let more = if rest.is_empty() { "" } else { ", .." };
            format!("{inside} is {outside} outside{more}")
        }
    });
    row.whose = view.namespace("user");
}

fn other_namespaces(view: &View, row: &mut Row) {
    let kinds = |whose: Whose| {
        let found = ["ipc", "cgroup", "time"].into_iter().filter(|kind| view.namespace(kind) == whose);
        found.collect::<Vec<_>>().join(" ")
    };
    let (own, shared) = (kinds(Whose::Own), kinds(Whose::Host));
    row.whose = match (own.is_empty(), shared.is_empty()) {
        (false, _) => Whose::Own,
        (true, false) => Whose::Host,
        (true, true) => Whose::Unknown,
    };
    row.here = match row.whose {
        Whose::Own => format!("its own {own}"),
        Whose::Host => "the host's".to_owned(),
        Whose::Unknown => NO_PROC.to_owned(),
    };
    row.host = (!shared.is_empty()).then(|| format!("shared: {shared}"));
    let offsets =
        view.here.time_offsets.iter().find(|offsets| offsets.values().any(|seconds| *seconds != 0.0));
    row.more = offsets.map(|offsets| format!("clocks: {}", crate::show::facts::clocks(offsets)));
}

//! `rubber facts` as a table: grouped, 80 columns, everything from outside escaped.

use super::columns::{WIDTH, bytes, cell, fit, wrap};
use crate::facts::{CAPABILITY_SETS, Facts, IdRange, Ids, Mount, NAMESPACES};
use anstyle::{AnsiColor, Style};
use std::{collections::BTreeMap, fmt::Write};

/// Width of the first column, with the space after it.
const KEY: usize = 19;
const HEADING: Style = AnsiColor::Cyan.on_default().bold();
const DIM: Style = Style::new().dimmed();

pub fn table(facts: &Facts) -> String {
    let mut table = Table { text: String::new(), facts };
    for group in GROUPS {
        group(&mut table);
    }
    table.text
}

const GROUPS: &[fn(&mut Table)] = &[
    process,
    namespaces,
    files,
    network,
    cgroups,
    credentials,
    capabilities,
    signals,
    limits,
    holds,
    unreadable,
];

struct Table<'a> {
    text: String,
    facts: &'a Facts,
}

impl Table<'_> {
    fn heading(&mut self, name: &str) {
        let gap = if self.text.is_empty() { "" } else { "\n" };
        let _ = writeln!(self.text, "{gap}{HEADING}{name}{HEADING:#}");
    }

    /// One fact; what is not known is listed with its reason at the end.
    fn row(&mut self, key: &str, value: Option<impl ToString>) {
        let Some(value) = value else {
            let _ = writeln!(self.text, "  {}{DIM}?{DIM:#}", cell(key, KEY));
            return;
        };
        let lines = wrap(&value.to_string(), WIDTH - KEY - 2);
        for (number, line) in lines.iter().enumerate() {
            let key = if number == 0 { key } else { "" };
            let line = format!("  {}{line}", cell(key, KEY));
            let _ = writeln!(self.text, "{}", line.trim_end());
        }
    }

    /// One line of a list, cut where it is too long: the JSON has all of it.
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "  {}", fit(line, WIDTH - 2));
    }
}

fn process(table: &mut Table) {
    let facts = table.facts;
    table.heading("process");
    table.row("pid", facts.pid);
    if let Some(pids) = facts.pids.as_ref().filter(|pids| pids.len() > 1) {
        table.row("pid at each level", Some(join(pids, " > ")));
    }
    table.row("parent", facts.parent);
    table.row("name", facts.name.clone());
    table.row("state", facts.state.clone());
    table.row("program", facts.exe.clone());
    table.row("command", facts.command.as_ref().map(|words| words.join(" ")));
    table.row("session", facts.session);
    table.row(
        "terminal",
        facts.tty.clone().or((!facts.unreadable.contains_key("tty")).then(|| "none".into())),
    );
    table.row("kernel", facts.kernel.clone());
}

fn namespaces(table: &mut Table) {
    let facts = table.facts;
    table.heading("namespaces");
    for (kind, _) in NAMESPACES {
        let whose = match facts.ns_host.get(*kind).copied().flatten() {
            Some(true) => "the host's",
            Some(false) => "its own",
            None => "the host's or its own: not known",
        };
        table.row(kind, facts.ns(kind).map(|inode| format!("{inode}  {whose}")));
    }
    for kind in ["pid_for_children", "time_for_children"] {
        if let Some(inode) = facts.ns.get(kind) {
            table.row(kind, inode.map(|inode| inode.to_string()));
        }
    }
    table.row("clocks", facts.time_offsets.as_ref().map(clocks));
}

/// By how much they differ from the machine's.
pub fn clocks(offsets: &BTreeMap<String, f64>) -> String {
    let shifted = offsets.iter().filter(|(_, seconds)| **seconds != 0.0);
    let shifted: Vec<_> = shifted.map(|(clock, seconds)| format!("{clock} {seconds:+} s")).collect();
    if shifted.is_empty() { "as the machine's".into() } else { shifted.join(", ") }
}

fn files(table: &mut Table) {
    let facts = table.facts;
    table.heading("files");
    table.row(
        "root",
        facts.root.as_ref().map(|root| {
            let path = root.path.as_deref().unwrap_or("/");
            let fstype = root.fstype.as_deref().unwrap_or("filesystem unknown");
            format!("{path}  {fstype}  device {} inode {}", root.device, root.inode)
        }),
    );
    table.row("working directory", facts.cwd.clone());
    table.row("devices in /dev", facts.count.devices);
    table.row("mounts", facts.count.mounts);
    facts.mounts.iter().flatten().for_each(|mount| table.line(&mount_line(mount)));
}

fn mount_line(mount: &Mount) -> String {
    let Mount { target, fstype, source, options, propagation, root, .. } = mount;
    let part = if root == "/" { String::new() } else { format!(" of {root}") };
    format!("  {}  {}  {options} {propagation} {source}{part}", cell(target, 28), cell(fstype, 8))
}

fn network(table: &mut Table) {
    let facts = table.facts;
    table.heading("names and network");
    table.row("hostname", facts.hostname.clone());
    table.row("domain name", facts.domainname.clone());
    if facts.interfaces.as_ref().is_none_or(Vec::is_empty) {
        table.row("interfaces", facts.interfaces.as_ref().map(|_| "none"));
    }
    for interface in facts.interfaces.iter().flatten() {
        let up = match interface.up {
            Some(true) => "up",
            Some(false) => "down",
            None => "up or down: not known",
        };
        table.row(&interface.name, Some(format!("{up} {}", interface.addresses.join(" "))));
    }
}

fn cgroups(table: &mut Table) {
    let facts = table.facts;
    table.heading("cgroups");
    table.row("version", facts.cgroup.as_ref().map(|cgroup| cgroup.version.clone()));
    for (controller, path) in facts.cgroup.iter().flat_map(|cgroup| &cgroup.paths) {
        table.row(controller, Some(path));
    }
    let limits = &facts.limits;
    limit(table, "memory", limits.memory.map(|limit| limit.map(bytes)));
    limit(table, "memory+swap", limits.memory_swap.map(|limit| limit.map(bytes)));
    limit(table, "cpus", limits.cpus);
    limit(table, "cpu shares", limits.cpu_shares);
    limit(table, "cpu weight", limits.cpu_weight);
    limit(table, "processes", limits.pids);
    limit(table, "cpuset", limits.cpuset.clone());
    table.row("may run on cpus", facts.cpus_allowed.clone());
}

fn limit(table: &mut Table, name: &str, limit: Option<Option<impl ToString>>) {
    if let Some(limit) = limit {
        let text = limit.map_or("no limit".to_owned(), |limit| limit.to_string());
        table.row(&format!("limit: {name}"), Some(text));
    }
}

fn credentials(table: &mut Table) {
    let facts = table.facts;
    table.heading("user and group ids");
    let ids = |ids: &Ids| {
        let Ids { real, effective, saved, fs } = ids;
        match real == effective && effective == saved && saved == fs {
            true => real.to_string(),
            false => format!("real {real}, effective {effective}, saved {saved}, files {fs}"),
        }
    };
    table.row("user", facts.uid.as_ref().map(ids));
    table.row("group", facts.gid.as_ref().map(ids));
    table.row("groups", facts.groups.as_ref().map(|groups| join_or_none(groups, " ")));
    table.row("user map", facts.uid_map.as_ref().map(|map| id_map(map)));
    table.row("group map", facts.gid_map.as_ref().map(|map| id_map(map)));
    table.row("setgroups", facts.setgroups.clone());
    table.row("seccomp", facts.seccomp.as_ref().map(|mode| seccomp(mode, facts.seccomp_filters)));
    table.row("no new privileges", facts.no_new_privs.map(|on| if on { "yes" } else { "no" }));
}

fn seccomp(mode: &str, filters: Option<u32>) -> String {
    match filters {
        Some(count @ 1..) => format!("{mode}, {count} of them"),
        _ => mode.to_owned(),
    }
}

pub fn id_map(map: &[IdRange]) -> String {
    let range = |range: &IdRange| match range {
        IdRange { inside: 0, outside: 0, count: u32::MAX } => "every id is itself".to_owned(),
        IdRange { inside, outside, count: 1 } => format!("{inside} is {outside} outside"),
        IdRange { inside, outside, count } => format!("{inside}.. is {outside}.. outside, {count} ids"),
    };
    match map {
        [] => "empty: no id has a meaning here yet".to_owned(),
        map => map.iter().map(range).collect::<Vec<_>>().join("; "),
    }
}

fn capabilities(table: &mut Table) {
    let facts = table.facts;
    table.heading("capabilities");
    for (set, _) in CAPABILITY_SETS {
        let short = |name: &String| name.strip_prefix("CAP_").unwrap_or(name).to_lowercase();
        let text = facts.caps.get(*set).map(|names| match names.len() {
            0 => "none".to_owned(),
            count => format!("{count}: {}", names.iter().map(short).collect::<Vec<_>>().join(" ")),
        });
        table.row(set, text);
    }
}

fn signals(table: &mut Table) {
    let signals = &table.facts.signals;
    table.heading("signals");
    for (name, list) in
        [("blocked", &signals.blocked), ("ignored", &signals.ignored), ("caught", &signals.caught)]
    {
        table.row(name, list.as_ref().map(|list| join_or_none(list, " ")));
    }
}

fn limits(table: &mut Table) {
    let facts = table.facts;
    table.heading("resource limits (soft, hard)");
    let value = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    let one = |(name, limit): (&String, &crate::facts::Rlimit)| {
        format!("{name}\u{a0}{},{}", value(limit.soft), value(limit.hard))
    };
    let all = facts.rlimits.as_ref().map(|limits| limits.iter().map(one).collect::<Vec<_>>().join("  "));
    table.row("rlimits", all);
    table.row("oom_score_adj", facts.oom_score_adj);
    table.row("umask", facts.umask.clone());
}

fn holds(table: &mut Table) {
    let facts = table.facts;
    table.heading("what it holds and sees");
    table.row("processes seen", facts.count.processes);
    table.row("open files", facts.count.fds);
    for (number, target) in facts.fds.iter().flatten() {
        table.line(&format!("  {number:<4} {target}"));
    }
    table.row("environment", facts.count.env);
    for (name, value) in facts.env.iter().flatten() {
        table.line(&format!("  {name}={value}"));
    }
}

/// Often one reason stands for many facts, so it is told once.
fn unreadable(table: &mut Table) {
    let mut reasons: Vec<(&String, Vec<&str>)> = Vec::new();
    for (field, reason) in &table.facts.unreadable {
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, fields)) => fields.push(field),
            None => reasons.push((reason, vec![field])),
        }
    }
    if !reasons.is_empty() {
        table.heading("not readable");
    }
    for (reason, fields) in reasons {
        for line in wrap(&format!("{}: {reason}", fields.join(" ")), WIDTH - 2) {
            table.line(&line);
        }
    }
}

fn join<T: ToString>(list: &[T], between: &str) -> String {
    list.iter().map(T::to_string).collect::<Vec<_>>().join(between)
}

fn join_or_none<T: ToString>(list: &[T], between: &str) -> String {
    if list.is_empty() { "none".to_owned() } else { join(list, between) }
}

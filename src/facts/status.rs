//! Who a process is and what it may do: /proc/PID/status and the small files beside it.

use super::{
    Facts, IdRange, Ids, names,
    proc::{Proc, because, stat_fields, text},
};
use std::{collections::HashMap, io, str::FromStr};

pub fn read(proc: &Proc, facts: &mut Facts) {
    let status = proc.text("status");
    let status = facts.note("status", status).unwrap_or_default();
    let status: Status = status.lines().filter_map(|line| line.split_once(':')).collect();

    facts.pid = Some(proc.pid());
    facts.name = field(&status, facts, "name", "Name");
    facts.pids = numbers(&status, facts, "pids", "NSpid");
    facts.parent = field(&status, facts, "parent", "PPid");
    facts.cpus_allowed = field(&status, facts, "cpus_allowed", "Cpus_allowed_list");
    facts.umask = field(&status, facts, "umask", "Umask");
    facts.uid = ids(&status, facts, "uid", "Uid");
    facts.gid = ids(&status, facts, "gid", "Gid");
    facts.groups = numbers(&status, facts, "groups", "Groups");
    facts.no_new_privs = field(&status, facts, "no_new_privs", "NoNewPrivs").map(|on: u32| on == 1);
    facts.seccomp = field(&status, facts, "seccomp", "Seccomp").map(names::seccomp);
    facts.seccomp_filters = field(&status, facts, "seccomp_filters", "Seccomp_filters");
    facts.signals.blocked = mask(&status, facts, "signals.blocked", "SigBlk").map(names::signals);
    facts.signals.ignored = mask(&status, facts, "signals.ignored", "SigIgn").map(names::signals);
    facts.signals.caught = mask(&status, facts, "signals.caught", "SigCgt").map(names::signals);
    for (set, kernel_name) in names::CAPABILITY_SETS {
        if let Some(bits) = mask(&status, facts, &format!("caps.{set}"), kernel_name) {
            facts.capabilities(set, bits);
        }
    }
    if proc.is_own() {
        facts.forget_what_the_runtime_ignores();
    }
    read_stat(proc, facts);
    read_files(proc, facts, status.get("Kthread").is_some_and(|flag| flag.trim() == "1"));
}

type Status<'a> = HashMap<&'a str, &'a str>;

fn field<T: FromStr>(status: &Status, facts: &mut Facts, name: &str, key: &str) -> Option<T> {
    let found = status.get(key).and_then(|value| value.trim().parse().ok());
    facts.note(name, found.ok_or_else(|| because(format!("this kernel's /proc/PID/status has no {key}"))))
}

fn numbers<T: FromStr>(status: &Status, facts: &mut Facts, name: &str, key: &str) -> Option<Vec<T>> {
    let line: String = field(status, facts, name, key)?;
    line.split_whitespace().map(|word| word.parse().ok()).collect()
}

fn ids(status: &Status, facts: &mut Facts, name: &str, key: &str) -> Option<Ids> {
    let ids = numbers(status, facts, name, key)?;
    let [real, effective, saved, fs] = ids[..] else { return None };
    Some(Ids { real, effective, saved, fs })
}

fn mask(status: &Status, facts: &mut Facts, name: &str, key: &str) -> Option<u64> {
    let digits: String = field(status, facts, name, key)?;
    u64::from_str_radix(&digits, 16).ok()
}

impl Facts {
    pub(super) fn capabilities(&mut self, set: &str, bits: u64) {
        self.caps.insert(set.to_owned(), names::capabilities(bits));
        self.caps_raw.insert(set.to_owned(), format!("{bits:016x}"));
    }

    /// Rust's runtime and we ourselves ignore some. Whether we were *started* with them
    /// ignored is the fact; `calls` looked before that.
    pub(super) fn forget_what_the_runtime_ignores(&mut self) {
        if let Some(ignored) = &mut self.signals.ignored {
            for ours in super::calls::ignored_by_us() {
                ignored.retain(|signal| signal != ours);
            }
        }
    }
}

fn read_stat(proc: &Proc, facts: &mut Facts) {
    let Some(stat) = facts.note("stat", proc.text("stat")) else { return };
    let fields = stat_fields(&stat);
    let number = |index: usize| fields.get(index).and_then(|word| word.parse::<i32>().ok());
    facts.state = fields.first().map(|letter| names::state(letter));
    facts.session = number(3);
    facts.tty = number(4).and_then(names::tty);
    facts.started = fields.get(19).and_then(|word| word.parse().ok());
}

fn read_files(proc: &Proc, facts: &mut Facts, kernel_thread: bool) {
    let zombie = facts.state.as_deref() == Some("zombie");
    let exe = proc.link("exe").map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if zombie => {
            because("a zombie: the process has ended, its parent has not waited")
        }
        io::ErrorKind::NotFound if kernel_thread => because("a kernel thread runs no program"),
        io::ErrorKind::NotFound => because("it runs no program: a kernel thread, or one that is ending"),
        _ => error,
    });
    facts.exe = facts.note("exe", exe);
    facts.command = facts.note("command", proc.bytes("cmdline").map(|bytes| strings(&bytes)));
    facts.uid_map = facts.note("uid_map", proc.text("uid_map").map(|map| id_map(&map)));
    facts.gid_map = facts.note("gid_map", proc.text("gid_map").map(|map| id_map(&map)));
    facts.setgroups = facts.note("setgroups", proc.text("setgroups").map(|word| word.trim().to_owned()));
    facts.rlimits = facts.note("rlimits", proc.text("limits").map(|table| names::rlimits(&table)));
    let score = proc.text("oom_score_adj").map(|score| score.trim().parse().ok());
    facts.oom_score_adj = facts.note("oom_score_adj", score).flatten();
}

/// Strings that each end with a NUL, as in cmdline and environ.
pub fn strings(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    match bytes {
        [] => Vec::new(),
        bytes => bytes.split(|byte| *byte == 0).map(text).collect(),
    }
}

fn id_map(map: &str) -> Vec<IdRange> {
    let range = |line: &str| {
        let numbers: Vec<u32> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        let [inside, outside, count] = numbers[..] else { return None };
        Some(IdRange { inside, outside, count })
    };
    map.lines().filter_map(range).collect()
}

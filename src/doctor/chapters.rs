//! Which chapters of the workshop this machine can run.

use super::{Check, Report, State};
use nix::unistd::geteuid;
use serde::Serialize;

/// Why chapter 10 cannot be checked.
pub const ONE_ID: &str =
    "an ordinary user has only one id in the arena, and nobody to become; as root it can";

/// Each chapter and the checks it stands on.
#[rustfmt::skip]
const CHAPTERS: &[(&str, &[&str])] = &[
    ("process",      &[]),
    ("chroot",       &["chroot"]),
    ("mount",        &["ns.mnt"]),
    ("pivot_root",   &["pivot_root"]),
    ("overlay",      &["store", "overlay"]),
    ("uts",          &["ns.uts"]),
    ("pid",          &["ns.pid", "proc"]),
    ("net",          &["ns.net"]),
    ("cpu",          &["cgroup.cpu"]),
    ("memory",       &["cgroup.memory", "cgroup.pids"]),
    ("user",         &["ids"]),
    ("capabilities", &["capabilities"]),
    ("seccomp",      &["seccomp"]),
    ("userns",       &["userns"]),
    ("ipc",          &["ns.ipc", "ns.cgroup", "ns.time"]),
    ("volumes",      &["ns.mnt"]),
    ("devices",      &["ns.mnt"]),
];

#[derive(Serialize)]
pub struct Chapter {
    pub chapter: String,
    pub name: &'static str,
    pub runs: bool,
    /// What is missing or limited; empty when nothing is.
    pub why: String,
    /// The one line that mends it.
    #[serde(skip)]
    pub fix: Option<String>,
}

pub fn all(report: &Report) -> Vec<Chapter> {
    CHAPTERS.iter().enumerate().map(|(number, (name, needs))| chapter(number, name, needs, report)).collect()
}

/// A chapter runs when nothing it needs is missing; the worst finding is the one to tell.
fn chapter(number: usize, name: &'static str, needs: &[&str], report: &Report) -> Chapter {
    let find = |state| needs.iter().map(|id| report.check(id)).find(|check| check.state == state);
    let worst = find(State::No).or_else(|| find(State::Limited));
    let why = match worst {
        None if name == "user" && !geteuid().is_root() => format!("in rubber run; in rubber learn {ONE_ID}"),
        _ => worst.map(Check::short).unwrap_or_default(),
    };
    Chapter {
        chapter: format!("{number:02}"),
        name,
        runs: worst.is_none_or(|check| check.state != State::No),
        why,
        fix: worst.and_then(|check| check.fix.clone()),
    }
}

#[cfg(test)]
pub fn needs() -> impl Iterator<Item = &'static str> {
    CHAPTERS.iter().flat_map(|(_, needs)| needs.iter().copied())
}

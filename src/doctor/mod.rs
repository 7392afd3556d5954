//! The doctor: what this machine can run, chapter by chapter, and the fix where it cannot.
//!
//! `CHECKS` is the whole examination, in order. A check looks at one thing and finds it ok, limited
//! or missing; whatever is not ok carries one line that mends it. Chapters and verdict are then
//! only questions about the findings.

mod cgroups;
mod chapters;
mod host;
mod ids;
mod images;
mod kernel;
mod namespaces;
mod probe;
mod store;
mod userns;

pub use chapters::{Chapter, ONE_ID};
pub use userns::why_no_user_namespace;

use crate::show::columns::is_hidden;
use host::{Here, Power};
use nix::{
    sched::CloneFlags,
    sys::signal::{SigHandler, Signal, signal},
};
use serde::Serialize;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    Limited,
    No,
}

/// What one look found. The words before the first `;` stand for the whole in short places.
pub struct Finding {
    state: State,
    found: String,
    fix: Option<String>,
}

fn ok(found: impl Into<String>) -> Finding {
    Finding { state: State::Ok, found: found.into(), fix: None }
}

fn limited(found: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { state: State::Limited, found: found.into(), fix: Some(fix.into()) }
}

fn no(found: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { state: State::No, found: found.into(), fix: Some(fix.into()) }
}

struct Look {
    id: &'static str,
    title: &'static str,
    at: fn(&Here) -> Finding,
}

/// The examination. `userns` comes before everything that, for an ordinary user, stands on it.
#[rustfmt::skip]
const CHECKS: &[Look] = &[
    Look { id: "kernel",          title: "kernel",             at: kernel::version },
    Look { id: "userns",          title: "user namespace",     at: userns::mine },
    Look { id: "userns.ordinary", title: "for ordinary users", at: userns::ordinary },
    Look { id: "ns.mnt",          title: "mount namespace",    at: |here| namespaces::new(here, CloneFlags::CLONE_NEWNS, "mnt") },
    Look { id: "ns.uts",          title: "uts namespace",      at: |here| namespaces::new(here, CloneFlags::CLONE_NEWUTS, "uts") },
    Look { id: "ns.ipc",          title: "ipc namespace",      at: |here| namespaces::new(here, CloneFlags::CLONE_NEWIPC, "ipc") },
    Look { id: "ns.pid",          title: "pid namespace",      at: |here| namespaces::new(here, CloneFlags::CLONE_NEWPID, "pid") },
    Look { id: "ns.net",          title: "net namespace",      at: |here| namespaces::new(here, CloneFlags::CLONE_NEWNET, "net") },
    Look { id: "ns.cgroup",       title: "cgroup namespace",   at: |here| namespaces::new(here, CloneFlags::CLONE_NEWCGROUP, "cgroup") },
    Look { id: "ns.time",         title: "time namespace",     at: |here| namespaces::new(here, crate::sys::CLONE_NEWTIME, "time") },
    Look { id: "proc",            title: "own /proc",          at: namespaces::own_proc },
    Look { id: "chroot",          title: "chroot",             at: namespaces::chroot },
    Look { id: "pivot_root",      title: "pivot_root",         at: namespaces::pivot_root },
    Look { id: "propagation",     title: "propagation of /",   at: store::propagation },
    Look { id: "capabilities",    title: "capabilities",       at: kernel::capabilities },
    Look { id: "seccomp",         title: "seccomp",            at: kernel::seccomp },
    Look { id: "ids",             title: "range of ids",       at: ids::ranges },
    Look { id: "devices",         title: "device nodes",       at: namespaces::devices },
    Look { id: "store",           title: "store",              at: store::directory },
    Look { id: "overlay",         title: "overlay",            at: store::overlay },
    Look { id: "images",          title: "images",             at: images::whole },
    Look { id: "busybox",         title: "static busybox",     at: store::busybox },
    Look { id: "cgroup",          title: "cgroups",            at: cgroups::mode },
    Look { id: "cgroup.cpu",      title: "cpu controller",     at: |here| cgroups::controller(here, "cpu") },
    Look { id: "cgroup.memory",   title: "memory controller",  at: |here| cgroups::controller(here, "memory") },
    Look { id: "cgroup.swap",     title: "swap accounting",    at: cgroups::swap },
    Look { id: "cgroup.pids",     title: "pids controller",    at: |here| cgroups::controller(here, "pids") },
    Look { id: "cgroup.cpuset",   title: "cpuset controller",  at: |here| cgroups::controller(here, "cpuset") },
];

/// What `rubber run` makes when it is told nothing else; without one of these it fails. (For root
/// `userns` is never worse than limited.)
const RUN_NEEDS: &[&str] = &[
    "kernel",
    "userns",
    "ns.mnt",
    "ns.uts",
    "ns.ipc",
    "ns.pid",
    "ns.net",
    "ns.cgroup",
    "proc",
    "pivot_root",
    "store",
];

#[derive(Serialize)]
pub struct Check {
    pub id: &'static str,
    #[serde(skip)]
    pub title: &'static str,
    pub state: State,
    pub found: String,
    pub fix: Option<String>,
}

impl Check {
    /// The finding in few words, with its subject.
    pub fn short(&self) -> String {
        format!("{}: {}", self.title, self.found.split(';').next().unwrap_or_default())
    }
}

#[derive(Serialize)]
pub struct Report {
    pub host: Vec<(&'static str, String)>,
    pub checks: Vec<Check>,
    pub chapters: Vec<Chapter>,
}

impl Report {
    /// The first thing that keeps `rubber run` from working at all.
    pub fn obstacle(&self) -> Option<&Check> {
        RUN_NEEDS.iter().map(|id| self.check(id)).find(|check| check.state == State::No)
    }

    /// Whether an image in the store is not what it was.
    pub fn is_store_damaged(&self) -> bool {
        self.check("images").state == State::No
    }

    /// The check with this id: the tables above and below name only ids that exist.
    fn check(&self, id: &str) -> &Check {
        &self.checks[CHECKS.iter().position(|look| look.id == id).unwrap_or_default()]
    }
}

/// How closely the store's images are looked at.
#[derive(Clone, Copy, PartialEq)]
pub enum Images {
    /// Whether the layers are there, and their blobs are what they were.
    Blobs,
    /// Every file of every layer, too. What is damaged is marked, to be made anew by who gets the image again.
    Files,
}

/// Examines the machine. Nothing of it is changed: what a look tries, it tries in a forked child.
pub fn examine(root: Option<&Path>, images: Images) -> Report {
    // A caller may have us ignore SIGCHLD: then no child's exit status would ever be told.
    // SAFETY: the default action is no handler.
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
    let here = Here::look(root, images);
    let host = here.describe().into_iter().map(|(what, text)| (what, printable(&text))).collect();
    let checks = CHECKS.iter().map(|look| check(look, (look.at)(&here))).collect();
    let mut report = Report { host, checks, chapters: vec![] };
    report.chapters = chapters::all(&report);
    report
}

fn check(look: &Look, finding: Finding) -> Check {
    let Finding { state, found, fix } = finding;
    Check {
        id: look.id,
        title: look.title,
        state,
        found: printable(&found),
        fix: fix.map(|fix| printable(&fix)),
    }
}

/// What a look that needs namespaces finds for someone who has no way to any.
fn powerless(here: &Here) -> Option<Finding> {
    let Power::Nothing(refusal) = &here.power else { return None };
    let finding = userns::refused(refusal);
    Some(no("needs a user namespace", finding.fix.unwrap_or_default()))
}

/// The text with what a terminal obeys or hides escaped: names and files of the machine are not ours.
fn printable(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_that_is_asked_for_exists_once() {
        let known = |id: &str| CHECKS.iter().filter(|look| look.id == id).count();
        for id in RUN_NEEDS.iter().copied().chain(chapters::needs()) {
            assert_eq!(known(id), 1, "{id}");
        }
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\u{9b}c"), "a\\u{1b}[2Jb\\u{9b}c");
    }
}

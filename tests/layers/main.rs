//! Each layer on and off: what differs is what it names, and nothing else.
//!
//! Here are the facts that change from one stage to the next; the files beside
//! this one hold what each layer promises beyond that.

#[path = "../lab/mod.rs"]
mod lab;

mod closed;
mod ids;
mod limits;
mod root;
mod spaces;
mod table;

use lab::{is_root, rubber, say, skip, text};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
};

/// Fails where `RUBBER run` fails, with all it said.
pub fn output_of(command: &mut Command) -> std::process::Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// A container that has said "up", and waits for its stdin to end.
pub struct Running {
    pub child: Child,
    pub said: Vec<String>,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// `script` prints what it likes, then "up", and then should `cat`.
    pub fn start(flags: &[&str], script: &str) -> Running {
        Running::of(&mut rubber(["run"].iter().chain(flags).chain(&["busybox", "sh", "-c", script])))
    }

    pub fn of(command: &mut Command) -> Running {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut running =
            Running { stdout: BufReader::new(child.stdout.take().unwrap()), child, said: vec![] };
        loop {
            let mut line = String::new();
            if running.stdout.read_line(&mut line).unwrap() == 0 {
                let (code, said) = running.end();
                panic!("it ended with {code} before it was up: {said}");
            }
            match line.trim() {
                "up" => return running,
                line => running.said.push(line.to_owned()),
            }
        }
    }

    pub fn write(&mut self, line: &str) {
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    pub fn kill(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Lets it end: its exit code, and all it still said, on stdout and stderr.
    pub fn end(&mut self) -> (i32, String) {
        use std::os::unix::process::ExitStatusExt;
        drop(self.child.stdin.take());
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = self.child.wait().unwrap();
        (status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)), said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What the command sees, as far as it should be the same each time: one line a fact.
fn facts(flags: &[&str]) -> BTreeMap<String, String> {
    let words =
        ["run", "-h", "inside"].iter().chain(flags).chain(&["rubber", "rubber", "facts", "--format", "json"]);
    let output = output_of(&mut rubber(words));
    let all: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let mut facts = BTreeMap::new();
    let mut put = |name: &str, value: String| facts.insert(name.to_owned(), masked(&value));
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        let is_hosts = all["ns"][kind].as_u64() == Some(inode(kind));
        put(&format!("ns.{kind}"), format!("host's: {is_hosts}"));
    }
    let plain = [
        "hostname",
        "domainname",
        "cgroup",
        "limits",
        "uid",
        "gid",
        "groups",
        "uid_map",
        "setgroups",
        "caps",
        "seccomp",
        "no_new_privs",
        "umask",
        "signals",
        "rlimits",
        "oom_score_adj",
        "env",
        "cwd",
        "tty",
        "cpus_allowed",
    ];
    for name in plain {
        put(name, all[name].to_string());
    }
    if !is_root() {
        // Seen only as long as /sys is the host's, cgroups and all.
        put("limits", String::new());
    }
    put("root", all["root"]["fstype"].to_string());
    put("pid", format!("is 1: {}", all["pid"] == 1));
    put("processes", format!("only its own: {}", all["count"]["processes"].as_u64().unwrap() <= 2));
    put(
        "interfaces",
        all["interfaces"]
            .as_array()
            .unwrap()
            .iter()
            .map(|link| format!("{} {} ", link["name"], link["up"]))
            .collect(),
    );
    let mounts = all["mounts"].as_array().unwrap().iter();
    put(
        "mounts",
        mounts
            .map(|mount| format!("{} {} {}\n", mount["target"], mount["fstype"], mount["options"]))
            .collect(),
    );
    put("fds", all["fds"].as_object().unwrap().keys().cloned().collect());
    facts
}

fn inode(kind: &str) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(format!("/proc/self/ns/{kind}")).unwrap().ino()
}

/// Container ids are random.
fn masked(text: &str) -> String {
    let mut parts = text.split("rubber-");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "rubber-ID" + part.get(12..).unwrap_or_default())
}

/// The facts that `layer` may change, on top of those the kernel makes it change for an ordinary user.
fn named_by(layer: &str) -> BTreeSet<&'static str> {
    let groups = limits::layers_with_groups();
    let changes: &[&str] = match layer {
        // Before, the root was a directory somewhere on a mount; now it is one.
        "pivot_root" => &["mounts"],
        "overlay" => &["root", "mounts"],
        "uts" => &["ns.uts", "hostname"],
        // Until then what is in /proc is the host's.
        "pid" => &["ns.pid", "pid", "processes"],
        // A host may have a loopback and nothing else, too.
        "net" if !has_links() => &["ns.net"],
        "net" => &["ns.net", "interfaces"],
        // Version 2 has one group for both, and the earlier one makes it.
        "memory" if limits::is_v2() => &[],
        "cpu" | "memory" if groups.contains(&layer) => &["cgroup"],
        // The caller's groups stay outside, and root's is the only one: as it was, where the caller is in no other.
        "user" if has_ranges() && nix::unistd::getgroups().unwrap() != [nix::unistd::getegid()] => {
            &["groups"]
        }
        "user" if is_root() => &["gid", "groups"],
        // Just one id is mapped, and that is who they are already.
        "capabilities" => &["caps"],
        "seccomp" => &["seccomp"],
        "ipc" => &["ns.ipc", "ns.cgroup", "mounts"],
        _ => &[],
    };
    let mut changes: BTreeSet<_> = changes.iter().copied().collect();
    // The root of a cgroup namespace hides where it is.
    if layer == "ipc" && (!groups.is_empty() || facts_cgroup_moves()) {
        changes.insert("cgroup");
    }
    // And what limits it is in sight from there on. (Of an ordinary user that is not compared: see `facts`.)
    if layer == "ipc" && is_root() && !groups.is_empty() {
        changes.insert("limits");
    }
    changes
}

/// Whether an ordinary user's container has more ids than one.
fn has_ranges() -> bool {
    !is_root() && say(&[], "cat /proc/self/uid_map").lines().count() > 1
}

fn has_links() -> bool {
    std::fs::read_dir("/sys/class/net").is_ok_and(|links| links.count() > 1)
}

/// Whether we ourselves are in some group that a cgroup namespace would hide.
fn facts_cgroup_moves() -> bool {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    own.lines().any(|line| !line.ends_with(":/"))
}

fn assert_only(layer: &str, off: &BTreeMap<String, String>, on: &BTreeMap<String, String>) {
    let mut differ: BTreeSet<_> =
        on.keys().filter(|name| off.get(*name) != on.get(*name)).map(String::as_str).collect();
    let told: Vec<_> =
        differ.iter().map(|name| format!("{name}:\n  off {}\n  on  {}", off[*name], on[*name])).collect();
    // With pids and a network of their own an ordinary user gets a /proc and a /sys, instead of a look at the
    // host's: that may well have other flags.
    if !is_root() && ["pid", "net"].contains(&layer) {
        differ.remove("mounts");
    }
    assert_eq!(differ, named_by(layer), "{layer}: {}", told.join("\n"));
}

/// A group that is not root's shows that the user layer is on; an ordinary user has none to give.
fn user_flags() -> &'static [&'static str] {
    if is_root() { &["-u", "0:1234"] } else { &[] }
}

#[test]
fn layers_change_what_they_name_one_after_the_other() {
    if let Some(why) = cannot_compare() {
        return skip("layers_change_what_they_name_one_after_the_other", &why);
    }
    let stages = [
        "mount",
        "pivot_root",
        "overlay",
        "uts",
        "pid",
        "net",
        "cpu",
        "memory",
        "user",
        "capabilities",
        "seccomp",
        "userns",
        "ipc",
    ];
    let until = |layer: &&str| facts(&[user_flags(), &["--until", layer]].concat());
    let seen: Vec<_> = stages.iter().map(until).collect();
    for (n, layer) in stages.iter().enumerate().skip(1) {
        assert_only(layer, &seen[n - 1], &seen[n]);
    }
}

#[test]
fn layers_change_what_they_name_when_left_out() {
    if let Some(why) = cannot_compare() {
        return skip("layers_change_what_they_name_when_left_out", &why);
    }
    let all = facts(user_flags());
    for layer in ["overlay", "uts", "pid", "net", "cpu", "memory", "user", "capabilities", "seccomp", "ipc"] {
        let off = facts(&[user_flags(), &["--without", layer]].concat());
        // Version 2 has one group for both: either layer makes it.
        if ["cpu", "memory"].contains(&layer) && off == all {
            continue;
        }
        let mut on = all.clone();
        if layer == "overlay" {
            // Without it the root is the copy of the image, and on the store's disk.
            on.insert("mounts".into(), String::new());
        }
        // Cgroups are hidden behind the root of a cgroup namespace.
        if ["cpu", "memory"].contains(&layer) {
            assert!(
                // What it shows of its groups are mounts.
                off.iter().all(|(name, value)| {
                    ["cgroup", "limits", "mounts"].contains(&name.as_str()) || all[name] == *value
                }),
                "{layer}"
            );
            continue;
        }
        assert_only(layer, &off, &on);
    }
}

/// Why the facts of a container cannot be compared here.
fn cannot_compare() -> Option<String> {
    let overlay = "the store is on an overlay, so every root is one (RUBBER_TEST_DIR names another place)";
    lab_cannot_run().or(lab::on_overlay().then(|| overlay.into()))
}

/// Why no container runs here at all: an ordinary user where user namespaces are forbidden.
pub fn lab_cannot_run() -> Option<String> {
    let output = lab::run(&[], "true");
    (!output.status.success()).then(|| text(&output.stderr).trim().to_owned())
}

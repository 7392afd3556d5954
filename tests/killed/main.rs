//! What is left of a container: nothing when it ends, whatever it did, and when rubber is killed
//! nothing that the next command does not take away. All of it is told by one store of its own.

#[path = "../lab/mod.rs"]
mod lab;

mod clean;
mod ends;
mod kills;

use lab::{RUBBER, code, is_root, text};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// The tests of this file take stock of the host, so they take turns.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // What a failed test has left shall not fail the next one too.
    clean();
    let _ = fs::remove_dir_all(containers());
    assert!(run(&[], "true").output().unwrap().status.success());
    turn
}

pub fn store() -> PathBuf {
    lab::scratch().join("killed")
}

pub fn containers() -> PathBuf {
    store().join("containers")
}

pub fn rubber<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(words: I) -> Command {
    let mut command = Command::new(RUBBER);
    command.arg("--root").arg(store()).args(words).stdin(Stdio::null());
    command
}

pub fn run(flags: &[&str], script: &str) -> Command {
    rubber([&["run"], flags, &["busybox", "sh", "-c", script]].concat())
}

pub fn clean() -> Output {
    rubber(["clean"]).output().unwrap()
}

/// Limits make cgroups, where there is a place for them.
pub fn limits() -> &'static [&'static str] {
    let flags = &["-m", "64m", "--cpus", "1", "--pids-limit", "100"];
    static HAS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    match HAS.get_or_init(|| run(flags, "true").output().unwrap().status.success()) {
        true => flags,
        false => &[],
    }
}

/// Processes that belong to a container of our store: rubber's own have its name on their command
/// line, those inside have it in their mount table or as their root. A namespace lives as long as
/// a process in it (or a mount or descriptor of it, which are processes' too).
pub fn processes() -> BTreeSet<String> {
    let (mark, inside) = (store(), containers());
    let (mark, inside) = (mark.to_str().unwrap(), inside.to_str().unwrap());
    let named = |dir: &Path| -> bool {
        let has =
            |file: &str, mark: &str| fs::read(dir.join(file)).is_ok_and(|bytes| text(&bytes).contains(mark));
        let root = || fs::read_link(dir.join("root")).is_ok_and(|root| root.starts_with(inside));
        has("cmdline", mark) || root() || has("mountinfo", inside)
    };
    let ours = std::process::id().to_string();
    let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let pids = all.filter(|dir| {
        dir.file_name().is_some_and(|name| {
            let name = name.to_str().unwrap_or_default();
            name.parse::<u32>().is_ok() && name != ours
        })
    });
    let state = |dir: &Path| fs::read_to_string(dir.join("stat")).unwrap_or_default();
    pids.filter(|dir| named(dir)).map(|dir| state(&dir)).filter(|stat| !stat.is_empty()).collect()
}

/// Waits for them to go: the kernel kills a pid namespace one by one.
pub fn assert_gone(what: &str) {
    let begin = Instant::now();
    loop {
        let left = processes();
        if left.is_empty() {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(2), "{what}: still there after 2 s: {left:#?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What lies in the store for containers, and must not when none runs.
pub fn left() -> BTreeSet<String> {
    let entries = fs::read_dir(containers()).map(|dir| dir.flatten().collect::<Vec<_>>()).unwrap_or_default();
    entries.iter().map(|entry| text(entry.file_name().as_encoded_bytes())).collect()
}

pub fn assert_nothing(what: &str) {
    assert_gone(what);
    assert_eq!(left(), BTreeSet::new(), "{what}");
}

/// The host as it was. Somebody else's containers may come and go meanwhile: only what was not
/// there before and stays is ours.
pub fn assert_balanced(before: &lab::Ledger) {
    let begin = Instant::now();
    let mut more: Option<BTreeSet<String>> = None;
    loop {
        let now = lab::ledger();
        let list = |ledger: &lab::Ledger| -> BTreeSet<String> {
            let paths = ledger.cgroups.iter().map(|path| path.display().to_string());
            let lists = [&ledger.mounts, &ledger.links, &ledger.processes];
            lists.into_iter().flatten().cloned().chain(paths).collect()
        };
        let new: BTreeSet<_> = list(&now).difference(&list(before)).cloned().collect();
        let stayed = match more {
            Some(more) => new.intersection(&more).cloned().collect(),
            None => new,
        };
        if stayed.is_empty() {
            assert_eq!(now.hostname, before.hostname);
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "left on the host: {stayed:#?}");
        more = Some(stayed);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A rubber of ours, dead at the latest when the test fails.
pub struct Host(pub Child);

impl Host {
    fn start(command: &mut Command) -> Host {
        Host(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Kills it and waits for it to be dead, not for what it had started.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn descendant(&self, name: &str) -> Option<i32> {
        lab::descendant(self.0.id(), name)
    }

    fn wait_for(&self, name: &str) -> i32 {
        lab::wait_for_descendant(self.0.id(), name)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn signal(pid: i32, signal: i32) {
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "kill({pid}, {signal})");
}

/// Takes turns in who sweeps: `rubber clean`, or the next run. A process that is just ending has no
/// command line any more, but may have its descriptors (and so its record's lock) for a moment.
pub fn sweep(turn: usize, what: &str) {
    let begin = Instant::now();
    loop {
        let output = match turn % 2 {
            0 => clean(),
            _ => run(&["--until", "chroot"], "true").output().unwrap(),
        };
        assert!(output.status.success(), "{what}: {output:?}");
        // A process that is no more to be seen may hold the record for one more moment.
        if left().is_empty() {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(2), "{what}: {:?} not swept by {output:?}", left());
    }
}

/// The ways to run that leave different things behind.
pub fn ways() -> Vec<(&'static str, Vec<&'static str>)> {
    let with = |more: &[&'static str]| limits().iter().chain(more).copied().collect::<Vec<_>>();
    vec![
        ("all layers", with(&[])),
        ("--init", with(&["--init"])),
        ("--without pid", with(&["--without", "pid"])),
        ("--until pivot_root", vec!["--until", "pivot_root"]),
        ("--until chroot", vec!["--until", "chroot"]),
    ]
}

/// A container that was killed while it ran, and its id.
pub fn dead_container(script: &str) -> String {
    clean();
    let mut host = Host::start(&mut run(limits(), &format!("{script}; exec sleep 300")));
    host.wait_for("sleep");
    host.0.kill().unwrap();
    host.0.wait().unwrap();
    assert_gone("a dead container");
    let id = left().into_iter().find_map(|name| name.strip_suffix(".json").map(str::to_owned));
    id.expect("a killed rubber leaves its record")
}

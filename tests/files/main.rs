//! What can be done to a container while it runs, and with its files then and afterwards. Each test has a store of
//! its own, and holds at its end that nothing else is left anywhere.

#[path = "../lab/mod.rs"]
mod lab;

mod bad;
mod changes;
mod cp;
mod hostile;
mod life;

use lab::{RUBBER, code, text};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

pub struct Place {
    store: PathBuf,
    /// A directory of the host's to copy to and from.
    pub host: PathBuf,
}

impl Place {
    pub fn of_this_test() -> Place {
        let name = std::thread::current().name().unwrap_or("?").replace("::", "-");
        let store = lab::scratch().join("files").join(name);
        let host = store.join("host");
        let place = Place { store, host };
        fs::create_dir_all(&place.host).unwrap();
        place.remove_all();
        let _ = fs::remove_dir_all(&place.host);
        fs::create_dir_all(&place.host).unwrap();
        place
    }

    pub fn rubber<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, words: I) -> Command {
        let mut command = Command::new(RUBBER);
        command.arg("--root").arg(self.store.join("store")).args(words);
        command.stdin(Stdio::null()).current_dir(&self.host);
        command
    }

    pub fn output(&self, words: &[&str]) -> Output {
        let rubber = self.rubber(words);
        let mut command = Command::new("timeout");
        command.arg("60").arg(rubber.get_program()).args(rubber.get_args());
        command.stdin(Stdio::null()).current_dir(&self.host).output().unwrap()
    }

    /// What it printed; it must have ended well.
    pub fn say(&self, words: &[&str]) -> String {
        let output = self.output(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        text(&output.stdout).trim().to_owned()
    }

    /// What it complained of; its exit code must be 125.
    pub fn fails(&self, words: &[&str]) -> String {
        let output = self.output(words);
        assert_eq!(code(&output), 125, "{words:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{words:?}: {output:?}");
        text(&output.stderr)
    }

    /// Runs `script` in the background; returns when it has come to its end, and sleeps.
    pub fn start(&self, name: &str, flags: &[&str], script: &str) -> String {
        let script = format!("{script}\necho ready; exec sleep 1000");
        let words = [&["run", "-d", "--name", name], flags, &["busybox", "sh", "-c", &script]].concat();
        let id = self.say(&words);
        let begin = Instant::now();
        while !self.say(&["logs", name]).contains("ready") {
            assert!(
                begin.elapsed().as_secs() < 20,
                "{name} is not ready: {:?}",
                self.output(&["logs", name])
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        id
    }

    pub fn end(&self, name: &str) {
        self.say(&["stop", "-t", "0", name]);
    }

    pub fn state(&self, name: &str) -> String {
        let all: serde_json::Value =
            serde_json::from_str(&self.say(&["ps", "-a", "--format", "json"])).unwrap();
        let all = all.as_array().unwrap();
        let found = all.iter().find(|container| container["name"] == name);
        found.map_or("none".into(), |container| container["state"].as_str().unwrap().to_owned())
    }

    pub fn write(&self, name: &str, content: &str) {
        let file = self.host.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.host.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn remove_all(&self) {
        let ids = text(&self.output(&["ps", "-aq"]).stdout);
        for id in ids.lines() {
            self.output(&["rm", "-f", id]);
        }
    }

    /// Nothing is left: of containers, in the store, and on the host.
    pub fn balance(&self) {
        let ids = self.say(&["ps", "-aq"]);
        self.remove_all();
        let list = |dir: &str| -> Vec<_> {
            let dir = fs::read_dir(self.store.join("store").join(dir));
            dir.map(|dir| dir.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
        };
        assert_eq!((list("containers"), list("tmp")), (vec![], vec![]));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.store.to_str().unwrap()), "{mounts}");
        for tree in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            for id in ids.lines() {
                let group = tree.path().join(format!("rubber-{id}"));
                assert!(!group.exists(), "{group:?}");
            }
        }
        self.nobody_is_left();
    }

    /// A guardian, a copier or a container's own: all have the store's name on their command line.
    fn nobody_is_left(&self) {
        let mark = self.store.to_str().unwrap();
        let is_ours =
            |dir: &Path| fs::read(dir.join("cmdline")).is_ok_and(|words| text(&words).contains(mark));
        let begin = Instant::now();
        loop {
            let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
            let left: Vec<_> = all.filter(|dir| is_ours(dir)).collect();
            if left.is_empty() {
                return;
            }
            assert!(begin.elapsed().as_secs() < 5, "still there: {left:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether there are more users inside than root.
    pub fn has_users(&self) -> bool {
        self.output(&["run", "busybox", "chown", "1:1", "/etc"]).status.success()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.remove_all();
    }
}

/// Whether what a container writes can be looked at from outside, and afterwards.
pub fn upper_is_on_disk() -> bool {
    let on_disk = !lab::on_overlay();
    if !on_disk {
        lab::skip_this("the store is on an overlay, and what a container writes in memory");
    }
    on_disk
}

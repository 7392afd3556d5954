//! Containers that go on by themselves: in the background, looked at, joined, asked to end, removed.

#[path = "../lab/mod.rs"]
mod lab;
#[path = "../lab/pty.rs"]
mod pty;

mod anonymous;
mod background;
mod joined;
mod keys;
mod killed;
mod lost;
mod many;
mod printed;
mod screens;
mod watched;

use lab::{code, text};
use std::{
    path::PathBuf,
    process::{Command, Output},
    thread::sleep,
    time::{Duration, Instant},
};

/// A store of one test's own, which is empty of containers when it ends, however it ends.
pub struct Place {
    root: PathBuf,
}

impl Place {
    pub fn new(name: &str) -> Place {
        let place = Place { root: lab::scratch().join("life").join(name) };
        place.remove_all();
        // So that no test meets the lines that tell of its making.
        assert!(place.run(&["run", "busybox", "true"]).status.success());
        place
    }

    pub fn rubber(&self, words: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["-k", "5", "120", lab::RUBBER, "--root"]).arg(&self.root).args(words);
        command.stdin(std::process::Stdio::null());
        command
    }

    pub fn run(&self, words: &[&str]) -> Output {
        self.rubber(words).output().unwrap()
    }

    /// What it printed, without the line's end; it must have ended well.
    pub fn say(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        text(&output.stdout).trim_end().to_owned()
    }

    /// The error it must end with.
    pub fn fails(&self, words: &[&str], expected: i32) -> String {
        let output = self.run(words);
        assert_eq!(code(&output), expected, "{words:?}: {output:?}");
        text(&output.stderr)
    }

    /// What the store has of containers.
    pub fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root.join("containers")).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| text(entry.file_name().as_encoded_bytes())).collect();
        names.sort();
        names
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join("containers").join(name)
    }

    /// `ps -a` as JSON.
    pub fn list(&self) -> Vec<serde_json::Value> {
        serde_json::from_str(&self.say(&["ps", "-a", "--format", "json"])).unwrap()
    }

    pub fn inspect(&self, name: &str) -> serde_json::Value {
        let all: serde_json::Value = serde_json::from_str(&self.say(&["inspect", name])).unwrap();
        all[0].clone()
    }

    fn remove_all(&self) {
        let ids = text(&self.run(&["ps", "-aq"]).stdout);
        let ids: Vec<_> = ids.lines().collect();
        if !ids.is_empty() {
            self.run(&[&["rm", "-f"], &ids[..]].concat());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.remove_all();
    }
}

/// The rubber beside the container whose first process is `pid`.
pub fn supervisor(pid: i32) -> i32 {
    parent(pid)
}

pub fn parent(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap()
}

/// Until `done` holds.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{what} did not come to be");
        sleep(Duration::from_millis(10));
    }
}

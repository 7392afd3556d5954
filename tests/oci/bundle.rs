//! A bundle made by hand: a busybox, and a config.json.

use crate::lab;
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

static NUMBER: AtomicUsize = AtomicUsize::new(0);

pub struct Bundle {
    pub dir: PathBuf,
    name: String,
}

impl Bundle {
    /// None where nobody but root could start it.
    pub fn new() -> Option<Bundle> {
        lab::is_root().then(|| Bundle::with(&["spec"]))
    }

    /// One that an ordinary user can start.
    pub fn rootless() -> Bundle {
        Bundle::with(&["spec", "--rootless"])
    }

    fn with(spec: &[&str]) -> Bundle {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("rubber-oci-{}-{number}", std::process::id());
        let bundle = Bundle { dir: lab::scratch().join(&name), name };
        fs::create_dir_all(&bundle.dir).unwrap();
        root(&bundle.root());
        symlink(lab::RUBBER, bundle.dir.join("rubber-oci")).unwrap();
        bundle.ok(spec);
        bundle.edit(|config| {
            config["process"]["terminal"] = json!(false);
            config["root"]["readonly"] = json!(false);
            config["annotations"] = json!({ "a": "b" });
            config["linux"]["cgroupsPath"] = json!(format!("/{}", bundle.name));
        });
        bundle
    }

    pub fn root(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    pub fn read(&self) -> Value {
        serde_json::from_slice(&fs::read(self.dir.join("config.json")).unwrap()).unwrap()
    }

    pub fn write(&self, config: &Value) {
        fs::write(self.dir.join("config.json"), config.to_string()).unwrap();
    }

    pub fn edit(&self, change: impl FnOnce(&mut Value)) {
        let mut config = self.read();
        change(&mut config);
        self.write(&config);
    }

    pub fn command(&self, script: &str) {
        self.edit(|config| config["process"]["args"] = json!(["sh", "-c", script]));
    }

    /// Its state is in the bundle, too, where no other test looks.
    pub fn rubber(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.dir.join("rubber-oci"));
        command.arg("--root").arg(self.dir.join("states")).args(words).current_dir(&self.dir);
        command.stdin(Stdio::null());
        command
    }

    /// What it prints. Not by a pipe: what stays in the background would keep it open.
    pub fn ok(&self, words: &[&str]) -> String {
        let (status, out, err) = self.end(words);
        assert_eq!(status, 0, "{words:?}: {out}{err}");
        out
    }

    /// What it says on stderr, as one line and its advice.
    pub fn fails(&self, words: &[&str]) -> String {
        let (status, out, err) = self.end(words);
        assert!(status != 0, "{words:?}: {out}{err}");
        assert!(err.starts_with("rubber-oci: ") && !err.contains("panicked"), "{words:?}: {err}");
        err.trim_end().into()
    }

    fn end(&self, words: &[&str]) -> (i32, String, String) {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let file = |name: &str| self.dir.join(format!("{name}-{number}"));
        let open = |name: &str| fs::File::create(file(name)).unwrap();
        let mut command = self.rubber(words);
        let status = command.stdout(open("out")).stderr(open("err")).status().unwrap();
        let read = |name: &str| {
            let text = fs::read_to_string(file(name)).unwrap();
            fs::remove_file(file(name)).unwrap();
            text
        };
        (status.code().unwrap_or(-1), read("out"), read("err"))
    }

    pub fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.ok(&["state", id])).unwrap()
    }

    pub fn group(&self) -> &str {
        &self.name
    }

    pub fn wait_for(&self, what: &str, there: impl Fn() -> bool) {
        let begin = Instant::now();
        while !there() {
            assert!(begin.elapsed() < Duration::from_secs(60), "{what} does not come");
            sleep(Duration::from_millis(10));
        }
    }

    pub fn nothing_is_left(&self, id: &str) {
        assert!(!self.dir.join("states").join(id).exists());
        let trees = fs::read_dir("/sys/fs/cgroup").unwrap().map(|entry| entry.unwrap().path());
        let left: Vec<_> =
            trees.chain([PathBuf::from("/sys/fs/cgroup")]).map(|tree| tree.join(&self.name)).collect();
        assert!(left.iter().all(|dir| !dir.exists()), "{left:?}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&*self.dir.to_string_lossy()), "{mounts}");
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let states = fs::read_dir(self.dir.join("states")).into_iter().flatten().flatten();
        for id in states.map(|entry| entry.file_name()) {
            let _ = self.rubber(&["delete", "--force"]).arg(id).stderr(Stdio::null()).status();
        }
        remove_groups(&self.name);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A root filesystem of nothing but busybox.
pub fn root(dir: &Path) {
    for name in ["bin", "dev", "etc", "home/guest", "proc", "run", "sys", "tmp"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let busybox = std::env::split_paths(&path).map(|dir| dir.join("busybox")).find(|file| file.is_file());
    lab::copy_program(busybox.expect("a static busybox"), dir.join("bin/busybox"));
    let list = std::process::Command::new(dir.join("bin/busybox")).arg("--list").output().unwrap();
    for name in lab::text(&list.stdout).lines().filter(|name| *name != "busybox") {
        symlink("busybox", dir.join("bin").join(name)).unwrap();
    }
    fs::write(dir.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nguest:x:1000:1000::/home/guest:/bin/sh\n")
        .unwrap();
    fs::write(dir.join("etc/group"), "root:x:0:\nguest:x:1000:\n").unwrap();
}

/// Removes a cgroup of the tests' own in all trees, if podman has left it.
pub fn remove_groups(name: &str) {
    let trees = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for tree in trees.chain([PathBuf::from("/sys/fs/cgroup")]) {
        remove_below(&tree.join(name.trim_start_matches('/')));
    }
}

fn remove_below(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove_below(&entry.path());
    }
    let _ = fs::remove_dir(dir);
}

/// Skips where containers from bundles cannot be made.
macro_rules! bundle {
    () => {
        match $crate::bundle::Bundle::new() {
            Some(bundle) => bundle,
            None => return $crate::lab::skip_this("containers from bundles are root's so far"),
        }
    };
}
pub(crate) use bundle;

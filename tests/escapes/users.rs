//! Two users of one machine: neither sees, names or touches what is the other's.

use crate::lab;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

const RUBBER: &str = "rubber";
const NAMES: [&str; 2] = ["rb-escapes-1", "rb-escapes-2"];

/// A made user, with a home and a directory for what runs.
struct User {
    name: String,
    home: PathBuf,
    runtime: PathBuf,
}

impl User {
    fn make(name: &str, place: &Path) -> User {
        let home = place.join(name);
        let mut add = Command::new("useradd");
        let added = add.args(["--no-create-home", "--home-dir"]).arg(&home).arg(name).status();
        assert!(added.unwrap().success(), "useradd {name}");
        let runtime = home.join("runtime");
        fs::create_dir_all(&runtime).unwrap();
        let owned = Command::new("chown").args(["-R", &format!("{name}:")]).arg(&home).status();
        assert!(owned.unwrap().success());
        // As a home often is: others may enter, and look.
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
        User { name: name.into(), home, runtime }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &self.name, "--regid", &self.name, "--init-groups", "--"]).args(words);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        command.env("HOME", &self.home).env("XDG_RUNTIME_DIR", &self.runtime);
        command.current_dir("/").stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn store(&self) -> PathBuf {
        self.home.join(".local/share/rubber")
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let rubber = self.home.with_file_name(RUBBER);
        self.run(&[rubber.to_str().unwrap(), "rm", "-f", "mine"]);
        let removed = Command::new("userdel").arg(&self.name).stderr(Stdio::null()).status();
        assert!(removed.unwrap().success() || std::thread::panicking(), "userdel {}", self.name);
    }
}

#[test]
fn users_cannot_touch_each_others_containers() {
    if !lab::is_root() {
        return lab::skip_this("only root can make two users");
    }
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let rubber = place.path().join(RUBBER);
    lab::copy_program(lab::RUBBER, &rubber);
    let rubber = rubber.to_str().unwrap();
    let (one, two) = (User::make(NAMES[0], place.path()), User::make(NAMES[1], place.path()));
    let name = ["--name", "mine", "busybox", "sh", "-c", "echo secret >/tmp/secret; sleep 1000"];
    let started = one.run(&[&[rubber, "run", "-d"][..], &name].concat());
    assert!(started.status.success(), "{started:?}");
    let pid = pid_of(&one, rubber);
    // Nothing of it is anybody's business, and nothing is where all may write.
    let store = fs::metadata(one.store()).unwrap();
    assert_eq!(store.mode() & 0o7777, 0o700);
    for words in [&["ps", "-a", "-q"][..], &["images", "-q"]] {
        let seen = two.run(&[&[rubber][..], words].concat());
        assert_eq!(lab::text(&seen.stdout), "", "{words:?}");
    }
    // By its name, by the other's store, and by what the kernel has of it.
    let store = one.store().display().to_string();
    for words in [
        &["exec", "mine", "cat", "/tmp/secret"][..],
        &["logs", "mine"],
        &["stop", "mine"],
        &["rm", "-f", "mine"],
        &["cp", "mine:/tmp/secret", "-"],
        &["inspect", "mine"],
    ] {
        for root in [&[][..], &["--root", &store]] {
            let tried = two.run(&[&[rubber], root, words].concat());
            // There is nothing to remove where there is no such container.
            assert!(words[0] == "rm" || !tried.status.success(), "{root:?} {words:?}: {tried:?}");
            assert!(!lab::text(&tried.stdout).contains("secret"), "{words:?}: {tried:?}");
            assert!(!lab::text(&tried.stderr).contains("panicked"), "{words:?}: {tried:?}");
        }
    }
    let root = format!("/proc/{pid}/root/tmp/secret");
    for words in
        [&["cat", &root][..], &["ls", &store], &["kill", &pid], &["nsenter", "-t", &pid, "-U", "true"]]
    {
        assert!(!two.run(words).status.success(), "{words:?}");
    }
    // It is still there, and its own user's.
    let read = one.run(&[rubber, "exec", "mine", "cat", "/tmp/secret"]);
    assert_eq!(lab::text(&read.stdout), "secret\n", "{read:?}");
    let removed = one.run(&[rubber, "rm", "-f", "mine"]);
    assert!(removed.status.success(), "{removed:?}");
    wait_until_gone(&pid);
}

fn pid_of(user: &User, rubber: &str) -> String {
    let found = user.run(&[rubber, "inspect", "mine"]);
    let found: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    found.pointer("/0/state/pid").expect("a container that runs").to_string()
}

fn wait_until_gone(pid: &str) {
    let begin = Instant::now();
    while Path::new("/proc").join(pid).exists() {
        assert!(begin.elapsed().as_secs() < 10, "{pid} goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A directory that was there may be open to all: what is made in it is not. (A set-user-ID program in somebody's
/// image or volume would be one of this machine's, for whoever can reach it.)
#[test]
fn users_find_nothing_in_a_store_that_was_there() {
    let place = tempfile::tempdir_in(lab::scratch()).unwrap();
    let store = place.path().join("store");
    fs::create_dir(&store).unwrap();
    fs::set_permissions(&store, fs::Permissions::from_mode(0o755)).unwrap();
    let rubber = |words: &[&str]| {
        let mut rubber = Command::new(lab::RUBBER);
        let done = rubber.arg("--root").arg(&store).args(words).stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{words:?}: {done:?}");
    };
    rubber(&["run", "--name", "ended", "-v", "data:/data", "busybox", "true"]);
    for entry in fs::read_dir(&store).unwrap().flatten() {
        let mode = entry.metadata().unwrap().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", entry.path().display());
    }
    rubber(&["rm", "ended"]);
}

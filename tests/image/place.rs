//! A place for one test: a temporary directory with a store in it, and the binary.

use super::lab::skip;
use nix::unistd::geteuid;
use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};
use tempfile::TempDir;

/// Who has no power of its own here, when the tests run as root.
pub const NOBODY: u32 = 65534;

pub struct Place {
    pub directory: TempDir,
    store: PathBuf,
    binary: PathBuf,
    user: Option<u32>,
}

impl Place {
    pub fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        Place { directory, store, binary: env!("CARGO_BIN_EXE_rubber").into(), user: None }
    }

    /// The same for somebody without privileges: us, or nobody when we are root.
    pub fn of_ordinary_user() -> Place {
        let mut place = Place::new();
        if geteuid().is_root() {
            // The build directory may not be open to everybody.
            let binary = place.path("rubber");
            crate::lab::copy_program(&place.binary, &binary);
            fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
            std::os::unix::fs::chown(place.directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            place.binary = binary;
            place.user = Some(NOBODY);
        }
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.store.clone()
    }

    /// The same place with its store at `path`.
    pub fn with_store(mut self, path: &str) -> Place {
        self.store = self.path(path);
        self
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--root").arg(self.store()).args(arguments).current_dir(self.directory.path());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    pub fn rubber(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).stdin(Stdio::null()).output().unwrap())
    }

    /// Imports these bytes from stdin under the name `it`.
    pub fn import(&self, archive: &[u8]) -> Ended {
        self.import_limited(archive, &[])
    }

    /// The same with these variables set.
    pub fn import_limited(&self, archive: &[u8], limits: &[(&str, &str)]) -> Ended {
        let mut command = self.command(&["import", "-", "it"]);
        command.envs(limits.iter().copied());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(archive); // it may refuse before it has read all
        Ended::of(child.wait_with_output().unwrap())
    }

    /// Imports what `write` writes, and returns with it how many KiB of memory that took at its peak.
    pub fn import_measured(&self, write: impl Fn(&mut dyn Write) -> std::io::Result<()>) -> (Ended, i64) {
        let mut command = self.command(&["import", "-", "it"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let peak = std::thread::spawn(move || highest(pid));
        let mut input = std::io::BufWriter::with_capacity(1 << 16, child.stdin.take().unwrap());
        let _ = write(&mut input).and_then(|()| input.flush());
        drop(input);
        let (mut out, mut err) = (String::new(), String::new());
        child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let peak = peak.join().unwrap();
        (Ended { code: child.wait().unwrap().code(), out, err }, peak)
    }

    /// Runs a shell script in a mount namespace of its own, where `$RUBBER` and `$STORE` are set.
    /// `None` when that takes privileges we lack.
    pub fn in_mount_namespace(&self, test: &str, script: &str) -> Option<Ended> {
        let possible =
            Command::new("unshare").args(["-m", "true"]).output().is_ok_and(|o| o.status.success());
        if !possible {
            skip(test, "unshare -m takes root");
            return None;
        }
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-ec", script]).env("RUBBER", &self.binary).env("STORE", self.store());
        Some(Ended::of(command.current_dir(self.directory.path()).output().unwrap()))
    }

    pub fn layers(&self) -> Vec<PathBuf> {
        entries(&self.store().join("layers"))
    }

    /// The only layer there is.
    pub fn layer(&self) -> PathBuf {
        let layers = self.layers();
        assert_eq!(layers.len(), 1, "{layers:?}");
        layers[0].clone()
    }

    /// Neither an image nor a layer nor anything half made.
    pub fn assert_empty_store(&self) {
        for part in ["images", "layers", "tmp"] {
            assert_eq!(entries(&self.store().join(part)), [] as [PathBuf; 0], "in {part}");
        }
    }
}

impl Drop for Place {
    /// An image may have directories that forbid their owner to clear up.
    fn drop(&mut self) {
        let _ = Command::new("chmod").args(["-R", "u+rwX"]).arg(self.directory.path()).output();
    }
}

pub fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// How a command ended and what it said.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    pub fn of(output: Output) -> Ended {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    pub fn good(self) -> Ended {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self
    }

    /// Refused in one line, by rubber, with these words in it.
    #[track_caller]
    pub fn refused(self, words: &str) {
        assert_eq!(self.code, Some(125), "{}{}", self.out, self.err);
        // What had come until then was told as it came.
        let told: Vec<_> = self.err.lines().filter(|line| !line.starts_with("rubber: layer ")).collect();
        let [told] = told[..] else { panic!("not one line: {}", self.err) };
        assert!(told.starts_with("rubber: ") && told.contains(words), "no {words:?} in {told}");
        assert_eq!(self.out, "");
    }
}

/// The most memory that process `pid` had, until it ends, in KiB. (Not as wait4(2) tells it: that counts what this
/// program had, which the process was before its execve.)
fn highest(pid: u32) -> i64 {
    let mut peak = 0;
    loop {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) else { return peak };
        peak = line.trim().trim_end_matches(" kB").parse().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

//! What the black-box tests share: the binary, a store, skips that are loud, and
//! a ledger of the host that must balance.
#![allow(dead_code)]

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

/// The binary under test.
pub const RUBBER: &str = env!("CARGO_BIN_EXE_rubber");

/// A directory for this user's tests that stays from run to run (images are made once).
pub fn scratch() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let uid = nix::unistd::geteuid();
        let base = match std::env::var_os("RUBBER_TEST_DIR") {
            Some(dir) => PathBuf::from(dir),
            None => PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
        };
        let dir = base.join(format!("uid-{uid}"));
        let private = |dir: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        if private(&dir).is_ok() && fs::metadata(&dir).is_ok_and(|about| about.uid() == uid.as_raw()) {
            return dir;
        }
        let dir = std::env::temp_dir().join(format!("rubber-tests-{uid}"));
        private(&dir).expect("a directory for tests");
        dir
    })
}

pub fn store() -> PathBuf {
    scratch().join("store")
}

/// `rubber` with the tests' store, no terminal on stdin, and `words` behind it.
pub fn rubber<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(words: I) -> Command {
    let mut command = Command::new(RUBBER);
    command.arg("--root").arg(store()).args(words).stdin(Stdio::null());
    command
}

/// Runs `rubber run FLAGS busybox sh -c SCRIPT`.
pub fn run(flags: &[&str], script: &str) -> Output {
    rubber([&["run"], flags, &["busybox", "sh", "-c", script]].concat()).output().expect("rubber starts")
}

/// The same, and what it printed; it must have ended well.
pub fn say(flags: &[&str], script: &str) -> String {
    let output = run(flags, script);
    assert!(output.status.success(), "{flags:?} {script:?}: {output:?}");
    text(&output.stdout).trim().to_owned()
}

/// Whether the store is on an overlay itself, which can be no upper layer of another.
pub fn on_overlay() -> bool {
    use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};
    statfs(scratch()).is_ok_and(|about| about.filesystem_type() == OVERLAYFS_SUPER_MAGIC)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The exit code as a shell has it.
pub fn code(output: &Output) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0))
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Whether a part of what can be tried will do, as everything is slow here.
pub fn few() -> bool {
    std::env::var_os("RUBBER_TEST_FEW").is_some_and(|value| value == "1")
}

/// Whether there is a cargo that works: an ordinary user may find one that is root's.
pub fn has_cargo() -> bool {
    let tried = Command::new("cargo").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|ended| ended.success())
}

/// Says so on stderr (not with eprintln, which the harness hides of a test that passes), and is an
/// error where every skip must be declared: with `RUBBER_TEST_STRICT=1`, where tests/skips.txt does
/// not have the test's name with the name of this lane (`RUBBER_TEST_LANE`) behind it.
pub fn skip(test: &str, why: &str) {
    note(&format!("skipped: {test}: {why}"));
    let lane = std::env::var("RUBBER_TEST_LANE").unwrap_or_default();
    let declared = include_str!("../skips.txt").lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some(test) && words.any(|word| word == lane)
    });
    let strict = std::env::var_os("RUBBER_TEST_STRICT").is_some_and(|value| value == "1");
    assert!(!strict || declared, "{test} was skipped ({why}) and is not in tests/skips.txt");
}

/// The same for the test that is running: the harness names its thread after it.
pub fn skip_this(why: &str) {
    skip(std::thread::current().name().unwrap_or("?"), why);
}

/// On stderr, where the harness does not hide it.
pub fn note(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Copies a program that will be run. Not in this process: another thread's fork would have the copy open
/// for writing for a moment, and nobody can execute it then (ETXTBSY).
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let copied = Command::new("cp").arg("--").arg(from.as_ref()).arg(to.as_ref()).status().unwrap();
    assert!(copied.success(), "cp {} {}", from.as_ref().display(), to.as_ref().display());
}

/// The process called `name` among the descendants of `pid`.
pub fn descendant(pid: u32, name: &str) -> Option<i32> {
    let mut family = vec![pid.to_string()];
    while let Some(pid) = family.pop() {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let comm = fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            if comm.trim() == name {
                return child.parse().ok();
            }
            family.push(child.to_owned());
        }
    }
    None
}

/// The memory of a process in KiB, what it shares with others in parts: Pss of proc_pid_smaps(5).
pub fn share_of_memory(pid: i32) -> u32 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    pss.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Waits until it is there.
pub fn wait_for_descendant(pid: u32, name: &str) -> i32 {
    let begin = std::time::Instant::now();
    loop {
        if let Some(pid) = descendant(pid, name) {
            return pid;
        }
        assert!(begin.elapsed().as_secs() < 20, "no {name} came to be");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// What there is on the host that a container could leave behind.
#[derive(Debug, PartialEq)]
pub struct Ledger {
    pub mounts: BTreeSet<String>,
    pub cgroups: BTreeSet<PathBuf>,
    pub links: BTreeSet<String>,
    pub processes: BTreeSet<String>,
    pub hostname: String,
    pub containers: BTreeSet<PathBuf>,
}

/// Takes stock. Other containers of the same user must not run meanwhile: keep
/// such a test alone in its file.
pub fn ledger() -> Ledger {
    let names = |dir: &Path| -> BTreeSet<PathBuf> {
        fs::read_dir(dir).map(|dir| dir.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
    };
    let is_ours = |dir: &PathBuf| {
        dir.file_name().is_some_and(|name| text(name.as_encoded_bytes()).starts_with("rubber-"))
    };
    let trees = names(Path::new("/sys/fs/cgroup"));
    let processes = names(Path::new("/proc"))
        .into_iter()
        .filter_map(|dir| Some((dir.clone(), fs::read_to_string(dir.join("comm")).ok()?)))
        .filter(|(_, comm)| comm.starts_with("rubber"))
        .map(|(dir, comm)| format!("{} {}", dir.display(), comm.trim()))
        .collect();
    Ledger {
        mounts: fs::read_to_string("/proc/self/mountinfo").unwrap().lines().map(str::to_owned).collect(),
        cgroups: trees.iter().flat_map(|tree| names(tree)).chain(trees.clone()).filter(is_ours).collect(),
        links: names(Path::new("/sys/class/net")).iter().map(|path| path.display().to_string()).collect(),
        processes,
        hostname: fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
        containers: names(&store().join("containers")),
    }
}

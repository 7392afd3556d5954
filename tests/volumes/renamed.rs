//! Directories that are renamed while rubber removes them, by a process that holds a descriptor of them. Each test has a
//! store of its own, with bait around it: what a walker that loses its way would find first.

use super::*;
use std::{
    ffi::CString,
    os::unix::process::CommandExt,
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// How deep the tree is that is removed, and so how far too high a walker can climb: not past the bait.
const DEEP: &str = "d1/d2/d3/d4";

struct Bait(tempfile::TempDir);

impl Bait {
    fn new() -> Bait {
        let bait = Bait(tempfile::tempdir_in(lab::scratch()).unwrap());
        for dir in bait.dirs() {
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("precious"), "").unwrap();
        }
        bait
    }

    fn dirs(&self) -> Vec<PathBuf> {
        ["", "1", "1/2", "1/2/3", "1/2/3/4", "1/2/3/4/5"].map(|dir| self.0.path().join(dir)).into()
    }

    fn store(&self) -> PathBuf {
        self.0.path().join("1/2/3/4/5/store")
    }

    fn rubber(&self, words: &[&str]) -> Command {
        let mut command = Command::new(lab::RUBBER);
        command.arg("--root").arg(self.store()).args(words).stdin(Stdio::null());
        command
    }

    fn say(&self, words: &[&str]) -> String {
        let output = self.rubber(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {output:?}");
        text(&output.stdout).trim().to_owned()
    }

    fn assert_whole(&self, what: &str) {
        for dir in self.dirs() {
            assert!(dir.join("precious").exists(), "{what}: {dir:?} was emptied");
        }
        assert_eq!(self.say(&["images", "-q"]).lines().count(), 1, "{what}: the image is gone");
    }
}

/// The attacker of renamed.c, in a directory to be shared; none, and says so, where there is no compiler.
fn attacker(bait: &Bait) -> Option<PathBuf> {
    if !lab::has("gcc") {
        skip_this("there is no gcc to build the attacker with");
        return None;
    }
    let dir = bait.0.path().join("attacker");
    fs::create_dir(&dir).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/volumes/renamed.c");
    let mut gcc = Command::new("gcc");
    gcc.args(["-static", "-O1", "-o"]).arg(dir.join("renamed")).arg(source);
    assert!(gcc.status().unwrap().success(), "gcc {source}");
    Some(dir)
}

/// A rubber of ours, dead at the latest when the test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_until<T>(what: &str, find: impl Fn() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(60), "{what}");
        sleep(Duration::from_micros(200));
    }
}

/// Container B with the volume, where its attacker listens.
fn listen(bait: &Bait, program: &Path) -> (Running, PathBuf) {
    let said = bait.store().join("volumes/shared/said");
    let _ = fs::remove_file(&said);
    let share = format!("{}:/attacker:ro", program.display());
    let words = [
        "run",
        "--rm",
        "--name",
        "b",
        "-v",
        "shared:/shared",
        "-v",
        &share,
        "busybox",
        "/attacker/renamed",
        "take",
    ];
    let b = Running(bait.rubber(&words).spawn().unwrap());
    wait_until("B listens", || said.exists().then_some(()));
    (b, said)
}

/// Container A, which hands over its root and ends.
fn give(bait: &Bait, program: &Path) -> Output {
    let share = format!("{}:/attacker:ro", program.display());
    let words = ["run", "-v", "shared:/shared", "-v", &share, "busybox", "/attacker/renamed", "give"];
    bait.rubber(&words).output().unwrap()
}

#[test]
fn renamed_while_it_is_removed_a_container_takes_nothing_else_along() {
    if cannot() {
        return;
    }
    let bait = Bait::new();
    let Some(program) = attacker(&bait) else { return };
    bait.say(&["run", "busybox", "true"]);
    for _ in 0..20 {
        let (b, said) = listen(&bait, &program);
        let output = give(&bait, &program);
        bait.assert_whole(&format!("{output:?}"));
        let outcome =
            wait_until("B is done", || fs::read_to_string(&said).ok().filter(|text| text != "listening"));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(bait.say(&["ps", "-aq"]).lines().count(), 1, "A is gone, and B is not");
        bait.say(&["kill", "b"]);
        drop(b);
        bait.say(&["clean"]);
        if outcome == "in time" {
            return;
        }
    }
    panic!("B was too late each time: nothing was tried");
}

/// Each command that removes a tree, when it has begun to empty the deepest directory.
#[test]
fn renamed_at_the_worst_moment_a_tree_is_removed_and_nothing_else() {
    if cannot() {
        return;
    }
    let bait = Bait::new();
    bait.say(&["run", "busybox", "true"]);
    let id = bait.say(&["run", "--name", "ended", "-d", "busybox", "true"]);
    let upper = bait.store().join("containers").join(id).join("upper");
    bait.say(&["wait", "ended"]);
    bait.say(&["volume", "create", "full"]);
    let volumes = bait.store().join("volumes");
    let trees = [
        (vec!["rm", "ended"], upper.clone(), upper),
        (vec!["volume", "rm", "full"], volumes.join("full"), volumes.join(".removed-full")),
        (vec!["clean"], volumes.join(".removed-left"), volumes.join(".removed-left")),
    ];
    for (words, tree, doomed) in trees {
        fs::create_dir_all(tree.join(DEEP)).unwrap();
        for n in 0..9 {
            fs::write(tree.join(DEEP).join(n.to_string()), "").unwrap();
        }
        let mut is_renamed = false;
        let ended = step(&mut bait.rubber(&words), || {
            if !is_renamed && count(&doomed.join(DEEP)) == Some(5) {
                fs::rename(doomed.join(DEEP), doomed.join("away")).unwrap();
                is_renamed = true;
            }
        });
        let Some(ended) = ended else { return };
        assert!(is_renamed && ended == 0, "{words:?}: {ended}");
        bait.assert_whole(&format!("{words:?}"));
        assert!(!doomed.exists() && !tree.exists(), "{words:?}");
    }
}

/// What others do is not ours to end. But rubber ends, says why, and comes back for the rest.
#[test]
fn renamed_or_filled_again_a_tree_keeps_no_rubber_busy_for_ever() {
    if cannot() {
        return;
    }
    let bait = Bait::new();
    bait.say(&["run", "busybox", "true"]);
    let doomed = bait.store().join("volumes/.removed-left");
    let full = doomed.join(DEEP);
    fs::create_dir_all(&full).unwrap();
    fs::write(full.join("first"), "").unwrap();
    let told = bait.0.path().join("told");
    let mut command = bait.rubber(&["clean"]);
    command.stderr(fs::File::create(&told).unwrap());
    let mut filled = 0;
    let ended = step(&mut command, || {
        // As often as would keep the test busy, too.
        if count(&full) == Some(0) && filled < 2000 {
            fs::write(full.join("again"), "").unwrap();
            filled += 1;
        }
    });
    let Some(ended) = ended else { return };
    let told = fs::read_to_string(told).unwrap();
    assert_eq!(ended, 125, "filled {filled} times: {told}");
    assert!(told.contains(".removed-left: another process adds to it all the time\n"), "{told}");
    assert!(bait.say(&["clean"]).contains(".removed-left"));
    assert!(!doomed.exists());
    bait.assert_whole("filled");
}

/// Owner, mode and content are of one file, and of one directory, at each moment: here another takes the place of each
/// between any two calls.
#[test]
fn renamed_while_it_is_copied_a_file_is_wholly_one_or_the_other() {
    if cannot() || !is_root() {
        return skip_this("the files are of different owners");
    }
    let bait = Bait::new();
    bait.say(&["run", "busybox", "true"]);
    let root = bait.0.path().join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    let layers = fs::read_dir(bait.store().join("layers")).unwrap().flatten();
    let busybox = layers.map(|layer| layer.path().join("bin/busybox")).find(|file| file.is_file()).unwrap();
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for name in ["roots", "guests"] {
        fs::create_dir_all(root.join(name).join("deep")).unwrap();
        fs::write(root.join(name).join("deep/file"), name).unwrap();
        fs::write(root.join(format!("program-{name}")), name).unwrap();
    }
    let mode =
        |name: &str, mode| fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    mode("roots", 0o700);
    mode("guests", 0o777);
    mode("program-roots", 0o4755);
    mode("program-guests", 0o644);
    let pairs = [("roots", "guests"), ("program-roots", "program-guests")];
    let exchange = || {
        for (one, other) in pairs {
            let name = |name: &str| CString::new(root.join(name).as_os_str().as_encoded_bytes()).unwrap();
            // SAFETY: two names of ours.
            let done = unsafe {
                libc::renameat2(
                    libc::AT_FDCWD,
                    name(one).as_ptr(),
                    libc::AT_FDCWD,
                    name(other).as_ptr(),
                    libc::RENAME_EXCHANGE,
                )
            };
            assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
        }
    };
    let script = "for name in roots guests; do
            echo $(cat /$name/deep/file) $(/bin/busybox stat -c %a /$name)
            echo program-$(cat /program-$name) $(/bin/busybox stat -c %a /program-$name)
        done";
    let script = script.replace("cat", "/bin/busybox cat");
    let (mut stops, mut copied) = (0, 0);
    for turn in 0..4 {
        let told = bait.0.path().join("told");
        let mut command = bait.rubber(&["run", "--until", "chroot", "--rootfs"]);
        command
            .arg(&root)
            .args(["/bin/busybox", "sh", "-c", &script])
            .stdout(fs::File::create(&told).unwrap());
        let ended = step(&mut command, || {
            // A call has two stops: so it is once in a call.
            stops += 1;
            if stops % 2 == turn % 2 {
                exchange();
            }
        });
        let Some(ended) = ended else { return };
        for line in fs::read_to_string(told).unwrap().lines() {
            let all = ["roots 700", "guests 777", "program-roots 4755", "program-guests 644"];
            assert!(all.contains(&line), "{line}");
            copied += 1;
        }
        stops += usize::from(turn == 1);
        // That it was replaced meanwhile is an answer, too.
        assert!([0, 125].contains(&ended), "{ended}");
    }
    lab::note(&format!("{copied} were copied"));
    bait.assert_whole("copied");
}

/// What is read goes by what is held, too: a link in place of a directory brings no file of another.
#[test]
fn renamed_while_it_is_read_a_directory_brings_nothing_else() {
    if cannot() {
        return;
    }
    let bait = Bait::new();
    bait.say(&["run", "busybox", "true"]);
    let root = bait.0.path().join("root");
    for dir in ["mine/a/first", "secret"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::write(root.join("mine/a/first/file"), "").unwrap();
    fs::write(root.join("mine/a/then"), "mine").unwrap();
    fs::write(root.join("secret/then"), "secret").unwrap();
    let mut is_swapped = false;
    let mut command = bait.rubber(&["import"]);
    command.arg(&root).arg("it");
    let ended = step(&mut command, || {
        if !is_swapped && has_open("/mine/a/first") {
            fs::rename(root.join("mine/a"), root.join("mine/away")).unwrap();
            std::os::unix::fs::symlink("../secret", root.join("mine/a")).unwrap();
            is_swapped = true;
        }
    });
    let Some(ended) = ended else { return };
    assert!(is_swapped && ended == 0, "{ended}");
    let layers = fs::read_dir(bait.store().join("layers")).unwrap().flatten().map(|layer| layer.path());
    let found: Vec<_> =
        layers.filter_map(|layer| fs::read_to_string(layer.join("mine/a/then")).ok()).collect();
    assert_eq!(found, ["mine"]);
}

/// Whether a child of this thread's has a directory of this name open.
fn has_open(name: &str) -> bool {
    let children = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        status.contains(&format!("\nPPid:\t{}\n", std::process::id()))
    });
    let mut fds = children.filter_map(|child| fs::read_dir(child.path().join("fd")).ok()).flatten().flatten();
    fds.any(|fd| fs::read_link(fd.path()).is_ok_and(|path| path.to_string_lossy().ends_with(name)))
}

fn count(dir: &Path) -> Option<usize> {
    Some(fs::read_dir(dir).ok()?.count())
}

/// Runs it to its end, and does `between` at each system call of it and of its children. Returns its exit code; none,
/// and says so, where it may not be traced.
fn step(command: &mut Command, mut between: impl FnMut()) -> Option<i32> {
    // SAFETY: a system call, with no pointers that are read.
    unsafe { command.pre_exec(|| ptrace(libc::PTRACE_TRACEME, 0, 0).map(drop)) };
    let first = command.spawn().unwrap().id() as i32;
    let options = libc::PTRACE_O_EXITKILL
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEVFORK;
    loop {
        let mut status = 0;
        // SAFETY: the status is ours. Other tests' children are other threads' (__WNOTHREAD).
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) };
        assert!(pid > 0, "{}", std::io::Error::last_os_error());
        if !libc::WIFSTOPPED(status) {
            if pid == first {
                return Some(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -status });
            }
            continue;
        }
        between();
        if ptrace(libc::PTRACE_SETOPTIONS, pid, options as usize).is_err() {
            skip_this("nothing may be traced here");
            return None;
        }
        let signal = match libc::WSTOPSIG(status) {
            libc::SIGTRAP | libc::SIGSTOP => 0,
            signal => signal as usize,
        };
        let _ = ptrace(libc::PTRACE_SYSCALL, pid, signal);
    }
}

fn ptrace(request: libc::c_uint, pid: i32, data: usize) -> std::io::Result<i64> {
    // SAFETY: what is passed is a number.
    match unsafe { libc::ptrace(request, pid, 0, data) } {
        -1 => Err(std::io::Error::last_os_error()),
        answer => Ok(answer),
    }
}

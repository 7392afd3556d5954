//! Links in the places that a runtime mounts over, or mounts from, while it starts a container: whoever has the
//! other end of a shared /dev swaps them meanwhile. CVE-2025-31133 (/dev/null as the source of a mask),
//! CVE-2025-52565 (/dev/console as a target).

use crate::{lab, pty::Terminal};
use std::{
    ffi::CString,
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

/// What an attacker would like to see mounted, or written to.
const PRIZES: [&str; 3] = ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/victim"];

/// Swaps each name in `dir` with a link to a prize, until it is told to stop.
fn swap(dir: &Path, stop: &AtomicBool) {
    let name = |name: &str| CString::new(dir.join(name).to_str().unwrap()).unwrap();
    let pairs = ["null", "console", "tty", "pts"].map(|a| (name(a), name(&format!("{a}-link"))));
    while !stop.load(Ordering::Relaxed) {
        for (a, b) in &pairs {
            // SAFETY: two names of ours.
            unsafe {
                libc::renameat2(libc::AT_FDCWD, a.as_ptr(), libc::AT_FDCWD, b.as_ptr(), libc::RENAME_EXCHANGE)
            };
        }
    }
}

#[test]
fn links_in_a_shared_dev_lead_no_mount_astray() {
    let place = tempfile::tempdir_in(lab::scratch()).unwrap();
    let dev = place.path().join("dev");
    fs::create_dir_all(dev.join("pts")).unwrap();
    for (name, prize) in ["null", "console", "tty", "pts"].iter().zip(PRIZES.iter().cycle()) {
        if *name != "pts" {
            fs::write(dev.join(name), "").unwrap();
        }
        symlink(prize, dev.join(format!("{name}-link"))).unwrap();
    }
    let volume = format!("{}:/dev", dev.display());
    lab::say(&[], "true");
    let (stop, rounds) = (AtomicBool::new(false), if lab::few() { 4 } else { 30 });
    let started = |round| {
        let terminal: &[&str] = if round % 2 == 0 { &["-t"] } else { &[] };
        let words = ["busybox", "cat", "/proc/self/mountinfo"];
        shown(&mut lab::rubber([&["run", "-v", &volume][..], terminal, &words].concat()))
    };
    let tables: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| swap(&dev, &stop));
        let tables = (0..rounds).map(started).collect();
        stop.store(true, Ordering::Relaxed);
        tables
    });
    for table in tables {
        assert!(table.contains(" /proc "), "no container: {table}");
        assert_eq!(table.lines().find(|line| is_astray(line)), None);
    }
}

/// A root for `--rootfs`, with a busybox.
fn root(place: &Path) -> std::path::PathBuf {
    let root = place.join("root");
    for name in ["bin", "dev/pts", "dev/shm", "etc", "proc", "sys", "tmp", "prize"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let busybox = std::env::split_paths(&path).map(|dir| dir.join("busybox")).find(|file| file.is_file());
    lab::copy_program(busybox.expect("a static busybox"), root.join("bin/busybox"));
    symlink("busybox", root.join("bin/sh")).unwrap();
    root
}

#[test]
fn links_in_an_images_root_lead_no_terminal_astray() {
    let names =
        ["dev", "dev/console", "dev/pts", "dev/ptmx", "dev/null", "dev/fd", "dev/shm", "proc", "sys", "etc"];
    for (number, name) in names.iter().enumerate() {
        for prize in ["/proc/self/attr", "/proc/sys/kernel", "/prize"] {
            if lab::few() && number % 3 != 0 {
                continue;
            }
            let place = tempfile::tempdir_in(lab::scratch()).unwrap();
            let root = root(place.path());
            let link = root.join(name);
            let _ = fs::remove_dir_all(&link);
            symlink(prize, &link).unwrap();
            let words = ["run", "--rm", "-t", "--rootfs", root.to_str().unwrap(), "/bin/busybox", "cat"];
            let words = [&words[..], &["/proc/self/mountinfo"]].concat();
            let (code, told) = Terminal::start(&mut lab::rubber(words)).end();
            assert!(code == 0 || code == 125, "{name} -> {prize}: {told}");
            assert_eq!(told.lines().find(|line| is_astray(line)), None, "{name} -> {prize}");
            let mut ptys = told.lines().filter(|line| line.contains(" - devpts "));
            let is_ours =
                |line: &str| ["/dev/pts", "/dev/console"].contains(&line.split(' ').nth(4).unwrap());
            assert!(ptys.all(is_ours), "{name} -> {prize}: {told}");
        }
    }
}

/// What is opened for a terminal is the kernel's own ptmx: a fifo that a container has put in its place tells whether it was opened.
#[test]
fn links_as_ptmx_lead_no_exec_to_another_file() {
    let name = format!("ptmx-{}", std::process::id());
    let script =
        "mkfifo /fifo; rm -f /dev/ptmx; ln -s /fifo /dev/ptmx; (cat /fifo; echo opened) & exec sleep 60";
    let words = ["run", "-d", "--name", &name, "busybox", "sh", "-c", script];
    assert!(lab::rubber(words).output().unwrap().status.success());
    let inside = |words: &[&str]| lab::rubber([&["exec", &name], words].concat()).output().unwrap();
    while !inside(&["test", "-L", "/dev/ptmx"]).status.success() {}
    let (code, told) = Terminal::start(&mut lab::rubber(["exec", "-t", &name, "tty"])).end();
    let opened = lab::text(&lab::rubber(["logs", &name]).output().unwrap().stdout);
    lab::rubber(["rm", "-f", &name]).output().unwrap();
    assert_eq!(opened, "");
    assert!(code == 0 && told.starts_with("/dev/pts/"), "{code}: {told}");
}

/// A mount on one of the prizes that is not one of ours, or of one of them elsewhere.
fn is_astray(line: &str) -> bool {
    let words: Vec<_> = line.split(' ').collect();
    let [_, _, _, root, target, ..] = words[..] else { return false };
    let is_own = format!("/proc{root}") == target;
    !is_own
        && PRIZES.iter().any(|prize| target == *prize || *prize == format!("/proc{root}") || root == *prize)
}

/// On a terminal, where it wants one.
fn shown(command: &mut Command) -> String {
    match command.get_args().any(|word| word == "-t") {
        true => Terminal::start(command).end().1,
        false => {
            let output = command.stdin(Stdio::null()).output().unwrap();
            lab::text(&output.stdout) + &lab::text(&output.stderr)
        }
    }
}

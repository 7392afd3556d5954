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

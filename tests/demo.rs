//! `rubber demo`: every beat as promised, the keys on a terminal, and nothing left behind.

mod lab;
#[path = "lab/pty.rs"]
mod pty;

use lab::{code, rubber, skip_this, text};
use nix::{
    sys::{
        signal::{Signal, kill},
        termios::LocalFlags,
    },
    unistd::Pid,
};
use pty::Terminal;
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    process::Command,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// The ledger counts what all tests here do, so one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(|lock| lock.into_inner())
}

/// What demos could leave behind; others' may be at work meanwhile, so ours are told by their pid.
fn left_by(pid: u32) -> BTreeSet<String> {
    let trees = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let name = format!("rubber-arena-{pid}");
    let groups = trees.map(|tree| tree.join(&name)).filter(|group| group.exists());
    let mut left: BTreeSet<_> = groups.map(|group| group.display().to_string()).collect();
    // A stand-in's first process is a child's child of the demo's.
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if text(&environment).contains(&format!("DEMO_OF={}", std::process::id())) {
            left.insert(format!("{}: {}", entry.path().display(), text(&words)));
        }
    }
    left
}

fn settled(pid: u32) -> BTreeSet<String> {
    let begin = Instant::now();
    loop {
        let left = left_by(pid);
        if left.is_empty() || begin.elapsed() > Duration::from_secs(10) {
            return left;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn demo(words: &[&str]) -> Command {
    let mut command = rubber([&["demo"], words].concat());
    command.env("TERM", "xterm").env("DEMO_OF", std::process::id().to_string());
    command
}

/// Without a terminal: these parts in this order, on lines of no more than 80 columns, and no colours.
fn assert_tells(chapter: &str, parts: &[&str]) {
    let output = demo(&[chapter]).output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(code(&output), 0, "{output:?}");
    let place = |part: &&str| said.find(*part).unwrap_or_else(|| panic!("no {part:?} in {said}"));
    assert!(parts.iter().map(place).is_sorted(), "{said}");
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    assert!(!said.contains('\x1b'), "{said}");
}

fn on_host() -> (String, String, BTreeSet<String>) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let links = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    (mounts, hostname, links.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

/// Whether demos can run here at all: a machine without user namespaces is root's alone.
fn can_run() -> bool {
    let output = demo(&["5", "--test"]).output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    if said.contains("cannot make the stand-in host") && !lab::is_root() {
        skip_this(&said);
        return false;
    }
    true
}

#[test]
fn demo_beats_are_all_as_promised_and_leave_nothing() {
    let _alone = alone();
    if !can_run() {
        return;
    }
    let before = on_host();
    let child = demo(&["--all", "--test"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(code(&output), 0, "{said}{}", text(&output.stderr));
    for chapter in (0..=14).chain([20]).map(|number| format!("{number:02}")) {
        let told = said.lines().filter(|line| line.contains(&format!(": {chapter} "))).count();
        assert!(told >= 2, "{chapter}: {said}");
    }
    let kept = said.lines().filter(|line| line.starts_with("as promised: ")).count();
    let skipped: Vec<_> = said.lines().filter(|line| line.starts_with("skipped: ")).collect();
    assert_eq!(kept + skipped.len(), said.lines().count(), "{said}");
    // Only what takes cgroups, device nodes and other people's ids may be missing.
    for line in skipped {
        assert!(
            [": 08 ", ": 09 ", ": 10 ", ": 11 ", ": 13 ", ": 20 oci beat 6"]
                .iter()
                .any(|chapter| line.contains(chapter)),
            "{line}"
        );
    }
    assert_eq!(settled(pid), BTreeSet::new());
    assert_eq!(on_host(), before);
}

/// The longest beat, killed in the middle.
#[test]
fn demo_that_is_killed_leaves_what_the_next_one_sweeps() {
    if lab::few() {
        return;
    }
    let _alone = alone();
    if !can_run() {
        return;
    }
    let before = on_host();
    let mut child = demo(&["6", "--test"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    lab::wait_for_descendant(child.id(), "database");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(code(&demo(&["5", "--test"]).output().unwrap()), 0);
    assert_eq!(settled(child.id()), BTreeSet::new());
    assert_eq!(on_host(), before);
}

/// On a machine without busybox the containers are made of what there is.
#[test]
fn demo_without_busybox_borrows_the_hosts_programs() {
    if lab::few() {
        return;
    }
    let _alone = alone();
    if !can_run() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let programs = place.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for dir in std::env::split_paths(&path) {
        for entry in
            fs::read_dir(&dir).into_iter().flatten().flatten().filter(|entry| entry.file_name() != "busybox")
        {
            let _ = std::os::unix::fs::symlink(entry.path(), programs.join(entry.file_name()));
        }
    }
    let run = |words: &[&str]| {
        let mut command = Command::new(lab::RUBBER);
        command
            .arg("--root")
            .arg(place.path().join("store"))
            .args(words)
            .env("PATH", &programs)
            .output()
            .unwrap()
    };
    let output = run(&["demo", "uts", "--test"]);
    let said = text(&output.stdout) + &text(&output.stderr);
    if said.contains("no image \"borrowed\", and it cannot be made here: no ") {
        return skip_this(&said);
    }
    assert!(said.contains("no image \"borrowed\" yet: making it from"), "{said}");
    assert_eq!(code(&output), 0, "{said}");
    let rest = run(&["demo", "--test"]);
    assert_eq!(code(&rest), 0, "{}", text(&rest.stdout));
    assert!(!text(&rest.stderr).contains("making it"), "{}", text(&rest.stderr));
}

#[test]
fn demo_without_a_terminal_tells_both_stages_in_words() {
    if lab::few() {
        return;
    }
    let _alone = alone();
    if !can_run() {
        return;
    }
    assert_tells(
        "uts",
        &[
            "A container renames its host.",
            "--until overlay",
            "evil\n  host$\n  evil",
            "--until uts",
            "evil\n  host$\n  lab",
            "* ns.uts",
        ],
    );
}

#[test]
fn demo_of_what_is_not_there_is_an_error() {
    let output = demo(&["99"]).output().unwrap();
    assert_eq!((code(&output), output.stdout.len()), (125, 0));
    assert!(
        text(&output.stderr).contains("no demo of \"99\": there are 00 process, 01 chroot"),
        "{output:?}"
    );
    assert_eq!(code(&demo(&["05", "--all"]).output().unwrap()), 125);
    let output = demo(&["05", "--cast", "/no/such/directory/file"]).output().unwrap();
    assert_eq!(code(&output), 125);
    assert!(text(&output.stderr).contains("cannot write /no/such/directory/file"), "{output:?}");
}

#[test]
fn demo_cast_is_what_asciinema_reads() {
    if lab::few() {
        return;
    }
    let _alone = alone();
    if !can_run() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("uts.cast");
    let output = demo(&["uts", "--cast", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    let cast = fs::read_to_string(&file).unwrap();
    let mut lines = cast.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let header = lines.next().unwrap();
    assert_eq!(
        (&header["version"], &header["width"], &header["height"]),
        (&2.into(), &80.into(), &24.into())
    );
    let (mut last, mut shown) = (0.0, String::new());
    for event in lines {
        let seconds = event[0].as_f64().unwrap();
        assert!(event[1] == "o" && seconds >= last && event.as_array().unwrap().len() == 3, "{event}");
        last = seconds;
        shown += event[2].as_str().unwrap();
    }
    assert!(
        shown.contains("$ hostname evil; hostname\r\n") && (10.0..300.0).contains(&last),
        "{last} {shown}"
    );
    assert!(!shown.replace("\r\n", "").contains('\n'));
}

// ---- on a terminal -------------------------------------------------------------

/// What the terminal gets when the screen is done with it.
const LEAVE: &str = "\x1b[?1049l";

fn is_as_it_was(terminal: &Terminal) -> bool {
    terminal.modes().local_flags.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG)
}

#[test]
fn demo_keys_lead_through_the_beats() {
    if lab::few() {
        return;
    }
    let _alone = alone();
    if !can_run() {
        return;
    }
    let before = on_host();
    let mut screen = Terminal::start_sized(&mut demo(&["05"]), 80, 24);
    let pid = screen.pid();
    screen.wait_for("A container renames its host.");
    screen.wait_for("Space run it");
    assert!(!is_as_it_was(&screen));
    screen.type_in(" ");
    screen.wait_for("what the kernel sees");
    screen.wait_for("Space next");
    screen.type_in("n");
    screen.wait_for("sethostname(2) acts on");
    screen.type_in("?");
    screen.wait_for("a shell in a container at this stage");
    screen.type_in(" ");
    screen.wait_for("It goes by the name it was given.");
    screen.type_in("b");
    screen.wait_for("A container renames its host.");
    // Before the first beat of a chapter is the last one of the chapter before.
    screen.type_in("b");
    screen.wait_for("04 overlay");
    screen.wait_for("2 of 2");
    screen.type_in("  ");
    screen.wait_for("c---------");
    screen.resize(120, 40);
    screen.wait_for(&"─".repeat(55));
    screen.resize(60, 10);
    screen.wait_for("60 by 10 is too small: 80 by 20 at least");
    screen.type_in("q");
    screen.wait_for(LEAVE);
    assert!(is_as_it_was(&screen));
    let (code, _) = screen.end();
    assert_eq!((code, settled(pid), on_host()), (0, BTreeSet::new(), before));
}

#[test]
fn demo_shell_is_inside_and_comes_back() {
    if lab::few() {
        return;
    }
    let _alone = alone();
    if !can_run() {
        return;
    }
    let mut screen = Terminal::start_sized(&mut demo(&["06"]), 80, 24);
    screen.wait_for("Space run it");
    screen.type_in("t");
    screen.wait_for("# ");
    screen.type_in("echo I am $$ on $(cat /proc/sys/kernel/ostype); exit 3\n");
    screen.wait_for("I am 1 on Linux");
    screen.wait_for("Space run it");
    // A shell that is killed is an end, too.
    screen.type_in("t");
    screen.wait_for("# ");
    let shell = lab::wait_for_descendant(screen.pid(), "sh");
    kill(Pid::from_raw(shell), Signal::SIGKILL).unwrap();
    screen.wait_for("Space run it");
    assert!(!is_as_it_was(&screen));
    screen.type_in("q");
    screen.wait_for(LEAVE);
    assert_eq!(screen.end().0, 0);
}

/// The chapter without a layer: each beat is one command of rubber-oci's further, and the file's lines are told.
#[test]
fn demo_of_a_bundle_is_the_life_of_its_container() {
    if lab::few() {
        return;
    }
    let _alone = alone();
    if !can_run() {
        return;
    }
    assert_tells(
        "oci",
        &[
            "config.json: { \"type\": \"pid\" },",
            "config.json and rootfs, no container",
            "after rubber-oci create by-hand",
            "\"status\": \"created\"",
            "* name               ?                             rubber:pid 1",
            "config.json: \"args\": [\"sleep\", \"60\"],",
            "after rubber-oci start by-hand",
            "* name               rubber:pid 1                  sleep",
            "after rubber-oci kill by-hand",
            "after rubber-oci delete by-hand",
            "config.json lacks the line",
            "config.json has the line",
        ],
    );
}

/// It is a bundle's container, too, by its name and its one capability.
#[test]
fn demo_shell_of_a_bundle_is_inside_and_comes_back() {
    if lab::few() {
        return;
    }
    let _alone = alone();
    if !can_run() {
        return;
    }
    let before = on_host();
    let mut screen = Terminal::start_sized(&mut demo(&["20"]), 80, 24);
    let pid = screen.pid();
    screen.wait_for("config.json: \"hostname\": \"by-hand\",");
    screen.wait_for("Space run it");
    screen.type_in("t");
    screen.wait_for("# ");
    screen.type_in("echo I am $$ on $(cat /proc/sys/kernel/hostname); grep CapEff /proc/1/status; exit\n");
    screen.wait_for("I am 1 on by-hand");
    screen.wait_for("CapEff:\t0000000000000020");
    screen.wait_for("Space run it");
    screen.type_in(" ");
    screen.wait_for("after rubber-oci create by-hand");
    screen.wait_for("Space next");
    screen.type_in("q");
    screen.wait_for(LEAVE);
    assert_eq!((screen.end().0, settled(pid), on_host()), (0, BTreeSet::new(), before));
}

#[test]
fn demo_gives_the_terminal_back_when_it_is_ended() {
    if lab::few() {
        return;
    }
    let _alone = alone();
    if !can_run() {
        return;
    }
    for (signal, keys) in
        [(Signal::SIGTERM, ""), (Signal::SIGINT, ""), (Signal::SIGTERM, " "), (Signal::SIGHUP, "t")]
    {
        let mut screen = Terminal::start_sized(&mut demo(&["02"]), 80, 24);
        let pid = screen.pid();
        screen.wait_for("A container mounts something.");
        screen.wait_for("q quit");
        screen.type_in(keys);
        match keys {
            "t" => drop(screen.wait_for("# ")),
            " " => drop(screen.wait_for("running")),
            _ => {}
        }
        kill(Pid::from_raw(pid as i32), signal).unwrap();
        screen.wait_for(LEAVE);
        assert!(is_as_it_was(&screen), "{signal} {keys:?}");
        let (code, seen) = screen.end();
        assert_eq!(code, 128 + signal as i32, "{seen}");
        assert_eq!(settled(pid), BTreeSet::new());
    }
}

#[test]
fn demo_on_a_narrow_or_dumb_terminal_is_plain() {
    if lab::few() {
        return;
    }
    let _alone = alone();
    if !can_run() {
        return;
    }
    for (term, columns) in [("xterm", 60), ("dumb", 80)] {
        let (code, seen) = Terminal::start_sized(demo(&["05"]).env("TERM", term), columns, 24).end();
        assert_eq!(code, 0, "{seen}");
        assert!(
            seen.contains("It goes by the name it was given.") && !seen.contains("\x1b[?1049h"),
            "{seen}"
        );
        let plain = anstream::adapter::strip_str(&seen).to_string();
        assert!(plain.lines().all(|line| line.chars().count() <= columns.into()), "{plain}");
    }
}

#[test]
fn demo_without_colour_is_without_colour() {
    if lab::few() {
        return;
    }
    let _alone = alone();
    if !can_run() {
        return;
    }
    let mut screen = Terminal::start_sized(demo(&["05"]).env("NO_COLOR", "1"), 80, 24);
    screen.wait_for("Space run it");
    screen.type_in(" ");
    screen.wait_for("* ns.uts");
    screen.wait_for("Space next");
    screen.type_in("q");
    let (_, seen) = screen.end();
    let styled = seen.split("\x1b[").skip(1).any(|part| {
        part.find(|c: char| c.is_ascii_alphabetic()).is_some_and(|end| part.as_bytes()[end] == b'm')
    });
    assert!(!styled, "{seen:?}");
}

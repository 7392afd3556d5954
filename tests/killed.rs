//! What is left of a container: nothing when it ends, whatever it did, and when rubber is killed
//! nothing that the next command does not take away. All of it is told by one store of its own.

mod lab;

use lab::{RUBBER, code, is_root, text};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// The tests of this file take stock of the host, so they take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // What a failed test has left shall not fail the next one too.
    clean();
    let _ = fs::remove_dir_all(containers());
    assert!(run(&[], "true").output().unwrap().status.success());
    turn
}

fn store() -> PathBuf {
    lab::scratch().join("killed")
}

fn containers() -> PathBuf {
    store().join("containers")
}

fn rubber<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(words: I) -> Command {
    let mut command = Command::new(RUBBER);
    command.arg("--root").arg(store()).args(words).stdin(Stdio::null());
    command
}

fn run(flags: &[&str], script: &str) -> Command {
    rubber([&["run"], flags, &["busybox", "sh", "-c", script]].concat())
}

fn clean() -> Output {
    rubber(["clean"]).output().unwrap()
}

/// Limits make cgroups, where there is a place for them.
fn limits() -> &'static [&'static str] {
    let flags = &["-m", "64m", "--cpus", "1", "--pids-limit", "100"];
    static HAS: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    match HAS.get_or_init(|| run(flags, "true").output().unwrap().status.success()) {
        true => flags,
        false => &[],
    }
}

/// Processes that belong to a container of our store: rubber's own have its name on their command
/// line, those inside have it in their mount table or as their root. A namespace lives as long as
/// a process in it (or a mount or descriptor of it, which are processes' too).
fn processes() -> BTreeSet<String> {
    let (mark, inside) = (store(), containers());
    let (mark, inside) = (mark.to_str().unwrap(), inside.to_str().unwrap());
    let named = |dir: &Path| -> bool {
        let has =
            |file: &str, mark: &str| fs::read(dir.join(file)).is_ok_and(|bytes| text(&bytes).contains(mark));
        let root = || fs::read_link(dir.join("root")).is_ok_and(|root| root.starts_with(inside));
        has("cmdline", mark) || root() || has("mountinfo", inside)
    };
    let ours = std::process::id().to_string();
    let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let pids = all.filter(|dir| {
        dir.file_name().is_some_and(|name| {
            let name = name.to_str().unwrap_or_default();
            name.parse::<u32>().is_ok() && name != ours
        })
    });
    let state = |dir: &Path| fs::read_to_string(dir.join("stat")).unwrap_or_default();
    pids.filter(|dir| named(dir)).map(|dir| state(&dir)).filter(|stat| !stat.is_empty()).collect()
}

/// Waits for them to go: the kernel kills a pid namespace one by one.
fn assert_gone(what: &str) {
    let begin = Instant::now();
    loop {
        let left = processes();
        if left.is_empty() {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(2), "{what}: still there after 2 s: {left:#?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What lies in the store for containers, and must not when none runs.
fn left() -> BTreeSet<String> {
    let entries = fs::read_dir(containers()).map(|dir| dir.flatten().collect::<Vec<_>>()).unwrap_or_default();
    entries.iter().map(|entry| text(entry.file_name().as_encoded_bytes())).collect()
}

fn assert_nothing(what: &str) {
    assert_gone(what);
    assert_eq!(left(), BTreeSet::new(), "{what}");
}

/// The host as it was. Somebody else's containers may come and go meanwhile: only what was not
/// there before and stays is ours.
fn assert_balanced(before: &lab::Ledger) {
    let begin = Instant::now();
    let mut more: Option<BTreeSet<String>> = None;
    loop {
        let now = lab::ledger();
        let list = |ledger: &lab::Ledger| -> BTreeSet<String> {
            let paths = ledger.cgroups.iter().map(|path| path.display().to_string());
            let lists = [&ledger.mounts, &ledger.links, &ledger.processes];
            lists.into_iter().flatten().cloned().chain(paths).collect()
        };
        let new: BTreeSet<_> = list(&now).difference(&list(before)).cloned().collect();
        let stayed = match more {
            Some(more) => new.intersection(&more).cloned().collect(),
            None => new,
        };
        if stayed.is_empty() {
            assert_eq!(now.hostname, before.hostname);
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "left on the host: {stayed:#?}");
        more = Some(stayed);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A rubber of ours, dead at the latest when the test fails.
struct Host(Child);

impl Host {
    fn start(command: &mut Command) -> Host {
        Host(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Kills it and waits for it to be dead, not for what it had started.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn descendant(&self, name: &str) -> Option<i32> {
        lab::descendant(self.0.id(), name)
    }

    fn wait_for(&self, name: &str) -> i32 {
        lab::wait_for_descendant(self.0.id(), name)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn signal(pid: i32, signal: i32) {
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "kill({pid}, {signal})");
}

/// Takes turns in who sweeps: `rubber clean`, or the next run. A process that is just ending has no
/// command line any more, but may have its descriptors (and so its record's lock) for a moment.
fn sweep(turn: usize, what: &str) {
    let begin = Instant::now();
    loop {
        let output = match turn % 2 {
            0 => clean(),
            _ => run(&["--until", "chroot"], "true").output().unwrap(),
        };
        assert!(output.status.success(), "{what}: {output:?}");
        // A process that is no more to be seen may hold the record for one more moment.
        if left().is_empty() {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(2), "{what}: {:?} not swept by {output:?}", left());
    }
}

/// The ways to run that leave different things behind.
fn ways() -> Vec<(&'static str, Vec<&'static str>)> {
    let with = |more: &[&'static str]| limits().iter().chain(more).copied().collect::<Vec<_>>();
    vec![
        ("all layers", with(&[])),
        ("--init", with(&["--init"])),
        ("--without pid", with(&["--without", "pid"])),
        ("--until pivot_root", vec!["--until", "pivot_root"]),
        ("--until chroot", vec!["--until", "chroot"]),
    ]
}

#[test]
fn killed_at_any_moment_it_leaves_nothing_that_is_not_swept() {
    let _turn = alone();
    let count: usize =
        std::env::var("RUBBER_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let ways = ways();
    let before = lab::ledger();
    for (number, (name, flags)) in ways.iter().enumerate() {
        // The usual way gets all the kills that were asked for, and the others some more.
        let kills = if number == 0 { count } else { count.div_ceil(8) };
        // Without a pid namespace nobody ends what the command leaves running but its cgroup.
        let script = match flags.contains(&"pid") || flags.contains(&"--until") {
            true => "mkdir -p /a/b; echo x > /a/b/c; usleep 2000",
            false => "sleep 300 & sleep 300 & mkdir -p /a/b; echo x > /a/b/c; usleep 2000",
        };
        let length = (0..5).map(|_| time(flags, script)).max().unwrap();
        for kill in 0..kills {
            let delay = length * kill as u32 / kills as u32;
            let what = format!("{name}, killed after {delay:?} of {length:?}");
            let host = Host::start(&mut run(flags, script));
            std::thread::sleep(delay);
            host.kill();
            assert_gone(&what);
            sweep(kill, &what);
        }
    }
    assert_balanced(&before);
}

fn time(flags: &[&str], script: &str) -> Duration {
    let begin = Instant::now();
    let output = run(flags, script).output().unwrap();
    assert!(output.status.success(), "{flags:?}: {output:?}");
    begin.elapsed()
}

/// A run with `--step`, waiting at one of its prompts.
struct Stepping {
    host: Host,
    input: std::process::ChildStdin,
    told: std::process::ChildStderr,
}

impl Stepping {
    fn start(flags: &[&str]) -> Stepping {
        let mut command = run(&[flags, &["--step"]].concat(), "exec sleep 300");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, told) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
        Stepping { host: Host(child), input, told }
    }

    /// Who asks at the next prompt; `None` when there is none any more.
    fn next(&mut self) -> Option<String> {
        let (mut text, mut byte) = (String::new(), [0]);
        while self.told.read(&mut byte).unwrap() == 1 {
            text.push(byte[0] as char);
            if text.ends_with("[q] stop here ") {
                let end = text.rfind(")\n").unwrap();
                return Some(text[text[..end].rfind('(').unwrap() + 1..end].to_owned());
            }
            if text.contains("execve(") {
                return None;
            }
        }
        panic!("it ended before its command began: {text}");
    }

    fn go_on(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }
}

#[test]
fn killed_at_each_step_whoever_is_killed() {
    let _turn = alone();
    let before = lab::ledger();
    for (name, flags) in [ways().remove(0), ways().remove(1)] {
        for victim in ["host", "rubber:pid 1"] {
            let mut reached = 0;
            // As many rounds as there are prompts: each ends at a later one.
            for stop in 1.. {
                let mut stepping = Stepping::start(&flags);
                let mut who = stepping.next();
                for _ in 1..stop {
                    stepping.go_on();
                    who = stepping.next();
                    if who.is_none() {
                        break;
                    }
                }
                let Some(who) = who else {
                    stepping.host.kill();
                    assert_gone("killed when all steps were done");
                    sweep(stop, "killed when all steps were done");
                    break;
                };
                let what = format!("{name}: {victim} killed at step {stop}, of {who}");
                match victim {
                    "host" => stepping.host.kill(),
                    // It is not there before the host has forked it.
                    victim => match stepping.host.descendant(victim) {
                        Some(pid) => {
                            signal(pid, libc::SIGKILL);
                            assert_eq!(ended(&mut stepping.host.0, &what).signal().unwrap_or(0), 0, "{what}");
                            assert_nothing(&what);
                        }
                        None => continue,
                    },
                }
                reached += 1;
                assert_gone(&what);
                sweep(stop, &what);
            }
            assert!(reached > 10, "{name}: {victim}: only {reached} steps");
        }
    }
    assert_balanced(&before);
}

/// Waits for it to end by itself.
fn ended(child: &mut Child, what: &str) -> std::process::ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}: rubber does not end");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn when_pid_1_or_the_command_is_killed_rubber_ends_and_leaves_nothing() {
    let _turn = alone();
    let before = lab::ledger();
    for (name, flags) in ways() {
        // The command is pid 1 itself, but for where an init is.
        let victims: &[&str] = if name == "--init" { &["rubber:pid 1", "sleep"] } else { &["sleep"] };
        for &victim in victims {
            let mut host = Host::start(&mut run(&flags, "exec sleep 300"));
            host.wait_for("sleep");
            signal(host.wait_for(victim), libc::SIGKILL);
            let what = format!("{name}: {victim} killed while the command runs");
            assert_eq!(ended(&mut host.0, &what).code(), Some(137), "{what}");
            assert_nothing(&what);
        }
    }
    assert_balanced(&before);
}

/// A container that was killed while it ran, and its id.
fn dead_container(script: &str) -> String {
    clean();
    let mut host = Host::start(&mut run(limits(), &format!("{script}; exec sleep 300")));
    host.wait_for("sleep");
    host.0.kill().unwrap();
    host.0.wait().unwrap();
    assert_gone("a dead container");
    let id = left().into_iter().find_map(|name| name.strip_suffix(".json").map(str::to_owned));
    id.expect("a killed rubber leaves its record")
}

#[test]
fn clean_says_what_it_removed_and_leaves_alone_what_no_record_names() {
    let _turn = alone();
    let id = dead_container("mkdir /made");
    let strangers = ["stranger", "notes.txt"].map(|name| containers().join(name));
    fs::create_dir_all(&strangers[0]).unwrap();
    fs::write(&strangers[1], "not a record").unwrap();
    let output = clean();
    assert_eq!((code(&output), text(&output.stdout)), (0, format!("removed container {id}\n")), "{output:?}");
    assert!(strangers.iter().all(|path| path.exists()), "{:?}", left());
    let again = clean();
    assert_eq!((code(&again), text(&again.stdout)), (0, String::new()));
    fs::remove_dir(&strangers[0]).unwrap();
    fs::remove_file(&strangers[1]).unwrap();
}

#[test]
fn clean_crosses_no_mount() {
    let _turn = alone();
    let unshare = if is_root() { "-m" } else { "-rm" };
    if !Command::new("unshare").args([unshare, "true"]).status().is_ok_and(|status| status.success()) {
        return lab::skip("clean_crosses_no_mount", "no mount namespace for the test itself");
    }
    let treasure = lab::scratch().join("treasure");
    fs::create_dir_all(&treasure).unwrap();
    // A bind mount of the same disk has the same device number as what it lies on.
    for mount in ["-t tmpfs tmpfs", &format!("--bind '{}'", treasure.display())] {
        let id = dead_container("mkdir /made");
        let place = containers().join(id).join("upper/made");
        let script = format!(
            "mount {mount} '{place}' && echo kept > '{place}/file' || exit 99
             '{RUBBER}' --root '{store}' clean; echo code $?; cat '{place}/file'",
            place = place.display(),
            store = store().display()
        );
        let output = Command::new("unshare").args([unshare, "sh", "-c", &script]).output().unwrap();
        assert_eq!(text(&output.stdout), "code 125\nkept\n", "{mount}: {output:?}");
        let said = text(&output.stderr);
        assert!(said.starts_with("rubber: ") && said.contains("mount") && said.contains("made"), "{said}");
        assert!(clean().status.success());
        assert_nothing(mount);
    }
    fs::remove_dir_all(treasure).unwrap();
}

#[test]
fn a_damaged_record_is_named_and_stops_nobody_else() {
    let _turn = alone();
    let file = containers().join("0123456789ab.json");
    let foreign =
        format!(r#"{{"version":1,"id":"0123456789ab","cgroups":["{}"]}}"#, lab::scratch().display());
    for damage in ["{\"version\":1,\"id\":\"0123", "[]", "\0\0\0\0", &foreign] {
        fs::write(&file, damage).unwrap();
        let output = clean();
        let said = text(&output.stderr);
        assert_eq!(code(&output), 125, "{damage:?}: {output:?}");
        assert!(said.contains("0123456789ab.json") && said.contains("damaged"), "{said}");
        assert!(file.exists(), "{damage:?}: somebody may want to look at it");
        let output = run(&[], "true").output().unwrap();
        assert!(output.status.success(), "{damage:?} keeps others from running: {output:?}");
        // The dead beside it are swept all the same.
        fs::remove_file(&file).unwrap();
        let id = dead_container("true");
        fs::write(&file, damage).unwrap();
        assert_eq!(text(&clean().stdout), format!("removed container {id}\n"));
        fs::remove_file(&file).unwrap();
    }
    assert!(lab::scratch().exists());
    // What a kill between making and writing a record leaves names nothing, so it can go.
    fs::write(&file, "").unwrap();
    assert!(run(&[], "true").output().unwrap().status.success());
    assert_nothing("an empty record");
}

#[test]
fn clean_leaves_a_running_container_alone_and_two_cleans_do_not_collide() {
    let _turn = alone();
    let mut command = run(limits(), "echo ready; read line; cat /kept");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0; 6]).unwrap();
    let running = left();
    let out = clean();
    assert_eq!((code(&out), text(&out.stdout), left()), (0, String::new(), running.clone()), "{out:?}");
    // Beside it a few dead ones, for two to fight over.
    for _ in 0..4 {
        Host::start(&mut run(limits(), "exec sleep 300")).kill();
        let host = Host::start(&mut run(limits(), "exec sleep 300"));
        host.wait_for("sleep");
        host.kill();
    }
    let cleans: Vec<_> = (0..4).map(|_| rubber(["clean"]).stdout(Stdio::piped()).spawn().unwrap()).collect();
    for clean in cleans {
        let out = clean.wait_with_output().unwrap();
        assert!(out.status.success(), "{out:?}");
    }
    assert_eq!(left(), running);
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_nothing("the running one has ended too");
}

#[test]
fn an_end_however_sad_leaves_nothing_without_clean() {
    let _turn = alone();
    let before = lab::ledger();
    let ends: &[(&[&str], i32)] = &[
        (&["busybox", "true"], 0),
        (&["busybox", "false"], 1),
        (&["busybox", "nosuch"], 127),
        (&["busybox", "/etc"], 126),
        (&["busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
        (&["busybox", "sh", "-c", "sleep 300 & sleep 300 & exit 3"], 3),
        (&["--user", "nosuch", "busybox", "true"], 125),
        (&["--user", "0:nosuch", "busybox", "true"], 125),
        (&["--workdir", "/nosuch", "busybox", "true"], 125),
        (
            &[
                "--hostname",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "busybox",
                "true",
            ],
            125,
        ),
        (&["--cpuset-cpus", "99999", "busybox", "true"], 125),
        (&["--rootfs", "/nosuch", "true"], 125),
        (&["--init", "busybox", "nosuch"], 127),
        (&["--without", "pid", "busybox", "nosuch"], 127),
        (&["--until", "chroot", "busybox", "nosuch"], 127),
        (&["--until", "pivot_root", "busybox", "nosuch"], 127),
        (&["--until", "process", "nosuch-program"], 125),
        (&["--dry-run", "busybox", "true"], 0),
    ];
    for (words, expected) in ends {
        let output = rubber(["run"].iter().chain(*words)).output().unwrap();
        // `--until process` has no image: its first word is one all the same, and so on; the code is checked in exit.rs.
        if !words.contains(&"process") {
            assert_eq!(code(&output), *expected, "{words:?}: {output:?}");
        }
        assert_nothing(&format!("{words:?}"));
    }
    let mut quit = run(&["--step"], "true");
    let mut quit = quit.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    quit.stdin.take().unwrap().write_all(b"\n\n\n\n\n\n\n\nq\n").unwrap();
    assert_eq!(quit.wait().unwrap().code(), Some(0));
    assert_nothing("q at a step");
    assert_balanced(&before);
}

#[test]
fn an_oom_kill_leaves_nothing() {
    let _turn = alone();
    if limits().is_empty() {
        return lab::skip("an_oom_kill_leaves_nothing", "no memory controller to be had");
    }
    // tail keeps what it reads until a newline comes, and none ever does.
    let output = run(&["-m", "12m", "--memory-swap", "12m"], "tail /dev/zero").output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(code(&output), 137, "{output:?}");
    assert!(said.contains("out of memory") && said.contains("12 MiB"), "{said}");
    assert_nothing("out of memory");
}

/// Shapes that are hard to remove, as their owner can make them.
const HARD: &[(&str, &str)] = &[
    ("5,000 deep", "d=d; i=0; while [ $i -lt 99 ]; do d=$d/d; i=$((i+1)); done
                    i=0; while [ $i -lt 50 ]; do mkdir -p $d && cd -P $d || exit 9; i=$((i+1)); done; touch bottom"),
    ("mode 000", "mkdir -p a/b/c; touch a/b/c/f; chmod 000 a/b/c a/b a"),
    ("read-only", "mkdir -p a/b/c; touch a/b/c/f; chmod 444 a/b/c/f; chmod 500 a/b/c a/b a"),
    ("10,000 files", "mkdir many; cd many; seq 10000 | xargs touch"),
    ("links", "ln -s / root; ln -s .. up; ln -s loop loop; mkfifo fifo; touch 'a b' ' ' -- -rf \"$(printf 'n\\nl')\""),
    ("deleted image", "rm -rf /bin/* /etc; mkdir /etc"),
    ("a name of 255 bytes", "n=$(printf %0255d 1); mkdir $n; touch $n/$n"),
    ("attributes", "touch f; busybox chattr +i f; busybox chattr +a f; true"),
];

#[test]
fn hard_to_remove_trees_are_removed() {
    let _turn = alone();
    for (name, script) in HARD {
        for flags in [&[][..], &["--until", "chroot"]] {
            let output = run(flags, &format!("cd /home && {script}")).output().unwrap();
            assert!(output.status.success(), "{name} {flags:?}: {output:?}");
            assert_nothing(&format!("{name} {flags:?}"));
        }
        let dead = dead_container(&format!("( cd /home && {script} )"));
        if *name != "deleted image" {
            assert_eq!(text(&clean().stdout), format!("removed container {dead}\n"), "{name}");
        }
        clean();
        assert_nothing(name);
    }
}

#[test]
fn files_of_another_user_inside_are_removed() {
    let _turn = alone();
    let script = "mkdir -m 700 /tmp/mine; mkdir -m 500 /tmp/mine/b; touch /tmp/mine/f; exit 4";
    let output = run(&["--user", "guest"], script).output().unwrap();
    if code(&output) == 125 && text(&output.stderr).contains("not mapped") {
        return lab::skip(
            "files_of_another_user_inside_are_removed",
            "one id only: there is no other user inside",
        );
    }
    assert_eq!(code(&output), 4, "{output:?}");
    assert_nothing("--user guest");
    let id = dead_container("su guest -s /bin/sh -c 'mkdir -m 700 /tmp/mine; touch /tmp/mine/f'");
    assert_eq!(text(&clean().stdout), format!("removed container {id}\n"));
    assert_nothing("what guest had made");
}

#[test]
fn a_store_that_was_made_unreadable_is_told_in_words() {
    let _turn = alone();
    if is_root() {
        return lab::skip("a_store_that_was_made_unreadable_is_told_in_words", "root may read everything");
    }
    dead_container("true");
    fs::set_permissions(containers(), fs::Permissions::from_mode(0o000)).unwrap();
    let output = clean();
    fs::set_permissions(containers(), fs::Permissions::from_mode(0o700)).unwrap();
    let said = text(&output.stderr);
    assert_eq!(code(&output), 125);
    assert!(said.contains("containers") && said.lines().count() <= 2, "{said}");
    assert!(clean().status.success());
}

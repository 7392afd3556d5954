//! `--explain` against strace(1): what is told is what was done, and all of it.

#[path = "../lab/mod.rs"]
mod lab;
#[path = "../lab/pty.rs"]
mod pty;

mod forms;
mod trace;
mod words;

use lab::{RUBBER, code, has, is_root, rubber, skip, store, text};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::{Command, Output},
};
use trace::{Event, Process};

/// Runs rubber below strace; `None`, and loudly, where that cannot be.
fn traced(test: &str, before: &[&str], command: &Command) -> Option<(Output, Vec<Process>)> {
    let dir = tempfile::tempdir().unwrap();
    // An ordinary user's strace writes here too.
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let traced = has("strace").then(|| trace::strace(before, command, dir.path())).flatten();
    if traced.is_none() {
        skip(test, "strace is missing or may not trace: apt-get install strace");
    }
    traced
}

/// Whether other ids are ours to map, with the help of newuidmap(1).
fn has_ranges() -> bool {
    let uid = nix::unistd::geteuid().to_string();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut names: Vec<_> =
        users.filter(|user| user.get(2) == Some(&uid.as_str())).map(|user| user[0]).collect();
    names.push(&uid);
    let ranges = fs::read_to_string("/etc/subuid").unwrap_or_default();
    has("newuidmap")
        && ranges.lines().any(|line| line.split(':').next().is_some_and(|owner| names.contains(&owner)))
}

/// Runs `rubber run --explain=json FLAGS` and holds each process to its word.
fn told_as_done(test: &str, flags: &[&str], expected: i32) {
    if !is_root() && has_ranges() {
        return skip(test, "newuidmap is setuid, which does nothing for a traced ordinary user");
    }
    let image = rubber(["run", "busybox", "true"]).output().unwrap();
    assert!(image.status.success(), "{image:?}");
    let command = rubber(["run", "--explain=json"].iter().chain(flags));
    let Some((output, processes)) = traced(test, &[], &command) else { return };
    if text(&output.stderr).contains("this limit needs the") {
        return skip(test, "no cgroup here that is ours to limit");
    }
    hold(flags, &output, &processes, expected);
}

fn hold(flags: &[&str], output: &Output, processes: &[Process], expected: i32) {
    assert_eq!(code(output), expected, "{flags:?}: {output:?}");
    let problems: Vec<_> = processes.iter().flat_map(problems).collect();
    assert!(problems.is_empty(), "rubber run {}:\n{}", flags.join(" "), problems.join("\n"));
    // What reached stderr is what was written there, one line a call. (With -t what pid 1 says after it
    // has taken the terminal comes out of that terminal.)
    let mut written: Vec<_> =
        processes.iter().flat_map(|process| &process.writes).map(String::as_str).collect();
    let came = text(&output.stderr) + &text(&output.stdout).replace("\r\n", "\n");
    let mut lines = Vec::<String>::new();
    for line in came.split_inclusive('\n') {
        match lines.last_mut() {
            // An error's advice is said together with it.
            Some(error) if line.starts_with("        ") && error.starts_with("rubber: ") => {
                error.push_str(line)
            }
            _ => lines.push(line.to_owned()),
        }
    }
    written.sort();
    lines.sort();
    assert_eq!(written, lines, "{flags:?}");
    // Each process is one speaker, and no two are the same.
    let names: Vec<_> = processes.iter().flat_map(|process| &process.who).collect();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "{names:?}");
    assert!(processes.iter().all(|process| process.who.len() == 1), "{names:?}");
    for process in processes {
        assert!(!process.raw.contains("CLONE_THREAD"), "a second thread: {}", process.raw);
    }
}

/// What `process` did without telling, or told without doing, or in another order.
///
/// Told as one note, because it can be thousands of calls: the copying of an
/// image, and the removal of a tree. Not told: what comes before the first
/// line, which is bookkeeping (the store, locks, the record).
fn problems(process: &Process) -> Vec<String> {
    let (mut problems, mut made, mut announced) = (vec![], Vec::<&Event>::new(), None);
    let mut covered = Vec::<String>::new();
    let complain = |what: &str, event: &dyn std::fmt::Debug| {
        format!("{} ({:?}) {what}: {event:?}", process.pid, process.who)
    };
    let begin = process.events.iter().position(|event| !matches!(event, Event::Made { .. }));
    // The call the first line tells of; in a child all counts, from the fork on.
    let is_host = process.who.iter().any(|who| who == "host");
    let begin = if is_host { begin.unwrap_or(0).saturating_sub(1) } else { 0 };
    for event in &process.events[begin..] {
        match event {
            Event::Made { path: Some(path), .. } if covered.iter().any(|above| is_below(path, above)) => {}
            Event::Made { text, .. } if text.starts_with("execve(") => {
                if announced.take() != Some(text) {
                    problems.push(complain("did not tell beforehand", event));
                }
                made.push(event);
            }
            Event::Made { quiet, .. } => {
                let untold = made.iter().find(|made| matches!(made, Event::Made { quiet: false, .. }));
                problems.extend(untold.map(|event| complain("did not tell", event)));
                made.retain(|made| matches!(made, Event::Made { quiet: true, .. }) && *quiet);
                made.push(event);
            }
            Event::Told { text, answer: None } => announced = Some(text),
            Event::Told { text, answer: Some(told) } => {
                let found = made.iter().rposition(|made| {
                    matches!(made, Event::Made { text: done, answer, .. } if is_told(done, text) && answer == told)
                });
                match found {
                    Some(n) => made.truncate(n),
                    None => problems
                        .push(format!("{}; what it did: {made:?}", complain("told, and did not do", event))),
                }
            }
            Event::Note(note) => covered.extend(tree(note)),
        }
    }
    // A successful execve is the end of the story; anything else should have been told.
    made.retain(
        |made| matches!(made, Event::Made { text, quiet: false, .. } if !text.starts_with("execve(")),
    );
    problems.extend(made.iter().map(|event| complain("did not tell", event)));
    problems.extend(announced.map(|text| complain("announced, and did not do", text)));
    problems
}

/// The second line on an execve(2) that failed, and a write(2) whose file could
/// not even be opened, have no arguments to compare.
fn is_told(made: &str, told: &str) -> bool {
    let cut = told
        .strip_suffix(", ...)")
        .or(told.split_once(", ").map(|(start, _)| start).filter(|_| !made.ends_with(')')));
    made == told || cut.is_some_and(|start| made.starts_with(start))
}

/// The directory whose removal or filling is told as one line.
fn tree(note: &str) -> Option<String> {
    match note.strip_prefix("remove \"") {
        Some(rest) => rest.split('"').next().map(str::to_owned),
        None if note.starts_with("copy every file of the image") => {
            Some(store().join("containers").display().to_string())
        }
        None => None,
    }
}

fn is_below(path: &str, above: &str) -> bool {
    Path::new(path).starts_with(above)
}

/// An init is not dumpable, so that nobody in the container reads its memory; an ordinary user's strace cannot either.
fn told_of_init(test: &str, flags: &[&str], expected: i32) {
    match is_root() {
        true => told_as_done(test, &[&["--init"], flags].concat(), expected),
        false => skip(test, "only root can trace an init, which is not dumpable"),
    }
}

#[test]
fn explain_tells_every_call_of_a_whole_container() {
    told_as_done("explain_tells_every_call_of_a_whole_container", &["busybox", "true"], 0);
}

#[test]
fn explain_tells_of_limits() {
    let flags =
        ["-m", "64m", "--memory-swap", "80m", "--memory-reservation", "32m", "--cpus", "0.5", "-c", "512"];
    let more = ["--cpuset-cpus", "0", "--pids-limit", "64", "busybox", "true"];
    told_as_done("explain_tells_of_limits", &[&flags[..], &more].concat(), 0);
}

#[test]
fn explain_tells_of_each_stage() {
    for until in ["process", "chroot", "mount", "pivot_root", "overlay", "pid", "user"] {
        let command = if until == "process" { vec!["/bin/true"] } else { vec!["busybox", "true"] };
        told_as_done("explain_tells_of_each_stage", &[&["--until", until], &command[..]].concat(), 0);
    }
}

#[test]
fn explain_tells_of_what_is_left_out() {
    for without in
        ["pid", "mount,pivot_root,overlay", "overlay", "pivot_root", "cpu,memory", "capabilities,user"]
    {
        told_as_done("explain_tells_of_what_is_left_out", &["--without", without, "busybox", "true"], 0);
    }
}

#[test]
fn explain_tells_of_init_terminal_and_privileges() {
    let test = "explain_tells_of_init_terminal_and_privileges";
    told_of_init(test, &["busybox", "true"], 0);
    told_as_done(test, &["-t", "busybox", "true"], 0);
    told_as_done(test, &["--privileged", "busybox", "true"], 0);
    told_as_done(test, &["--security-opt", "no-new-privileges", "busybox", "true"], 0);
    told_as_done(test, &["--cap-drop", "ALL", "--cap-add", "chown", "-h", "a.host", "busybox", "true"], 0);
    if is_root() {
        told_as_done(test, &["--user", "guest:tty", "busybox", "true"], 0);
    }
}

#[test]
fn explain_tells_of_what_is_shared() {
    let test = "explain_tells_of_what_is_shared";
    let place = tempfile::tempdir().unwrap();
    let source = format!("{}:/deep/down", place.path().display());
    let file = format!("{}:/etc/new:ro", std::env::current_exe().unwrap().display());
    let shared =
        ["-v", &source, "-v", &file, "--tmpfs", "/memory:size=1m", "--read-only", "-w", "/new/place"];
    told_as_done(test, &[&shared[..], &["busybox", "true"]].concat(), 0);
    let more = ["--device", "/dev/zero:/dev/also", "--ulimit", "nofile=100:200", "--oom-score-adj", "100"];
    let again =
        ["--sysctl", "net.ipv4.ip_forward=1", "--shm-size", "1m", "--umask", "077", "busybox", "true"];
    told_as_done(test, &[&more[..], &again].concat(), 0);
}

#[test]
fn explain_tells_of_namespaces_that_are_others() {
    let test = "explain_tells_of_namespaces_that_are_others";
    if is_root() && !lab::on_overlay() {
        let place = tempfile::tempdir().unwrap();
        let shown = format!("{}:/shown:idmap", place.path().display());
        told_as_done(test, &["--uidmap", "0:524288:65536", "-v", &shown, "busybox", "true"], 0);
    }
    told_as_done(test, &["--timens", "monotonic=1d,boottime=-1", "--ipc", "host", "busybox", "true"], 0);
    let started = rubber(["run", "-d", "busybox", "sleep", "600"]).output().unwrap();
    let id = text(&started.stdout).trim().to_owned();
    let mode = format!("container:{id}");
    told_as_done(test, &["--pid", &mode, "--network", &mode, "busybox", "true"], 0);
    rubber(["kill", &id]).output().unwrap();
    rubber(["wait", &id]).output().unwrap();
    rubber(["rm", &id]).output().unwrap();
}

#[test]
fn explain_tells_of_exec() {
    if !is_root() {
        return skip("explain_tells_of_exec", "only root can trace what hides");
    }
    let name = format!("explained-{}", std::process::id());
    let started = rubber(["run", "-d", "--rm", "--name", &name, "busybox", "sleep", "600"]).output().unwrap();
    assert!(started.status.success(), "{started:?}");
    for flags in [&[][..], &["-u", "7:8"], &["-t"]] {
        let words = [&["exec", "--explain=json"], flags, &[&name, "sh", "-c", "exit 3"]].concat();
        let traced = traced("explain_tells_of_exec", &[], &rubber(&words));
        if let Some((output, processes)) = traced {
            hold(&words, &output, &processes, 3);
            assert_eq!(processes.len(), 3, "the supervisor, the process between, and the command");
        }
    }
    rubber(["rm", "-f", &name]).output().unwrap();
}

#[test]
fn explain_tells_of_failures() {
    let test = "explain_tells_of_failures";
    told_as_done(test, &["-w", "/etc/passwd", "busybox", "true"], 125);
    told_as_done(test, &["busybox", "/etc/passwd"], 126);
    told_as_done(test, &["busybox", "nosuch"], 127);
    told_as_done(test, &["busybox", "sh", "-c", "kill -9 $$; exit 7"], 7);
    told_of_init(test, &["busybox", "sh", "-c", "kill -9 $$"], 137);
}

/// As root we can be an ordinary user as well, with a store of their own.
#[test]
fn explain_tells_of_an_ordinary_users_container() {
    let test = "explain_tells_of_an_ordinary_users_container";
    if !is_root() {
        return told_as_done(test, &["busybox", "true"], 0);
    }
    // A uid that no file knows, so there are no ranges for newuidmap.
    const UID: u32 = 54321;
    let before = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"];
    let place = tempfile::tempdir().unwrap();
    chown(place.path(), Some(UID), Some(UID)).unwrap();
    let store = place.path().join("store").display().to_string();
    let run = |words: &[&str]| {
        Command::new(before[0])
            .args(&before[1..])
            .arg(RUBBER)
            .args(["--root", &store, "run"])
            .args(words)
            .output()
    };
    match run(&["busybox", "true"]) {
        Ok(output) if output.status.success() => {}
        tried => return skip(test, &format!("another user cannot run a container here: {tried:?}")),
    }
    let flags = ["--root", &store, "run", "--explain=json", "busybox", "true"];
    let mut command = Command::new(RUBBER);
    let Some((output, processes)) = traced(test, &before, command.args(flags)) else { return };
    assert!(text(&output.stderr).contains("CLONE_NEWUSER"), "{output:?}");
    hold(&flags, &output, &processes, 0);
}

/// Text, and the other lines of rubber's: each is written with one write(2).
#[test]
fn explain_writes_each_line_at_once() {
    let test = "explain_writes_each_line_at_once";
    lab::run(&[], "true");
    let limits = ["--without", "memory", "-m", "64m"];
    for flags in [&["--explain"][..], &["--explain", "-w", "/etc/passwd"], &limits] {
        let command = rubber(["run"].iter().chain(flags).chain(&["busybox", "true"]));
        let Some((output, processes)) = traced(test, &[], &command) else { return };
        for write in processes.iter().flat_map(|process| &process.writes) {
            // A step is announced with an empty line before it; advice belongs to its error.
            let line = write.trim_start_matches('\n').replace("\n        ", " ");
            assert!(
                line.ends_with('\n') && line.trim_end_matches('\n').lines().count() == 1,
                "{write:?} in {output:?}"
            );
        }
    }
}

/// The law that makes sys.rs the only file to hold against the kernel.
#[test]
fn explain_has_one_file_to_watch() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let story = ["run.rs", "step.rs", "narrate.rs", "config.rs"].map(|name| source.join(name));
    let layers = fs::read_dir(source.join("layers")).unwrap().flatten().map(|entry| entry.path());
    let calls = [
        "unshare",
        "mount",
        "umount2",
        "pivot_root",
        "chroot",
        "chdir",
        "fchdir",
        "setns",
        "fork",
        "clone",
        "execve",
        "setsid",
        "setuid",
        "setgid",
        "setgroups",
        "sethostname",
        "mknod",
        "mkdir",
        "rmdir",
        "symlinkat",
        "umask",
        "set_pdeathsig",
        "set_dumpable",
        "kill",
        "ioctl",
        "syscall",
        "write",
    ];
    for file in story.into_iter().chain(layers) {
        let code = fs::read_to_string(&file).unwrap();
        for (n, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for call in calls {
                let asks = |path: &str| line.contains(&format!("{path}::{call}("));
                let found = [
                    "nix::sched",
                    "nix::mount",
                    "nix::unistd",
                    "nix::sys::stat",
                    "nix::sys::prctl",
                    "nix::sys::signal",
                    "libc",
                    "unistd",
                    "sched",
                    "fs",
                ];
                assert!(
                    !found.iter().any(|path| asks(path)),
                    "{}:{}: {call} is for sys.rs alone",
                    file.display(),
                    n + 1
                );
            }
        }
    }
}

//! The forms of the story: text, JSON, on a terminal, in a pipe, and rehearsed.

use super::{
    lab::{is_root, on_overlay, rubber, store, text},
    pty::Terminal,
    trace::Event,
    traced,
};
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::Path, process::Output, time::SystemTime};

fn explain(flags: &[&str]) -> Output {
    rubber(["run"].iter().chain(flags).chain(&["busybox", "true"])).output().unwrap()
}

/// Announcements start with the layer's number and name, calls with their speaker, in columns.
fn assert_aligned(story: &str) {
    // (An error's advice is none of it.)
    for line in story.lines().filter(|line| !line.is_empty() && !line.starts_with("        ")) {
        let columns = |n: usize| (line.get(..n).unwrap_or_default(), line.get(n..).unwrap_or_default());
        let is_step = line.as_bytes()[0].is_ascii_digit()
            && columns(16).0.ends_with(' ')
            && !columns(16).1.starts_with(' ');
        let (who, call) = columns(7);
        let is_call = ["host", "child", "pid 1", "command", "mapper"].contains(&who.trim_start())
            && call.starts_with("  ")
            && !call.starts_with("   ");
        assert!(is_step || is_call, "{line:?}");
    }
}

#[test]
fn explain_is_plain_in_a_pipe() {
    let output = explain(&["--explain"]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let story = text(&output.stderr);
    assert!(!story.contains(|c: char| c.is_control() && c != '\n'), "{story:?}");
    assert_aligned(&story);
    assert!(story.contains("\n05 uts          take a hostname of its own (pid 1)\n"), "{story}");
    assert!(story.contains("\n  pid 1  unshare(CLONE_NEWUTS) = 0\n"), "{story}");
}

#[test]
fn explain_is_coloured_on_a_terminal_and_not_with_no_color() {
    explain(&[]);
    let story = |no_color: Option<&str>| {
        let mut command = rubber(["run", "--explain", "-w", "/etc/passwd", "busybox", "true"]);
        command.env_remove("NO_COLOR").envs(no_color.map(|value| ("NO_COLOR", value)));
        let (code, seen) = Terminal::start(&mut command).end();
        assert_eq!(code, 125, "{seen}");
        seen.replace("\r\n", "\n")
    };
    // What ends the story is an error, and that has another form.
    let plain = |story: &str| {
        story
            .lines()
            .filter(|line| !line.starts_with("rubber: "))
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    let coloured = story(None);
    assert!(coloured.contains("\x1b[1;36m05 uts         \x1b[0m take a hostname of its own"), "{coloured:?}");
    assert!(coloured.contains("\x1b[31m= -1 ENOTDIR (Not a directory)\x1b[0m"), "{coloured:?}");
    let stripped = ["\x1b[1;36m", "\x1b[31m", "\x1b[2m", "\x1b[1m", "\x1b[0m"]
        .iter()
        .fold(coloured, |text, code| text.replace(code, ""));
    assert_aligned(&plain(&stripped));
    let uncoloured = story(Some("1"));
    assert!(!uncoloured.contains('\x1b'), "{uncoloured:?}");
    assert_aligned(&plain(&uncoloured));
    // no-color.org: set, but empty, is not set.
    assert!(story(Some("")).contains('\x1b'));
}

/// Steps and calls as JSON objects.
fn objects(output: &Output) -> Vec<Value> {
    let lines = text(&output.stderr);
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}")))
        .collect()
}

#[test]
fn explain_json_is_one_object_a_line() {
    let output = explain(&["--explain=json", "-h", "\"quoted\" \\ host"]);
    assert!(output.status.success(), "{output:?}");
    let calls = objects(&output);
    for object in &calls {
        let kinds = ["step", "call", "note"].iter().filter(|kind| object[kind].is_string()).count();
        assert!(kinds == 1 && object["who"].is_string(), "{object}");
        assert_eq!(object["step"].is_string(), object["layer"].is_string(), "{object}");
        assert!(object["errno"].is_null() || object["result"] == -1, "{object}");
    }
    let named = r#"sethostname("\"quoted\" \\ host", 15)"#;
    assert!(calls.iter().any(|object| object["call"] == named && object["result"] == 0), "{calls:?}");
}

/// A plan is what comes true, but for five things:
/// - the container's own directory goes with its record, and a rehearsal has none;
/// - how a child ends is not known before, and neither is the number of a descriptor;
/// - an ordinary user's bounding set is whole again in a user namespace, and a rehearsal makes none;
/// - what an ordinary user may not make (device nodes) is borrowed from the host, once that has been tried.
fn plan(objects: Vec<Value>) -> Vec<String> {
    let own_directory = |text: &str| {
        text.contains("/containers/")
            && text.split("/containers/").nth(1).is_some_and(|rest| rest[12..].starts_with('"'))
    };
    let on_overlay = on_overlay();
    let is_record = |text: &str| {
        // What is written on a store that is an overlay itself is kept in memory, and gone by itself.
        if on_overlay && text.starts_with("remove ") {
            return true;
        }
        (text.starts_with("mkdir(") || text.starts_with("rmdir(") || text.starts_with("remove "))
            && own_directory(text)
    };
    let is_ordinary = |text: &str| {
        !is_root()
            && ["PR_CAPBSET_DROP", "makedev(", "S_IFREG|", "mount(\"dev/"]
                .iter()
                .any(|part| text.contains(part))
    };
    let line = |object: Value| {
        let said = ["step", "call", "note"].iter().find_map(|kind| object[kind].as_str()).unwrap().to_owned();
        let told = if said.starts_with("wait4(-1") { "wait4(-1)".into() } else { without_descriptor(said) };
        (object["who"].as_str().unwrap().to_owned(), told)
    };
    let lines = objects.into_iter().map(line).filter(|(_, text)| !is_record(text) && !is_ordinary(text));
    let mut lines: Vec<_> = lines.map(|(who, text)| format!("{who}: {}", masked(&text))).collect();
    // Two processes that run side by side speak as they come: each has an order of its own.
    lines.sort_by_key(|line| line.split(':').next().map(str::to_owned));
    lines
}

fn without_descriptor(said: String) -> String {
    const WITH_SOME: &[&str] = &[
        "clone3",
        "ioctl",
        "fchdir",
        "openat",
        "openat2",
        "mkdirat",
        "mknodat",
        "open_tree",
        "move_mount",
        "mount_setattr",
        "fsconfig",
        "fsmount",
    ];
    let Some((name, args)) = said.split_once('(').filter(|(name, _)| WITH_SOME.contains(name)) else {
        return said;
    };
    let masked = |arg: &str| {
        let number = arg.trim_end_matches([')', '}']).trim_start_matches("cgroup=");
        if number.parse::<u32>().is_ok() { arg.replace(number, "FD") } else { arg.to_owned() }
    };
    format!("{name}({}", args.split(", ").map(masked).collect::<Vec<_>>().join(", "))
}

/// Container ids are random.
fn masked(text: &str) -> String {
    let mut parts = text.split_inclusive("containers/").flat_map(|part| part.split_inclusive("rubber-"));
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "ID" + part.get(12..).unwrap_or_default())
}

#[test]
fn explain_dry_run_is_the_plan_of_a_real_run() {
    explain(&[]);
    let limits = ["-m", "64m", "--cpus", "0.5", "--pids-limit", "9", "-h", "x"];
    let stages: [&[&str]; 9] = [
        &["-h", "x"],
        if is_root() { &limits } else { &["-h", "y"] },
        &["-h", "x", "--init"],
        // Without their own pids an ordinary user borrows /proc from the host, once mounting one has been tried.
        if is_root() { &["-h", "x", "--without", "pid"] } else { &["-h", "v"] },
        &["--until", "chroot"],
        if is_root() { &["--until", "pivot_root"] } else { &["-h", "w"] },
        &["--until", "process"],
        &["-h", "x", "--privileged"],
        if is_root() { &["-h", "x", "--user", "7:8"] } else { &["-h", "z"] },
    ];
    for flags in stages {
        let image: &[&str] = if flags.contains(&"process") { &[] } else { &["busybox"] };
        let run = |dry: &[&str]| {
            let words =
                ["run", "--explain=json"].iter().chain(flags).chain(dry).chain(image).chain(&["/bin/true"]);
            rubber(words).output().unwrap()
        };
        let (planned, real) = (run(&["--dry-run"]), run(&[]));
        assert!(planned.status.success() && real.status.success(), "{flags:?}: {planned:?} {real:?}");
        assert!(objects(&planned).iter().all(|object| object["result"].is_null()), "{planned:?}");
        let (planned, real) = (plan(objects(&planned)), plan(objects(&real)));
        for (planned, real) in planned.iter().zip(&real) {
            assert_eq!(planned, real, "{flags:?}");
        }
        assert_eq!(planned.len(), real.len(), "{flags:?}: {planned:#?} {real:#?}");
    }
}

#[test]
fn explain_dry_run_knows_the_images_programs_and_users() {
    explain(&[]);
    let run = |dry: &[&str], words: &[&str]| {
        let words = ["run", "--explain=json", "-h", "x"].iter().chain(dry).chain(words);
        rubber(words).output().unwrap()
    };
    // adjtimex is a command of busybox that few hosts have.
    let words: [&[&str]; 2] = [&["busybox", "adjtimex"], &["--user", "guest", "busybox", "true"]];
    for words in words {
        let (planned, real) = (run(&["--dry-run"], words), run(&[], words));
        assert_eq!(planned.status.code(), Some(0), "{planned:?}");
        // An ordinary user may have just one id to give.
        if !is_root() && text(&real.stderr).contains("setgid(1000): EINVAL") {
            continue;
        }
        assert_eq!(plan(objects(&planned)), plan(objects(&real)));
    }
}

#[test]
fn explain_dry_run_opens_no_terminal() {
    let planned = explain(&["--dry-run", "-t"]);
    assert!(planned.status.success(), "{planned:?}");
}

fn listing(dir: &Path) -> BTreeMap<String, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let about = entry.metadata().unwrap();
        found.insert(entry.path().display().to_string(), (about.len(), about.modified().unwrap()));
        if about.is_dir() && entry.file_name() != "layers" {
            found.extend(listing(&entry.path()));
        }
    }
    found
}

#[test]
fn explain_dry_run_does_nothing() {
    let test = "explain_dry_run_does_nothing";
    // A store that no other test writes to meanwhile.
    let place = tempfile::tempdir().unwrap();
    let own = place.path().join("store").display().to_string();
    let made =
        std::process::Command::new(super::RUBBER).args(["--root", &own, "run", "busybox", "true"]).output();
    let root =
        if made.is_ok_and(|output| output.status.success()) { own } else { store().display().to_string() };
    let before = listing(Path::new(&root));
    let mut command = std::process::Command::new(super::RUBBER);
    command.args(["--root", &root, "run", "--dry-run", "--explain=json", "-m", "64m", "busybox", "true"]);
    if !is_root() {
        command = std::process::Command::new(super::RUBBER);
        command.args(["--root", &root, "run", "--dry-run", "--explain=json", "busybox", "true"]);
    }
    let Some((output, processes)) = traced(test, &[], &command) else { return };
    assert!(output.status.success() && text(&output.stderr).contains("CLONE_NEWPID"), "{output:?}");
    assert_eq!(processes.len(), 1, "a dry run has one process: {output:?}");
    let done: Vec<_> = processes[0]
        .events
        .iter()
        // A caller's umask is put right before anything is read (src/surroundings.rs), and is nobody else's.
        .filter(
            |event| matches!(event, Event::Made { quiet: false, text, .. } if !text.starts_with("umask(")),
        )
        .collect();
    assert!(done.is_empty(), "{done:?}");
    assert_eq!(listing(Path::new(&root)), before);
}

/// Where nothing is made yet, every stage can be planned, and nothing is made by that.
#[test]
fn explain_dry_run_needs_nothing_that_is_made() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("not/yet/there");
    let run = |flags: &[&str]| {
        let mut command = std::process::Command::new(super::RUBBER);
        command.arg("--root").arg(&store).args(["run", "--dry-run"]).args(flags);
        command.args(["-v", "data:/data", "busybox", "true"]).output().unwrap()
    };
    let layers: Vec<serde_json::Value> =
        serde_json::from_slice(&rubber(["layers", "--format", "json"]).output().unwrap().stdout).unwrap();
    let layers: std::collections::BTreeSet<_> =
        layers.iter().filter_map(|step| step["layer"].as_str()).filter(|layer| *layer != "seccomp").collect();
    assert!(layers.len() > 12, "{layers:?}");
    for layer in layers {
        let left_out = format!("mount,pivot_root,overlay,{layer}");
        let stages = [["--until", layer], ["--without", layer], ["--without", &left_out]];
        // Without a process there is nobody to isolate, and what needs a mount says so.
        let is_refused = |flags: &[&str; 2]| flags[0] == "--without" && ["process", "mount"].contains(&layer);
        for flags in stages.iter().filter(|flags| !is_refused(flags)) {
            let output = run(&flags[..]);
            assert!(output.status.success(), "{flags:?}: {}", text(&output.stderr));
        }
    }
    assert_eq!(listing(place.path()).len(), 0);
}

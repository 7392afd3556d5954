//! `--step`: waiting, looking around, and stopping at each step.

mod lab;
#[path = "lab/pty.rs"]
mod pty;

use lab::{code, rubber, store, text};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pty::Terminal;
use std::{
    fs,
    io::{BufReader, Read, Write},
    path::Path,
    process::{Child, Output, Stdio},
};

/// How every prompt ends.
const PROMPT: &str = "[q] stop here ";

/// Runs `rubber run --step FLAGS` with `typed` on its stdin.
fn step(flags: &[&str], typed: &str) -> Output {
    let mut child = start(flags);
    // Who quits does not read the rest: a broken pipe is fine.
    let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
    child.wait_with_output().unwrap()
}

fn start(flags: &[&str]) -> Child {
    let mut command = rubber(["run", "--step"].iter().chain(flags));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn prompts(output: &Output) -> usize {
    text(&output.stderr).matches(PROMPT).count()
}

/// The id of the container that told this story.
fn id(story: &str) -> Option<&str> {
    story.split("containers/").nth(1)?.get(..12)
}

/// Nothing of the container that told `story` is left; `mark` is a word of its command line.
fn assert_gone(story: &str, mark: &str) {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    for process in processes {
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        assert!(!text(&words).contains(mark), "{:?} still runs: {}", process.path(), text(&words));
    }
    let Some(id) = id(story) else { return };
    let containers = store().join("containers");
    for left in [containers.join(id), containers.join(format!("{id}.json"))] {
        assert!(!left.exists(), "{} is left", left.display());
    }
    for tree in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let group = tree.path().join(format!("rubber-{id}"));
        assert!(
            !group.exists() && !tree.file_name().to_string_lossy().contains(id),
            "{} is left",
            group.display()
        );
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(id), "{mounts}");
}

#[test]
fn step_waits_before_each_step_and_leaves_the_rest_to_the_command() {
    // At the end of the input nobody is asked any more, and it goes on.
    let script = ["busybox", "sh", "-c", "cat; exit 7"];
    let unattended = step(&script, "");
    assert_eq!(code(&unattended), 7, "{unattended:?}");
    assert!(unattended.stdout.is_empty());
    let steps = prompts(&unattended);
    assert_eq!(steps, announced_while_building(&script), "{}", text(&unattended.stderr));

    let rest = "first\n\nno newline at the end";
    let output = step(&script, &("\n".repeat(steps) + rest));
    assert_eq!((code(&output), text(&output.stdout).as_str()), (7, rest), "{}", text(&output.stderr));
    assert_eq!(prompts(&output), steps);
    // What is no answer is asked again, and is not the command's.
    let output = step(&script, &("what?\n".to_owned() + &"\n".repeat(steps) + rest));
    assert_eq!((code(&output), text(&output.stdout).as_str()), (7, rest));
    assert_eq!(prompts(&output), steps + 1);
}

/// The steps of the plan, without those that clean up (they are not asked for).
fn announced_while_building(command: &[&str]) -> usize {
    let output = rubber([&["run", "--dry-run"], command].concat()).output().unwrap();
    let plan = text(&output.stderr);
    let steps: Vec<_> =
        plan.lines().filter(|line| line.ends_with("(host)") || line.ends_with("(pid 1)")).collect();
    steps.iter().rposition(|line| line.ends_with("(pid 1)")).unwrap() + 1
}

#[test]
fn step_quits_at_every_step_and_leaves_nothing() {
    for layers in
        [&[][..], &["--until", "chroot"], &["--until", "pivot_root"], &["--init", "--without", "pid"]]
    {
        let mark = format!("mark-quit-{}-{}", std::process::id(), layers.len());
        let flags = [layers, &["busybox", "sh", "-c", "cat", &mark]].concat();
        let steps = prompts(&step(&flags, ""));
        assert!(steps > 2, "{flags:?}");
        for before in 0..steps {
            let output = step(&flags, &("\n".repeat(before) + "q\nnever read"));
            let story = text(&output.stderr);
            assert_eq!(code(&output), 0, "after {before} steps: {story}");
            assert_eq!(prompts(&output), before + 1, "{story}");
            assert!(output.stdout.is_empty() && !story.contains("execve("), "{story}");
            assert!(!story.contains("rubber: "), "{story}");
            assert_gone(&story, &mark);
        }
    }
}

/// Reads until `count` prompts have come.
fn read_prompts(from: &mut impl Read, count: usize) -> String {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while text(&seen).matches(PROMPT).count() < count {
        assert_eq!(from.read(&mut byte).unwrap(), 1, "it ended before prompt {count}: {}", text(&seen));
        seen.push(byte[0]);
        // The search above need not be made for each byte of a long story.
        while byte != *b" " && from.read(&mut byte).unwrap() == 1 {
            seen.push(byte[0]);
        }
    }
    text(&seen)
}

#[test]
fn step_is_stopped_by_a_signal_to_rubber() {
    let mark = format!("mark-signal-{}", std::process::id());
    let flags = ["busybox", "sh", "-c", "cat", &mark];
    let steps = prompts(&step(&flags, ""));
    for (signal, before) in
        [(Signal::SIGINT, 0), (Signal::SIGINT, steps / 2), (Signal::SIGTERM, steps - 1), (Signal::SIGHUP, 4)]
    {
        let mut child = start(&flags);
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all("\n".repeat(before).as_bytes()).unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut story = read_prompts(&mut stderr, before + 1);
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        // The input stays open: it is the signal that ends it.
        let status = child.wait().unwrap();
        stderr.read_to_string(&mut story).unwrap();
        assert_eq!(status.code(), Some(0), "{signal} after {before} steps: {story}");
        assert!(!story.contains("execve("), "{story}");
        assert_gone(&story, &mark);
        drop(stdin);
    }
}

/// Goes on to the step that is announced as `does`, and stays there.
fn go_to(terminal: &mut Terminal, does: &str) {
    loop {
        if terminal.wait_for(PROMPT).contains(does) {
            return;
        }
        terminal.type_in("\n");
    }
}

/// Opens a shell at this stage, has it say `expression`, and comes back to the prompt.
fn ask(terminal: &mut Terminal, expression: &str) -> String {
    terminal.type_in("s\n");
    terminal.wait_for("# ");
    terminal.type_in(&format!("echo \"[[$({expression})]]\"\n"));
    // The first time it is only our typing that comes back.
    terminal.wait_for("\n[[");
    let said = terminal.wait_for("]]").trim_end_matches("]]").to_owned();
    terminal.type_in("exit\n");
    terminal.wait_for(PROMPT);
    said.replace("\r\n", "\n")
}

#[test]
fn step_shell_sees_exactly_this_stage() {
    let words = ["run", "--step", "-h", "inside.test", "busybox", "sh", "-c", "hostname; exit 3"];
    let mut terminal = Terminal::start(&mut rubber(words));
    let hostname = || fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    let own =
        |kind: &str| fs::read_link(Path::new("/proc/self/ns").join(kind)).unwrap().display().to_string();

    go_to(&mut terminal, "take a hostname of its own");
    let seen = ask(
        &mut terminal,
        "cat /proc/sys/kernel/hostname; readlink /proc/self/ns/uts; readlink /proc/self/ns/mnt",
    );
    let seen: Vec<_> = seen.lines().collect();
    assert_eq!(seen[..2], [hostname(), own("uts")], "{}", terminal.seen);
    assert_ne!(seen[2], own("mnt"), "{}", terminal.seen);

    terminal.type_in("\n");
    go_to(&mut terminal, "leave the host's network");
    let seen = ask(
        &mut terminal,
        "cat /proc/sys/kernel/hostname; readlink /proc/self/ns/uts; readlink /proc/self/ns/net; test -e /usr/include/../../proc/version && echo $PPID",
    );
    let seen: Vec<_> = seen.lines().collect();
    assert_eq!((seen[0], seen[2]), ("inside.test", own("net").as_str()));
    assert_ne!(seen[1], own("uts"));
    // It is pid 1 that forked the shell; the old /proc counts from the host.
    assert_eq!(seen[3], "1");

    terminal.type_in("\n");
    go_to(&mut terminal, "mount /proc");
    // The root is the image's, the working directory still the host's.
    let seen = ask(
        &mut terminal,
        "ls /proc | wc -l; test -x /bin/busybox && echo image; test -e proc/version && echo host",
    );
    assert_eq!(seen, "0\nimage\nhost");
    // A Ctrl-C in the shell is the shell's, though the host hands it on to pid 1.
    terminal.type_in("s\n");
    terminal.wait_for("# ");
    terminal.type_in("echo soon; sleep 100\n");
    terminal.wait_for("\nsoon");
    terminal.type_in("\x03");
    terminal.wait_for("kill(");
    terminal.type_in("exit\n");
    terminal.wait_for(PROMPT);

    terminal.type_in("\n");
    go_to(&mut terminal, "become the user");
    let seen = ask(
        &mut terminal,
        "hostname; cat /proc/1/comm; ls /proc | grep -c '^[0-9]'; ls . | grep -c '^proc$'",
    );
    let seen: Vec<_> = seen.lines().collect();
    assert_eq!(seen[..2], ["inside.test", "rubber:pid 1"], "{}", terminal.seen);
    // Pid 1, the shell, its ls and its grep or less.
    assert!(seen[2].parse::<u32>().unwrap() <= 5, "{seen:?}");

    // The shell was a guest: what it left behind goes on as if it had not been there.
    terminal.type_in("\n");
    go_to(&mut terminal, "become the command");
    terminal.type_in("\n");
    terminal.wait_for("inside.test\r\n");
    let (code, seen) = terminal.end();
    assert_eq!(code, 3, "{seen}");
}

#[test]
fn step_works_on_a_terminal_of_the_containers_own() {
    for flags in [&["-t"][..], &["-i", "-t"]] {
        let words = ["run", "--step"].iter().chain(flags).chain(&["busybox", "sh", "-c", "tty; exit 5"]);
        let mut terminal = Terminal::start(&mut rubber(words));
        go_to(&mut terminal, "become the command");
        terminal.type_in("\n");
        let (code, seen) = terminal.end();
        assert_eq!(code, 5, "{flags:?}: {seen}");
        assert!(seen.contains("/dev/pts/0") || seen.contains("/dev/console"), "{seen}");
    }
}

#[test]
fn step_is_stopped_by_ctrl_c() {
    let mark = format!("mark-ctrl-c-{}", std::process::id());
    for does in ["make the next child pid 1", "take a hostname of its own", "become the command"] {
        let mut terminal =
            Terminal::start(&mut rubber(["run", "--step", "busybox", "sh", "-c", "cat", &mark]));
        go_to(&mut terminal, does);
        terminal.type_in("\x03");
        let (code, story) = terminal.end();
        assert_eq!(code, 0, "at {does:?}: {story}");
        assert_gone(&story, &mark);
    }
}

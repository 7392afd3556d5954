//! Files of the caller's as standard streams: the command has what was lent, and opens none of them once more for more.

use super::*;
use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// Each way to a command: foreground, with an init, with a log, and joined.
fn each_way(test: impl Fn(&str, &str)) {
    let name = format!("lent-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    say(&[], "true");
    let started = rubber(["run", "-d", "--name", &name, "busybox", "sleep", "1000"]).output().unwrap();
    assert!(started.status.success(), "{started:?}");
    let exec = format!("RUBBER exec {name}");
    for way in ["RUBBER run busybox", "RUBBER run --init busybox", "RUBBER run -i busybox", "logged", &exec] {
        test(way, way);
    }
    rubber(["rm", "-f", &name]).output().unwrap();
}

/// A container that is kept, which has a log, and is removed then.
const LOGGED: &str = "logged() {
    local name=lent-$BASHPID-$RANDOM code
    RUBBER run --name $name busybox \"$@\"
    code=$?
    RUBBER rm -f $name >/dev/null </dev/null
    return $code
}";

fn place() -> tempfile::TempDir {
    tempfile::tempdir_in(lab::scratch()).unwrap()
}

fn closed(file: &Path, content: &str) {
    fs::write(file, content).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

/// In `place`, as a shell has it.
fn sh(place: &Path, script: &str) -> Output {
    shell(&format!("{LOGGED}\ncd '{}' && {script}", place.display()))
}

#[test]
fn a_file_lent_as_stdout_is_neither_read_nor_truncated() {
    each_way(|way, what| {
        let place = place();
        let file = place.path().join("file");
        for (stream, redirect) in [(1, ">>file 2>/dev/null"), (2, "2>>file >/dev/null"), (1, ">>file 2>&1")] {
            closed(&file, "the host's secret\n");
            let attack = format!(
                "timeout 1 cat /proc/self/fd/{stream} >/tmp/seen; : >/proc/self/fd/{stream}; wc -c </tmp/seen >&{stream}"
            );
            let output = sh(place.path(), &format!("{way} sh -c '{attack}' {redirect}"));
            let left = fs::read_to_string(&file).unwrap();
            let is_whole = left.starts_with("the host's secret\n") && left.ends_with("\n0\n");
            assert!(is_whole, "{what} {redirect}: {left} {output:?}");
        }
    });
}

#[test]
fn a_file_lent_as_stdin_is_not_written_to() {
    each_way(|way, what| {
        let place = place();
        let file = place.path().join("file");
        closed(&file, "the host's\n");
        let attack = "read x; echo $x; echo overwritten >>/proc/self/fd/0";
        let output = sh(place.path(), &format!("{way} sh -c '{attack}' <file"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "the host's\n", "{what}: {output:?}");
        assert_eq!(text(&output.stdout), "the host's\n", "{what}: {output:?}");
    });
}

#[test]
fn a_directory_is_lent_to_no_command() {
    each_way(|way, what| {
        let place = place();
        fs::write(place.path().join("the-hosts"), "secret").unwrap();
        let attack = "ls /proc/self/fd/0/; cat /proc/self/fd/0/the-hosts; echo ran";
        for redirect in ["<.", "1<.", "2<."] {
            let output = sh(place.path(), &format!("{way} sh -c '{attack}' {redirect} 3>&1; echo code $?"));
            let said = text(&output.stdout);
            assert!(!said.contains("the-hosts") && !said.contains("ran"), "{what} {redirect}: {output:?}");
            assert!(said.ends_with("code 125\n"), "{what} {redirect}: {output:?}");
            let told = text(&output.stderr);
            assert!(redirect == "2<." || told.contains("is a directory"), "{what} {redirect}: {output:?}");
        }
    });
}

/// A file that was opened for another to read is one of a fifo, too, when it has a name.
#[test]
fn a_fifo_lent_is_not_opened_at_its_other_end() {
    each_way(|way, what| {
        let place = place();
        let attack = "echo told; stat -Lc %d:%i /proc/self/fd/1 >&2";
        let script = format!(
            "mkfifo f; {{ echo other; {way} sh -c '{attack}'; }} >f & cat f; wait; stat -c %d:%i f >&2"
        );
        let output = sh(place.path(), &script);
        assert_eq!(text(&output.stdout), "other\ntold\n", "{what}: {output:?}");
        let told = text(&output.stderr);
        let files: Vec<_> = told.lines().collect();
        assert!(files.len() == 2 && files[0] != files[1], "{what}: it has the host's own: {output:?}");
        let attack = "read x; echo $x; echo into >>/proc/self/fd/0; exit 5";
        let script = format!("mkfifo g; (echo in; sleep 1) >g & {way} sh -c '{attack}' <g; echo $?; wait");
        let output = sh(place.path(), &script);
        assert_eq!(text(&output.stdout), "in\n5\n", "{what}: {output:?}");
    });
}

#[test]
fn what_is_printed_is_where_it_would_be_without_us() {
    each_way(|way, what| {
        let place = place();
        let check = |script: &str, expected: &str| {
            let output = sh(place.path(), &script.replace("WAY", &format!("{way} sh -c")));
            let found = fs::read_to_string(place.path().join("file")).unwrap_or_default();
            assert_eq!(found, expected, "{what}: {script}: {output:?}");
        };
        check("(echo a; WAY 'echo b'; echo c) >file", "a\nb\nc\n");
        check("echo 0 >file; (WAY 'echo b'; echo c) >>file", "0\nb\nc\n");
        let many = "for i in 1 2 3 4 5 6 7 8; do echo o$i; echo e$i >&2; done";
        let logged = way == "logged";
        if !logged {
            let lines: String = (1..9).map(|i| format!("o{i}\ne{i}\n")).collect();
            check(&format!("WAY '{many}' >file 2>&1"), &lines);
            check(&format!("rm file; WAY '{many}' >>file 2>>file"), &lines);
        }
        check("echo 123456789 >file; WAY 'echo x' 1<>file", "x\n3456789\n");
    });
}

/// Of a file that the command has not read to its end the rest is the caller's, as it is without us.
#[test]
fn what_is_not_read_is_left_for_the_caller() {
    each_way(|way, what| {
        let place = place();
        fs::write(place.path().join("list"), "a\nb\nc\n").unwrap();
        for (script, expected) in [
            ("while read x; do WAY 'echo $1' sh $x; done <list", "a\nb\nc\n"),
            ("{ WAY 'read x; echo got $x'; cat; } <list", "got a\nb\nc\n"),
            ("{ read x; WAY 'cat'; cat; } <list", "b\nc\n"),
            ("WAY 'cat; cat' <list", "a\nb\nc\n"),
            ("WAY 'cat' </proc/version | grep -c Linux", "1\n"),
            ("WAY 'head -c 3 | wc -c' </dev/zero", "3\n"),
            ("head -c 3000000 /dev/zero >big; WAY 'wc -c' <big", "3000000\n"),
        ] {
            let output = sh(place.path(), &script.replace("WAY", &format!("{way} sh -c")));
            assert_eq!(text(&output.stdout), expected, "{what}: {script}: {output:?}");
        }
    });
}

#[test]
fn a_full_disk_is_told_and_ends_in_an_error() {
    say(&[], "true");
    for (command, told) in [("echo hi", true), ("yes", true), ("true", false)] {
        for way in ["run", "run --init"] {
            let output = shell(&format!("RUBBER {way} busybox {command} >/dev/full; echo code $?"));
            let is_told = text(&output.stderr).contains("No space left on device");
            assert_eq!(is_told, told, "{way} {command}: {output:?}");
            assert_eq!(text(&output.stdout) == "code 0\n", !told, "{way} {command}: {output:?}");
        }
    }
    let output = shell("RUBBER run busybox sh -c 'echo hi; exit 9' >/dev/full; echo code $?");
    assert_eq!(text(&output.stdout), "code 9\n", "{output:?}");
}

/// Also when nobody reads on, where there is a name and where there is none.
#[test]
fn a_reader_of_a_fifo_that_goes_away_ends_the_writer() {
    let place = place();
    say(&[], "true");
    let script = "mkfifo f; (RUBBER run --init busybox yes >f; echo $? >code) & head -n 1 f; wait; cat code";
    let output = sh(place.path(), script);
    assert_eq!((text(&output.stdout).as_str(), text(&output.stderr).as_str()), ("y\n141\n", ""));
}

#[test]
fn a_signal_comes_through_while_a_fifo_is_full() {
    let place = place();
    say(&[], "true");
    let script = "mkfifo f; exec 3<>f; RUBBER run --init busybox yes >f & pid=$!; sleep 2; kill $pid; wait $pid; echo $?";
    let output = sh(place.path(), &format!("timeout 30 bash -c '{script}'"));
    assert_eq!(text(&output.stdout), "143\n", "{output:?}");
}

/// The kernel ends the container with its rubber, and what came out until then is in the file.
#[test]
fn a_killed_rubber_leaves_what_was_printed() {
    let place = place();
    let file = place.path().join("file");
    let out = fs::File::create(&file).unwrap();
    let words = ["run", "busybox", "sh", "-c", "echo ready; exec sleep 1000"];
    let mut child = rubber(words).stdout(out).spawn().unwrap();
    let begin = Instant::now();
    while fs::read(&file).unwrap() != b"ready\n" {
        assert!(begin.elapsed() < Duration::from_secs(30), "it does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
    let sleep = lab::wait_for_descendant(child.id(), "sleep");
    child.kill().unwrap();
    child.wait().unwrap();
    while Path::new(&format!("/proc/{sleep}")).exists() {
        assert!(begin.elapsed() < Duration::from_secs(30), "it does not end");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(fs::read(&file).unwrap(), b"ready\n");
}

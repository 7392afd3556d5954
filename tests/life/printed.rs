//! `logs`: what was printed, as it was printed.

use super::*;

#[test]
fn both_streams_are_kept_apart_and_whole() {
    let place = Place::new("logs");
    let script = "echo out; echo err >&2; printf 'a\\0b\\377\\n'; printf 'no end'";
    place.say(&["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
    place.say(&["wait", "box"]);
    let output = place.run(&["logs", "box"]);
    assert_eq!(output.stdout, b"out\na\0b\xff\nno end");
    assert_eq!(output.stderr, b"err\n");
    assert_eq!(place.run(&["logs", "--tail", "1", "box"]).stdout, b"no end");
    assert_eq!(place.run(&["logs", "--tail", "0", "box"]).stdout, b"");
    let timed = text(&place.run(&["logs", "-t", "--tail", "2", "box"]).stdout);
    assert!(timed.lines().all(|line| line.contains("Z ") && line.starts_with("20")), "{timed}");
    assert_eq!(place.run(&["logs", "--since", "1h", "box"]).stdout, output.stdout);
    assert_eq!(place.run(&["logs", "--since", "2200-01-01T00:00:00Z", "box"]).stdout, b"");
    assert!(place.fails(&["logs", "--since", "yesterday", "box"], 125).contains("is no time"));
}

#[test]
fn a_log_can_be_followed_to_the_end() {
    let place = Place::new("follow");
    let script = "for n in 1 2 3 4 5; do echo $n; sleep 0.2; done";
    place.say(&["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
    assert_eq!(place.say(&["logs", "-f", "box"]), "1\n2\n3\n4\n5");
}

/// Nobody reads, and it prints more than any pipe holds: it must come to its end all the same, and the
/// log must not fill the disk.
#[test]
fn who_prints_much_is_neither_stopped_nor_kept_whole() {
    let place = Place::new("much");
    let script = "head -c 50000000 /dev/zero | tr '\\0' 'x' | fold -w 99; echo; echo last";
    place.say(&["run", "-d", "--name", "box", "busybox", "sh", "-c", script]);
    assert_eq!(place.say(&["wait", "box"]), "0");
    assert_eq!(place.say(&["logs", "--tail", "1", "box"]), "last");
    let size = |name: String| std::fs::metadata(place.file(&name)).map_or(0, |about| about.len());
    let id = place.say(&["ps", "-aq"]);
    let total = size(format!("{id}.log")) + size(format!("{id}.log.1"));
    assert!((1 << 20..34 << 20).contains(&total), "{total} bytes");
}

#[test]
fn a_named_container_in_the_foreground_is_logged_too() {
    let place = Place::new("named");
    let output =
        place.run(&["run", "--name", "box", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((code(&output), &output.stdout[..], &output.stderr[..]), (3, &b"out\n"[..], &b"err\n"[..]));
    let logs = place.run(&["logs", "box"]);
    assert_eq!((&logs.stdout, &logs.stderr), (&output.stdout, &output.stderr));
    assert_eq!(place.say(&["wait", "box"]), "3");
}

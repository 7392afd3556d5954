//! `rubber portrait`: what it says of containers made here by other means.

mod lab;

use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

const RUBBER: &str = env!("CARGO_BIN_EXE_rubber");

fn facts() -> Value {
    let output = Command::new(RUBBER).args(["facts", "--format", "json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What `script` prints, or nothing and a loud line when this machine does not let us.
fn inside(unshare: &[&str], script: &str) -> Option<Output> {
    let run = |script: &str| Command::new("unshare").args(unshare).args(["sh", "-c", script]).output();
    match run("true") {
        Ok(tried) if tried.status.success() => Some(run(&script.replace("RUBBER", RUBBER)).unwrap()),
        tried => {
            lab::skip_this(&format!("unshare {unshare:?} is not possible here: {tried:?}"));
            None
        }
    }
}

fn assert_fits(text: &str) {
    for line in text.lines() {
        let width = unicode_width::UnicodeWidthStr::width(line);
        assert!(width <= 80, "{width} columns: {line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

/// The portrait drawn by `command`, told `outside` on stdin.
fn portrait(command: &mut Command, outside: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(outside.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn row<'a>(portrait: &'a str, layer: &str) -> &'a str {
    portrait.lines().find(|line| line.contains(layer)).unwrap_or_else(|| panic!("no {layer} in\n{portrait}"))
}

#[test]
fn portrait_tells_what_is_its_own_from_what_is_the_hosts() {
    if inside(&["-rmpfun", "--mount-proc"], "true").is_none() {
        return;
    }
    let host = facts();
    let outside = json!({"host": host, "asked": {"memory": 134217728, "cpus": 0.5}}).to_string();
    let script = format!("hostname inside && exec {RUBBER} portrait");
    let mut command = Command::new("unshare");
    let drawn = portrait(command.args(["-rmpfun", "--mount-proc", "sh", "-c", &script]), &outside);
    for own in ["02 mount", "05 uts", "06 pid", "07 net", "13 userns"] {
        assert!(row(&drawn, own).starts_with(" + "), "{drawn}");
    }
    for shared in ["01 chroot", "04 overlay", "12 seccomp", "14 ipc"] {
        assert!(row(&drawn, shared).starts_with(" = "), "{drawn}");
    }
    assert!(row(&drawn, "05 uts").contains("inside"), "{drawn}");
    assert!(row(&drawn, "05 uts").ends_with(host["hostname"].as_str().unwrap()), "{drawn}");
    assert!(row(&drawn, "06 pid").contains("pid 1, sees 1 "), "{drawn}");
    assert!(row(&drawn, "12 seccomp").ends_with("= same --until seccomp"), "{drawn}");
    assert_fits(&drawn);
    assert!(drawn.lines().count() <= 24, "{drawn}");
}

#[test]
fn portrait_shows_what_was_asked_where_no_cgroup_is_visible() {
    let Some(_) = inside(&["-rm"], "true") else { return };
    let outside = r#"{"host": {"limits": {"memory": null}}, "asked": {"memory": 33554432, "pids": 64}}"#;
    let script = format!("mount -t tmpfs none /sys && exec {RUBBER} portrait");
    let drawn = portrait(Command::new("unshare").args(["-rm", "sh", "-c", &script]), outside);
    assert!(row(&drawn, "memory limit").starts_with(" + "), "{drawn}");
    assert!(row(&drawn, "memory limit").contains("32 MiB"), "{drawn}");
    assert!(row(&drawn, "process limit").contains(" 64 "), "{drawn}");
    assert!(row(&drawn, "cpu limit").contains("no limit"), "{drawn}");
}

#[test]
fn portrait_obeys_nothing_it_is_told() {
    let evil = "\u{1b}]0;x\u{7}\u{9b}2J\n\u{202e}漢字".repeat(40);
    let outside = json!({
        "hostname": evil, "pid": 7, "ns": {"uts": 1}, "ns_host": {"uts": false}, "cwd": evil,
        "interfaces": [{"name": evil}], "root": {"device": evil, "inode": 5, "fstype": evil},
        "caps": {"bounding": [evil, evil, evil, evil, evil, evil]}, "seccomp": evil,
    });
    let drawn = portrait(Command::new(RUBBER).arg("portrait").env("EVIL", &evil), &outside.to_string());
    assert!(row(&drawn, "05 uts").contains("\\x1b]0;x"), "{drawn}");
    assert_fits(&drawn);
}

#[test]
fn portrait_does_without_a_host() {
    for said in ["", "{", "[1]", "{}", "null", "not json", "{\"host\": 5}", "{\"host\": {\"pid\": \"x\"}}"] {
        let drawn = portrait(Command::new(RUBBER).arg("portrait"), said);
        assert!(drawn.contains("rubber run -it busybox sh"), "{said}: {drawn}");
        assert_fits(&drawn);
    }
}

#[test]
fn portrait_does_not_wait_for_a_silent_stdin() {
    let mut command = Command::new(RUBBER);
    let begin = Instant::now();
    let mut child = command.arg("portrait").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let _open = child.stdin.take();
    let mut drawn = String::new();
    child.stdout.take().unwrap().read_to_string(&mut drawn).unwrap();
    child.wait().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(5));
    assert!(drawn.contains("05 uts"));
}

#[test]
fn portrait_honours_no_color() {
    let mut command = Command::new(RUBBER);
    let coloured = portrait(command.arg("portrait").env_remove("NO_COLOR").env("CLICOLOR_FORCE", "1"), "");
    assert!(coloured.contains("\u{1b}["));
    let plain =
        portrait(Command::new(RUBBER).arg("portrait").env("NO_COLOR", "1").env_remove("CLICOLOR_FORCE"), "");
    assert_fits(&plain);
}

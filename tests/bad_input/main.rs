//! What is wrong in a command line, an image or a store is told in one message that names it, with
//! docker's exit codes; and what only looks odd works.

#[path = "../lab/crowd.rs"]
mod crowd;
#[path = "../lab/mod.rs"]
mod lab;
#[path = "../lab/layout.rs"]
mod layout;
#[path = "../lab/pty.rs"]
mod pty;

mod crowded;
mod many;
mod nested;
mod odd;
mod roots;
mod shown;
mod stores;
mod wrong;

use lab::{RUBBER, code, is_root, rubber, run, say, store, text};
use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::{ffi::OsStrExt, ffi::OsStringExt, fs::PermissionsExt, fs::symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// One message of rubber's with this exit code and these words in it: no panic, no backtrace, no
/// inside of a struct, nothing a terminal obeys, no fact twice.
pub fn assert_told(output: &Output, expected: i32, words: &[&str], what: &str) {
    let said = text(&output.stderr);
    assert_eq!(code(output), expected, "{what}: {output:?}");
    let mut lines = said.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("rubber: ")), "{what}: {said}");
    // A line of advice may follow, indented.
    assert!(lines.clone().count() <= 1 && lines.all(|line| line.starts_with("        ")), "{what}: {said}");
    for word in words {
        assert!(said.contains(word), "{what}: no {word:?} in: {said}");
    }
    for inside in [
        "panicked",
        "backtrace",
        "Error {",
        "Os {",
        "kind:",
        "Err(",
        "Some(",
        "\u{1b}",
        "ParseIntError",
        "invalid digit",
    ] {
        assert!(!said.contains(inside), "{what}: {inside:?} in: {said}");
    }
}

/// What clap refuses it refuses in its own words, and with our exit code.
pub fn assert_refused(output: &Output, words: &[&str], what: &str) {
    let said = text(&output.stderr);
    assert_eq!(code(output), 125, "{what}: {output:?}");
    assert!(said.starts_with("error: ") || said.starts_with("rubber: "), "{what}: {said}");
    assert!(words.iter().all(|word| said.contains(word)) && !said.contains("panicked"), "{what}: {said}");
}

pub fn has_busybox(test: &str) -> bool {
    let has = lab::has("busybox");
    if !has {
        lab::skip(test, "no busybox on this machine");
    }
    has
}

/// A directory with nothing but /bin/busybox and links to it.
pub fn small_root(name: &str) -> PathBuf {
    let root = lab::scratch().join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(root.join("bin")).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let busybox = std::env::split_paths(&path).map(|dir| dir.join("busybox")).find(|file| file.is_file());
    lab::copy_program(busybox.expect("busybox in PATH"), root.join("bin/busybox"));
    for applet in ["sh", "ls", "pwd", "cat", "id", "hostname", "mount", "mkdir", "true", "grep", "echo"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    root
}

pub fn with_root(flags: &[&str], root: &Path, script: &str) -> Output {
    rubber([&["run"], flags, &["--rootfs", root.to_str().unwrap(), "sh", "-c", script]].concat())
        .output()
        .unwrap()
}

#[test]
fn nothing_of_all_this_is_left() {
    // The record of what still runs beside this test is locked; the others must not be there.
    run(&[], "true");
    let output = rubber(["clean"]).output().unwrap();
    assert_eq!((code(&output), text(&output.stdout)), (0, String::new()), "{output:?}");
}

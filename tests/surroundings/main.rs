//! Odd surroundings: of the caller, of the image, of the kernel. rubber works there, or says in one error why not.

#[path = "../lab/mod.rs"]
mod lab;

mod caller;
// The tracer knows the registers of this one.
#[cfg(target_arch = "x86_64")]
mod faults;
mod images;
mod kernels;
#[cfg(target_arch = "x86_64")]
mod picture;
#[cfg(target_arch = "x86_64")]
mod tracer;

use lab::{RUBBER, rubber, text};
use nix::libc;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

/// The caller's PATH, but for an ordinary user one without newuidmap(1): that is a set-user-ID program, which under a
/// tracer or behind a filter is nothing, so they have one id there.
fn path() -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if lab::is_root() {
        return path;
    }
    let dir = lab::scratch().join("busybox-alone");
    let busybox = std::env::split_paths(&path).map(|dir| dir.join("busybox")).find(|file| file.is_file());
    if let Some(busybox) = busybox.filter(|_| fs::create_dir(&dir).is_ok()) {
        std::os::unix::fs::symlink(busybox, dir.join("busybox")).unwrap();
    }
    dir.into()
}

/// One message of rubber's with these words in it, and one line of advice at most; nothing a terminal obeys.
fn assert_told(output: &Output, words: &[&str], what: &str) {
    let said = text(&output.stderr);
    assert!([125, 126, 127].contains(&lab::code(output)), "{what}: {output:?}");
    let mut lines = said.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("rubber: ")), "{what}: {said}");
    assert!(lines.clone().count() <= 1 && lines.all(|line| line.starts_with("        ")), "{what}: {said}");
    assert!(!said.contains('\u{1b}') && !said.contains("panicked"), "{what}: {said}");
    for word in words {
        assert!(said.contains(word), "{what}: no {word:?} in: {said}");
    }
}

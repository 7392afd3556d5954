//! Odd surroundings: of the caller, of the image, of the kernel. rubber works there, or says in one error why not.

#[path = "../lab/mod.rs"]
mod lab;

#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../oci/bundle.rs"]
mod bundle;

mod caller;
// The tracer knows the registers of this one.
#[cfg(target_arch = "x86_64")]
mod faults;
mod images;
mod kernels;
#[cfg(target_arch = "x86_64")]
mod open;
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

/// An ordinary user's ids are mapped by newuidmap(1), a set-user-ID program: under a tracer or behind a filter it has no
/// power.
const NOT_THEIRS: &str = "newuidmap has no power under a tracer or a filter: for root only";

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

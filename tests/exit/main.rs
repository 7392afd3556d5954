//! What goes in and comes out of a run: exit codes, signals, the standard streams, and nothing else
//! of the caller's.

#[path = "../lab/mod.rs"]
mod lab;

mod caller;
mod codes;
mod lent;
mod signals;
mod streams;

use lab::{RUBBER, code, rubber, run, say, store, text};
use std::{
    fs,
    io::{Read, Write},
    os::{
        fd::AsRawFd,
        unix::{fs::PermissionsExt, process::CommandExt, process::ExitStatusExt},
    },
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

/// The layers with and without which these things hold all the same.
pub const WAYS: &[&[&str]] = &[&[], &["--init"], &["--without", "pid"]];

/// All of them, or the first `few` where a container takes seconds.
pub fn part<T>(all: &[T], few: usize) -> &[T] {
    if lab::few() { &all[..few] } else { all }
}

/// Does `prepare` in the process that is about to become rubber.
pub fn after(
    prepare: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
    flags: &[&str],
    script: &str,
) -> Output {
    let mut command = rubber([&["run"], flags, &["busybox", "sh", "-c", script]].concat());
    // SAFETY: only system calls are made between fork and exec.
    unsafe { command.pre_exec(prepare) };
    command.output().unwrap()
}

/// What the shell makes of `script`, in which RUBBER stands for the binary and its store.
pub fn shell(script: &str) -> Output {
    let script = script.replace("RUBBER", &format!("'{RUBBER}' --root '{}'", store().display()));
    // `facts` shows the environment, and a backtrace is asked for by name there.
    Command::new("bash")
        .args(["-c", &script])
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

pub fn assert_no_panic(what: &str, output: &Output) {
    let all = text(&output.stdout) + &text(&output.stderr);
    assert!(
        !all.contains("panicked")
            && !all.contains("RUST_BACKTRACE")
            && !all.lines().any(|line| line == "101"),
        "{what}"
    );
    assert!(output.status.signal().is_none() && output.status.code() != Some(101), "{what}");
}

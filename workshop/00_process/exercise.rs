//! A process: fork, exec and wait, and what a new program inherits of the host.

use super::{rlimits, user};
use crate::{
    Exit,
    config::Config,
    container::{relay::Relay, streams, supervise},
    learn::not_yet,
    narrate, sys,
};
use anyhow::{Error, Result, bail};
use nix::{errno::Errno, unistd::AccessFlags};
use std::{
    ffi::{CString, OsStr, OsString},
    fs::File,
    io::Read,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

/// A session of our own: Ctrl-C at the caller's terminal is rubber's to pass
/// on, and nothing inside can type into that terminal (TIOCSTI, ioctl_tty(2)).
pub fn take_session(config: &Config) -> Result<()> {
    sys::setsid()?;
    streams::take(config)
}

/// Becomes the command. Nothing of the host's comes along: not its working
/// directory, its environment, umask, signal settings or open descriptors.
pub fn execute(config: &Config) -> Result<()> {
    let env = environment(config)?;
    sys::chdir(&config.workdir)?;
    // A link of /proc's may lead to a directory of the host's (CVE-2024-21626): no name leads there from here.
    if !narrate::is_dry() && std::env::current_dir().is_err() {
        bail!("the working directory {:?} is outside of the container", config.workdir);
    }
    sys::umask(config.umask)?;
    // Asked for after the fork, and taken back when we changed the user (prctl(2)).
    sys::prctl_pdeathsig()?;
    sys::forget_parent();
    match config.init {
        true => become_init(config, || become_command(config, &env)),
        false => become_command(config, &env),
    }
}

/// `--init`: stays pid 1, collects zombies and passes signals on, while the
/// command runs as a child, and ends with its exit code.
fn become_init(config: &Config, become_command: impl FnOnce() -> Result<()>) -> Result<()> {
    // /proc/1/exe is a copy in memory (see `run`), and nobody in here without CAP_SYS_PTRACE gets even that.
    sys::prctl_not_dumpable()?;
    let command = sys::fork("command", || {
        sys::forget_parent();
        become_command().map(|()| 0)
    })?;
    config.streams.let_go();
    // The caller goes on when the command runs, and files of theirs are not for who is in here: none may stay open.
    if config.streams.are_copied() {
        narrate::let_go_of_listener();
    }
    let code = supervise::wait(command, Relay::none())?;
    if narrate::is_dry() { Ok(()) } else { bail!(Exit(code, String::new())) }
}

fn become_command(config: &Config, env: &[OsString]) -> Result<()> {
    let program = find(config, env)?;
    let args = c_strings(&config.command)?;
    rlimits::set(config)?;
    // Step 1: give back every signal that rubber held back or ignored.
    not_yet(1)?;
    // Step 2: close every descriptor but stdin, stdout and stderr.
    not_yet(2)?;
    // Step 3: become the program. Where that fails, `why_not` knows the words.
    not_yet(3)
}

/// What was asked for, and HOME from the image's /etc/passwd.
pub fn environment(config: &Config) -> Result<Vec<OsString>> {
    let mut env = config.env.clone();
    if value(&env, "HOME").is_none() {
        let mut home = OsString::from("HOME=");
        home.push(user::account(config)?.home);
        env.push(home);
    }
    Ok(env)
}

fn value<'a>(env: &'a [OsString], name: &str) -> Option<&'a OsStr> {
    let value = |entry: &'a OsString| {
        entry.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(OsStr::from_bytes)
    };
    env.iter().rev().find_map(value)
}

/// The file that `command` names: as it is if it has a slash, else the first
/// program of that name in the directories of PATH.
pub fn find(config: &Config, env: &[OsString]) -> Result<PathBuf> {
    let command = &config.command[0];
    if command.as_bytes().contains(&b'/') {
        return Ok(command.into());
    }
    let path = value(env, "PATH").unwrap_or_default();
    let files = std::env::split_paths(path).map(|directory| directory.join(command));
    // A link of the image's leads nowhere from outside, where a dry run looks at it.
    let is_there = |file: &PathBuf| match narrate::is_dry() {
        true => config.in_image(file).symlink_metadata().is_ok(),
        false => file.is_file(),
    };
    let can_run = |file: &PathBuf| narrate::is_dry() || nix::unistd::access(file, AccessFlags::X_OK).is_ok();
    let mut found = files.filter(is_there).peekable();
    let first = found.peek().cloned();
    match found.find(can_run).or(first) {
        Some(file) => Ok(file),
        // Of an image that is not made yet nothing is known.
        None if narrate::is_dry() => Ok(command.into()),
        None => bail!(Exit(
            127,
            format!("cannot run {command:?}: not found in PATH ({}) inside the container", path.display())
        )),
    }
}

/// Puts the ways in which a program cannot be started into words; the kernel
/// has one errno for "not there" and "its interpreter is not there".
/// Exit codes as docker's and the shell's: 127 not found, 126 cannot be run.
pub fn why_not(program: &Path, error: Error) -> Error {
    let errno = error.downcast_ref::<Errno>().copied().unwrap_or(Errno::UnknownErrno);
    let (code, why) = match errno {
        Errno::ENOENT if !program.exists() => (127, "not found inside the container".into()),
        Errno::ENOENT => (127, interpreter_missing(program)),
        Errno::ENOTDIR => (127, "part of this path is not a directory".into()),
        Errno::EACCES if program.is_dir() => (126, "it is a directory".into()),
        Errno::EACCES => (126, "found, but not executable (chmod +x it)".into()),
        Errno::ENOEXEC => (
            126,
            "exec format error: neither a program for this machine nor a script that starts with #!".into(),
        ),
        Errno::E2BIG => (
            126,
            "the arguments and the environment are longer than the kernel takes (execve(2), \"Limits\")"
                .into(),
        ),
        _ => (126, format!("{error:#}")),
    };
    Error::new(Exit(code, format!("cannot run {program:?}: {why}")))
}

/// A script names its interpreter in its first line, a program in its ELF header.
fn interpreter_missing(program: &Path) -> String {
    let mut start = Vec::new();
    let read = File::open(program).and_then(|file| file.take(256).read_to_end(&mut start));
    let named = match start.strip_prefix(b"#!") {
        _ if read.is_err() => None,
        Some(line) => line
            .split(|byte| b" \t\r\n".contains(byte))
            .find(|word| !word.is_empty())
            .map(|word| OsString::from_vec(word.to_vec())),
        None => File::open(program)
            .ok()
            .and_then(|mut file| crate::image::elf::interpreter(&mut file))
            .map(Into::into),
    };
    match named {
        Some(name) => format!("found, but its interpreter {name:?} is missing inside the container"),
        None => "found, but its interpreter is missing inside the container".into(),
    }
}

pub fn c_string(text: &OsStr) -> Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

pub fn c_strings(texts: &[OsString]) -> Result<Vec<CString>> {
    texts.iter().map(|text| c_string(text)).collect()
}

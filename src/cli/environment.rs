//! The environment of a command, as people ask for it.

use crate::config::Limits;
use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit};
use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// `NAME=VALUE` sets a variable, `NAME` takes the caller's value, if there is one.
pub fn set_all(env: &mut Vec<OsString>, entries: &[OsString]) -> Result<()> {
    for entry in entries {
        if entry.is_empty() || entry.as_bytes()[0] == b'=' {
            bail!("--env {entry:?} names no variable: NAME=VALUE sets it, NAME takes the caller's");
        }
        match (entry.as_bytes().contains(&b'='), std::env::var_os(entry)) {
            (true, _) => env.push(entry.clone()),
            (false, Some(value)) => {
                let mut entry = entry.clone();
                entry.push("=");
                entry.push(value);
                env.push(entry);
            }
            (false, None) => {}
        }
    }
    Ok(())
}

/// `--env-file`: as docker's, all behind the `=` is the value, and a line that begins with # is none.
pub fn set_file(env: &mut Vec<OsString>, file: &Path) -> Result<()> {
    let text = fs::read(file).with_context(|| format!("--env-file {}", file.display()))?;
    for (n, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let name = line.split(|byte| *byte == b'=').next().unwrap_or_default();
        if name.is_empty() || name.iter().any(|byte| byte.is_ascii_whitespace()) || line.contains(&0) {
            let entry = OsStr::from_bytes(line);
            bail!("--env-file {}, line {}: {entry:?} sets no variable", file.display(), n + 1);
        }
        set_all(env, &[OsStr::from_bytes(line).to_owned()])?;
    }
    Ok(())
}

pub fn set_terminal(env: &mut Vec<OsString>) {
    let mut term = OsString::from("TERM=");
    term.push(std::env::var_os("TERM").unwrap_or("xterm".into()));
    env.push(term);
}

/// Of several settings of a name the last one. (An image may bring any number: each is looked at once.)
pub fn last_of_each(env: &[OsString]) -> Vec<OsString> {
    let mut names = BTreeSet::new();
    let mut last: Vec<_> = env.iter().rev().filter(|entry| names.insert(name(entry))).cloned().collect();
    last.reverse();
    last
}

fn name(entry: &OsStr) -> &[u8] {
    entry.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default()
}

/// Refuses what execve(2) would, before anything is made for it: see "Limits on size of arguments and environment".
pub fn refuse_too_much(command: &[OsString], env: &[OsString], limits: &Limits) -> Result<()> {
    const ONE: usize = 32 * 4096;
    const ALWAYS: u64 = 128 << 10;
    const NEVER: u64 = 6 << 20;
    let taken = |text: &OsString| text.len() + 1;
    let all = || command.iter().chain(env);
    if let Some(long) = all().find(|text| taken(text) > ONE) {
        let start = OsStr::from_bytes(&long.as_bytes()[..40]);
        bail!(
            "{start:?}... has {} bytes, and execve(2) takes {} in one argument or variable",
            long.len(),
            ONE - 1
        );
    }
    let bytes = all().map(|text| taken(text) as u64 + size_of::<usize>() as u64).sum::<u64>();
    if bytes <= ALWAYS {
        return Ok(());
    }
    let asked = limits.rlimits.iter().find(|limit| limit.name == "stack").map(|limit| limit.soft);
    let stack = asked.map_or_else(|| getrlimit(Resource::RLIMIT_STACK).map(|(soft, _)| soft), Ok)?;
    let most = (stack / 4).clamp(ALWAYS, NEVER);
    if bytes > most {
        bail!(
            "the command and its environment take {bytes} bytes ({} arguments, {} variables), and execve(2) takes \
             {most}: leave some out, or a quarter of --ulimit stack=BYTES is what it takes, up to {NEVER}",
            command.len(),
            env.len()
        );
    }
    Ok(())
}

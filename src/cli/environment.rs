//! The environment of a command, as people ask for it.

use anyhow::{Context, Result, bail};
use std::{
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
            (true, _) => set(env, entry.clone()),
            (false, Some(value)) => {
                let mut entry = entry.clone();
                entry.push("=");
                entry.push(value);
                set(env, entry);
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
    set(env, term);
}

/// A later setting of a name replaces the earlier one.
pub fn set(env: &mut Vec<OsString>, entry: OsString) {
    let name =
        |entry: &OsStr| entry.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default().to_vec();
    env.retain(|old| name(old) != name(&entry));
    env.push(entry);
}

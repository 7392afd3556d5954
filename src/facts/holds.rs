//! What a process holds: open files and its environment; and how many others it can see.

use super::{
    Facts,
    proc::{Proc, because},
    status::strings,
};
use std::{collections::BTreeMap, fs, io};

pub fn read(proc: &Proc, facts: &mut Facts) {
    facts.fds = facts.note("fds", fds(proc));
    // The kernel answers nothing, not an error, for a process without memory of its own.
    let env = match facts.unreadable.get("exe") {
        Some(reason) => Err(because(reason.clone())),
        None => proc.bytes("environ").map(|bytes| env(strings(&bytes))),
    };
    facts.env = facts.note("env", env);
    facts.count.processes = facts.note("count.processes", processes());
}

fn fds(proc: &Proc) -> io::Result<BTreeMap<u32, String>> {
    // The list is complete, and the directory closed again, before the first is looked at:
    // so the descriptor that read the list has vanished from it.
    let numbers: Vec<u32> = proc.names("fd")?.iter().filter_map(|name| name.parse().ok()).collect();
    let target = |number: u32| Some((number, proc.link(&format!("fd/{number}")).ok()?));
    Ok(numbers.into_iter().filter_map(target).collect())
}

/// As getenv(3) sees it: the first of two with the same name counts.
pub fn env(strings: Vec<String>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (name, value) in strings.iter().filter_map(|string| string.split_once('=')) {
        env.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    env
}

fn processes() -> io::Result<usize> {
    let is_pid = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes()[0].is_ascii_digit();
    Ok(fs::read_dir("/proc")?.flatten().filter(is_pid).count())
}

//! User namespace: root in here, an ordinary user out there.

use crate::{
    config::Config,
    container::supervise,
    ids::{Ids, Range, lines},
    learn::not_yet,
    narrate, sys,
};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    sched::CloneFlags,
    unistd::{Gid, Pid, Uid, getpid},
};
use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// Makes the namespace and says who is who in it. With all capabilities inside
/// and none outside, this is what lets an ordinary user do the rest, and remove
/// in the end what the container's other users wrote.
pub fn become_root(config: &Config) -> Result<()> {
    enter(&config.ids)
}

pub fn enter(ids: &Ids) -> Result<()> {
    match ids {
        Ids::Hosts => Ok(()),
        Ids::One => map_one(),
        Ids::Ranges { .. } => map_ranges(ids),
    }
}

/// One id may be mapped by whoever it belongs to: user_namespaces(7).
fn map_one() -> Result<()> {
    // Read out here: inside nobody has an id before it is mapped.
    let (uid, gid) = (Uid::effective().as_raw(), Gid::effective().as_raw());
    let only = |outside| [Range { inside: 0, outside, count: 1 }];
    sys::unshare(CloneFlags::CLONE_NEWUSER)?;
    // A group that denies something could be dropped otherwise (CVE-2014-8989).
    write_map(Path::new("/proc/self"), "deny", &only(uid), &only(gid))
}

/// Other people's ids may be mapped only from outside: by root, or by newuidmap(1), which is setuid and reads
/// /etc/subuid. So a process that was forked beforehand does it, and stays there.
fn map_ranges(ids: &Ids) -> Result<()> {
    let us = getpid();
    let (mut wait, mut go) = std::io::pipe()?;
    let mapper = sys::fork("mapper", || {
        // A rehearsal is one process: nobody else would ever write.
        if !narrate::is_dry() {
            wait.read_exact(&mut [0])?;
        }
        map_from_outside(us, ids)?;
        Ok(0)
    })?;
    sys::unshare(CloneFlags::CLONE_NEWUSER)?;
    go.write_all(&[1])?;
    ensure!(supervise::wait_for(mapper)? == 0, "the ranges of ids could not be mapped");
    Ok(())
}

/// Says who is who in the namespace of the first process, which waits for it: root's way, see `idmap`.
pub fn map(config: &Config) -> Result<()> {
    map_from_outside(Pid::from_raw(config.first.get()), &config.ids)
}

fn map_from_outside(pid: Pid, ids: &Ids) -> Result<()> {
    let Ids::Ranges { uids, gids, programs } = ids else { return Ok(()) };
    match programs {
        Some(_) if narrate::is_dry() => Ok(()),
        Some(programs) => {
            run(&programs.uids, pid, uids)?;
            run(&programs.gids, pid, gids)
        }
        None => write_map(&PathBuf::from(format!("/proc/{pid}")), "allow", uids, gids),
    }
}

/// All three can be written once, and only in this order: with its group ids mapped, a namespace has them for good.
fn write_map(process: &Path, setgroups: &str, uids: &[Range], gids: &[Range]) -> Result<()> {
    // Step 1: say whether groups may be dropped inside.
    not_yet(1)?;
    // Step 2: say who the users are.
    not_yet(2)?;
    // Step 3: say who the groups are.
    not_yet(3)
}

fn run(program: &Path, pid: Pid, ranges: &[Range]) -> Result<()> {
    let mut command = Command::new(program);
    command.arg(pid.to_string()).args(lines(ranges).split_whitespace());
    let ended = command.status().with_context(|| format!("{}", program.display()))?;
    if !ended.success() {
        bail!("{command:?} answered {ended}");
    }
    Ok(())
}

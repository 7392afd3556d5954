//! User namespace: root in here, an ordinary user out there.

use crate::{config::Config, narrate, sys};
use anyhow::{Context, Result, bail};
use nix::{
    sched::CloneFlags,
    sys::wait::WaitPidFlag,
    unistd::{Gid, Pid, Uid},
};
use serde::{Deserialize, Serialize};
use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// Which ids exist inside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ids {
    /// All of them: there is no user namespace of ours.
    #[default]
    Hosts,
    /// Only root, who is the caller outside (or whoever made the namespace we are in).
    One,
    /// Those in these ranges.
    Ranges {
        uids: Vec<Range>,
        gids: Vec<Range>,
        /// newuidmap(1) and newgidmap(1), who may map what an ordinary user may not. Root needs none.
        programs: Option<Programs>,
    },
}

/// `count` ids from `inside` on are `outside` and following on the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Programs {
    #[serde(with = "crate::config::word")]
    pub uids: PathBuf,
    #[serde(with = "crate::config::word")]
    pub gids: PathBuf,
}

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
    let (uid, gid) = (Uid::effective(), Gid::effective());
    sys::unshare(CloneFlags::CLONE_NEWUSER)?;
    // Without this a group that denies something could be dropped (CVE-2014-8989).
    sys::write(Path::new("/proc/self/setgroups"), "deny")?;
    sys::write(Path::new("/proc/self/uid_map"), &format!("0 {uid} 1"))?;
    sys::write(Path::new("/proc/self/gid_map"), &format!("0 {gid} 1"))
}

/// Other people's ids may be mapped only from outside: by root, or by newuidmap(1), which is setuid and reads
/// /etc/subuid. So a process that was forked beforehand does it, and stays there.
fn map_ranges(ids: &Ids) -> Result<()> {
    let us = nix::unistd::getpid();
    let (mut wait, mut go) = std::io::pipe()?;
    let mapper = sys::fork("mapper", || {
        // A rehearsal is one process: nobody else would ever write.
        if !narrate::is_dry() {
            wait.read_exact(&mut [0])?;
        }
        map(us, ids)?;
        Ok(0)
    })?;
    sys::unshare(CloneFlags::CLONE_NEWUSER)?;
    go.write_all(&[1])?;
    match sys::wait4(WaitPidFlag::empty())? {
        Some((ended, 0)) if ended == mapper => Ok(()),
        None if narrate::is_dry() => Ok(()),
        _ => bail!("the ranges of ids could not be mapped"),
    }
}

/// Says who is who in the user namespace of process `pid`.
pub fn map(pid: Pid, ids: &Ids) -> Result<()> {
    let Ids::Ranges { uids, gids, programs } = ids else { return Ok(()) };
    match programs {
        Some(_) if narrate::is_dry() => Ok(()),
        Some(programs) => {
            run(&programs.uids, pid, uids)?;
            run(&programs.gids, pid, gids)
        }
        None => {
            let file = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
            sys::write(&file("uid_map"), &lines(uids))?;
            sys::write(&file("gid_map"), &lines(gids))
        }
    }
}

fn lines(ranges: &[Range]) -> String {
    let line = |range: &Range| format!("{} {} {}\n", range.inside, range.outside, range.count);
    ranges.iter().map(line).collect()
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

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
    /// Root, who is the caller outside, and the ranges /etc/subuid and
    /// /etc/subgid give to the caller as 1 and up: (first, count).
    Ranges {
        uids: (u32, u32),
        gids: (u32, u32),
        #[serde(with = "crate::config::word")]
        newuidmap: PathBuf,
        #[serde(with = "crate::config::word")]
        newgidmap: PathBuf,
    },
}

impl Ids {
    /// What this machine lets the caller have.
    pub fn of_caller() -> Ids {
        let range = |file: &str| subordinate(&std::fs::read_to_string(file).ok()?);
        let found = (|| {
            let (uids, gids) = (range("/etc/subuid")?, range("/etc/subgid")?);
            let (newuidmap, newgidmap) = (program("newuidmap")?, program("newgidmap")?);
            Some(Ids::Ranges { uids, gids, newuidmap, newgidmap })
        })();
        found.unwrap_or(Ids::One)
    }

    /// The ids there are without a namespace of ours: all, or in one that somebody else has put us in
    /// perhaps just one.
    pub fn of_surroundings() -> Ids {
        let map = std::fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
        let counts = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok());
        if counts.sum::<u64>() == 1 { Ids::One } else { Ids::Hosts }
    }

    pub fn has_group(&self, gid: u32) -> bool {
        match self {
            Ids::Hosts => true,
            Ids::One => gid == 0,
            Ids::Ranges { gids, .. } => gid <= gids.1,
        }
    }
}

/// The caller's first range in the text of /etc/subuid or /etc/subgid: see subuid(5).
fn subordinate(text: &str) -> Option<(u32, u32)> {
    let uid = nix::unistd::getuid();
    // Not getpwuid(3): in a static program it loads libraries of whatever C library the host has, and crashes.
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut users = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let name = users
        .find(|line| line.get(2).and_then(|id| id.parse().ok()) == Some(uid.as_raw()))
        .map(|line| line[0]);
    text.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let mine = Some(owner) == name || owner.parse() == Ok(uid.as_raw());
        let range = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        mine.then_some(range)
    })
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin".into()])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
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
        Ids::Ranges { uids, gids, newuidmap, newgidmap } => map_ranges(*uids, *gids, (newuidmap, newgidmap)),
    }
}

/// One id may be mapped by whoever it belongs to: user_namespaces(7).
fn map_one() -> Result<()> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    sys::unshare(CloneFlags::CLONE_NEWUSER)?;
    // Without this a group that denies something could be dropped (CVE-2014-8989).
    sys::write(Path::new("/proc/self/setgroups"), "deny")?;
    sys::write(Path::new("/proc/self/uid_map"), &format!("0 {uid} 1"))?;
    sys::write(Path::new("/proc/self/gid_map"), &format!("0 {gid} 1"))
}

/// Other people's ids only newuidmap(1) may map, which is setuid and reads
/// /etc/subuid. It must be run from outside, by a process forked beforehand.
fn map_ranges(uids: (u32, u32), gids: (u32, u32), programs: (&Path, &Path)) -> Result<()> {
    let (uid, gid, us) = (Uid::effective(), Gid::effective(), nix::unistd::getpid());
    let (mut wait, mut go) = std::io::pipe()?;
    let mapper = sys::fork("mapper", || {
        // A rehearsal is one process: nobody else would ever write.
        if narrate::is_dry() {
            return Ok(0);
        }
        wait.read_exact(&mut [0])?;
        map(programs.0, us, uid.as_raw(), uids)?;
        map(programs.1, us, gid.as_raw(), gids)?;
        Ok(0)
    })?;
    sys::unshare(CloneFlags::CLONE_NEWUSER)?;
    go.write_all(&[1])?;
    match sys::wait4(WaitPidFlag::empty())? {
        Some((ended, 0)) if ended == mapper => Ok(()),
        None if narrate::is_dry() => Ok(()),
        _ => bail!("the ranges in /etc/subuid and /etc/subgid could not be mapped"),
    }
}

fn map(program: &Path, pid: Pid, own: u32, (first, count): (u32, u32)) -> Result<()> {
    let mut command = Command::new(program);
    command.args([pid.to_string(), "0".into(), own.to_string(), "1".into()]);
    command.args(["1".into(), first.to_string(), count.to_string()]);
    let ended = command.status().with_context(|| format!("{}", program.display()))?;
    if !ended.success() {
        bail!("{command:?} answered {ended}");
    }
    Ok(())
}

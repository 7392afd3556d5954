//! Which ids there are to give to a container: the caller's own, the ranges of subuid(5), and what is asked for.

use anyhow::{Result, bail};
use nix::unistd::{getegid, geteuid, getuid};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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

impl Ids {
    /// What this machine lets the caller have.
    pub fn of_caller() -> Ids {
        // Root inside is the caller, and the range follows.
        let after = |own: u32, (first, count): (u32, u32)| {
            let own = Range { inside: 0, outside: own, count: 1 };
            vec![own, Range { inside: 1, outside: first, count }]
        };
        let found = (|| {
            let (uids, gids) = (of_file("/etc/subuid")?, of_file("/etc/subgid")?);
            let (uids, gids) = (after(geteuid().as_raw(), uids), after(getegid().as_raw(), gids));
            Some(Ids::Ranges { uids, gids, programs: Some(programs()?) })
        })();
        found.unwrap_or(Ids::One)
    }

    /// For a container whose root is to be nobody outside: only root may give those, from its ranges.
    pub fn of_roots_ranges() -> Result<Ids> {
        let (Some(uids), Some(gids)) = (of_file("/etc/subuid"), of_file("/etc/subgid")) else {
            bail!(
                "--userns private: root has no range of ids in /etc/subuid and /etc/subgid\n        \
                 usermod --add-subuids 524288-589823 --add-subgids 524288-589823 root, or say which: \
                 --uidmap 0:524288:65536"
            );
        };
        let all = |(first, count): (u32, u32)| vec![Range { inside: 0, outside: first, count }];
        Ok(Ids::Ranges { uids: all(uids), gids: all(gids), programs: None })
    }

    /// `--uidmap` and `--gidmap`: where one is missing, it is as the other.
    pub fn asked_for(uids: &[String], gids: &[String], is_able: IsAble) -> Result<Ids> {
        let (uids, gids) = (ranges("--uidmap", uids)?, ranges("--gidmap", gids)?);
        let (uids, gids) = match (uids.is_empty(), gids.is_empty()) {
            (true, _) => (gids.clone(), gids),
            (_, true) => (uids.clone(), uids),
            _ => (uids, gids),
        };
        let only = |own: u32| [Range { inside: 0, outside: own, count: 1 }];
        if uids == only(geteuid().as_raw()) && gids == only(getegid().as_raw()) {
            return Ok(Ids::One);
        }
        if let IsAble::Yes = is_able {
            return Ok(Ids::Ranges { uids, gids, programs: None });
        }
        // Who made the container's files must be somebody inside.
        let is_caller =
            |ranges: &[Range], own: u32| ranges.iter().any(|range| range.inside == 0 && range.outside == own);
        if !is_caller(&uids, geteuid().as_raw()) || !is_caller(&gids, getegid().as_raw()) {
            bail!(
                "--uidmap, --gidmap: an ordinary user's root is that user: 0:{}:1 and 0:{}:1 must be among them",
                geteuid(),
                getegid()
            );
        }
        match programs() {
            Some(programs) => Ok(Ids::Ranges { uids, gids, programs: Some(programs) }),
            None => bail!(
                "--uidmap, --gidmap: other ids than one's own are mapped by newuidmap and newgidmap, which are \
                 missing: rubber doctor says how to get them"
            ),
        }
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
            Ids::Ranges { gids, .. } => {
                gids.iter().any(|range| gid >= range.inside && gid - range.inside < range.count)
            }
        }
    }
}

/// As uid_map and gid_map take them: user_namespaces(7).
pub fn lines(ranges: &[Range]) -> String {
    let lines: Vec<_> =
        ranges.iter().map(|Range { inside, outside, count }| format!("{inside} {outside} {count}")).collect();
    lines.join("\n")
}

/// Whether the caller may map any id.
pub enum IsAble {
    Yes,
    No,
}

/// The caller's first range in /etc/subuid or /etc/subgid: see subuid(5).
fn of_file(file: &str) -> Option<(u32, u32)> {
    let text = std::fs::read_to_string(file).ok()?;
    let uid = getuid();
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

fn programs() -> Option<Programs> {
    Some(Programs { uids: program("newuidmap")?, gids: program("newgidmap")? })
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/bin".into()])
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}

/// Each `CONTAINER:HOST:SIZE`. The last of 2^32 ids is no id: it is -1, which is "nobody" or "no change".
fn ranges(flag: &str, words: &[String]) -> Result<Vec<Range>> {
    let mut ranges: Vec<Range> = Vec::new();
    for word in words {
        let wrong = |why: &str| format!("{flag} {word:?}: {why}");
        let numbers = word.split(':').map(number).collect::<Option<Vec<_>>>();
        let Some([inside, outside, count]): Option<[u32; 3]> =
            numbers.and_then(|numbers| numbers.try_into().ok())
        else {
            bail!(wrong("CONTAINER:HOST:SIZE is what it takes, three numbers, as in 0:524288:65536"));
        };
        if count == 0 {
            bail!(wrong("there are no ids in it"));
        }
        let range = Range { inside, outside, count };
        let last = |first: u32| first.checked_add(count - 1).filter(|last| *last != u32::MAX);
        if last(inside).is_none() || last(outside).is_none() {
            bail!(wrong("ids go from 0 to 4294967294"));
        }
        let ends = |first: u32, count: u32| u64::from(first) + u64::from(count);
        let meet =
            |a: u32, b: u32, others: u32| u64::from(a) < ends(b, others) && u64::from(b) < ends(a, count);
        let meets = |other: &Range| {
            meet(inside, other.inside, other.count) || meet(outside, other.outside, other.count)
        };
        if ranges.iter().any(meets) {
            bail!(wrong("it has ids that another range has"));
        }
        ranges.push(range);
    }
    match ranges.iter().any(|range| range.inside == 0) || ranges.is_empty() {
        true if ranges.len() <= 340 => Ok(ranges),
        true => bail!("{flag}: the kernel takes 340 ranges at most: user_namespaces(7)"),
        false => bail!("{flag}: id 0 is not in it, and somebody has to be root inside"),
    }
}

/// Digits and nothing else.
fn number(word: &str) -> Option<u32> {
    word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
}

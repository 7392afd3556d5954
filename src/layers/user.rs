//! The user: a number to the kernel, a name only to /etc/passwd, the image's.

use super::Layer;
use crate::{config::Config, ids::Ids, sys};
use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno::*,
    fcntl::OFlag,
    sys::stat::Mode,
    unistd::{Gid, Uid},
};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

/// Who the command will be.
#[derive(Debug, PartialEq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    /// The list of supplementary groups; `gid` is the first of it.
    pub groups: Vec<u32>,
    pub home: PathBuf,
}

/// Groups first and the user last: whoever is not root any more cannot change
/// the rest. Without setgroups(2) the caller's groups would come along.
pub fn become_user(config: &Config) -> Result<()> {
    let mut account = account(config)?;
    account.groups.extend(more_groups(config)?);
    if config.ids != Ids::One {
        let groups: Vec<_> = account.groups.iter().copied().map(Gid::from_raw).collect();
        sys::setgroups(&groups)?;
    }
    sys::setgid(Gid::from_raw(account.gid))?;
    sys::setuid(Uid::from_raw(account.uid))
}

/// `--group-add`
pub fn more_groups(config: &Config) -> Result<Vec<u32>> {
    if config.groups.is_empty() {
        return Ok(vec![]);
    }
    if config.ids == Ids::One {
        bail!("there is only one id here, so --group-add has none to give: see rubber doctor, ids");
    }
    let file = database(&config.in_image(Path::new("/etc/group")))?;
    config.groups.iter().map(|group| group_id(group, &file)).collect()
}

/// Looks the user up in the files of the root we are in.
pub fn account(config: &Config) -> Result<Account> {
    let read = |file: &str| database(&config.in_image(Path::new(file)));
    let (passwd, group) = (read("/etc/passwd")?, read("/etc/group")?);
    match config.layers.contains(Layer::User) {
        true => parse(&config.user, &passwd, &group),
        false => parse(&Uid::current().to_string(), &passwd, &group),
    }
}

/// `spec` is `user[:group]`, each a name or a number (the formats: passwd(5), group(5)).
fn parse(spec: &str, passwd: &str, group: &str) -> Result<Account> {
    // As docker: what is left out was not asked for, and the user is root then.
    let (user, explicit) = spec.split_once(':').unwrap_or((spec, ""));
    let user = if user.is_empty() { "0" } else { user };
    let wanted = number(user)?;
    // A number is a number: the image's maker may have called root "1000" (CVE-2016-3697).
    let is_wanted = |line: &Vec<&str>| match wanted {
        Some(uid) => line[2].parse() == Ok(uid),
        None => line[0] == user,
    };
    let mut users =
        passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).filter(|line| line.len() >= 6);
    let mut account = match (users.find(is_wanted), wanted) {
        (Some(line), _) => Account {
            uid: number(line[2])?.context("a user in the image's /etc/passwd has no uid")?,
            gid: number(line[3])?.context("a user in the image's /etc/passwd has no gid")?,
            groups: members(group, line[0])?,
            home: line[5].into(),
        },
        // A number needs no entry.
        (None, Some(uid)) => Account { uid, gid: 0, groups: vec![], home: "/".into() },
        (None, None) => bail!("no user {user:?} in the image's /etc/passwd (a number works without)"),
    };
    if !explicit.is_empty() {
        account.gid = group_id(explicit, group)?;
        account.groups.clear();
    }
    // A setgid program changes the gid, and not the list: what is closed to this group stays closed to it
    // (CVE-2022-36109).
    account.groups.insert(0, account.gid);
    Ok(account)
}

fn group_id(name: &str, group: &str) -> Result<u32> {
    if let Some(gid) = number(name)? {
        return Ok(gid);
    }
    let mut entries = group.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let entry = entries.find(|entry| entry[0] == name && entry.len() >= 3);
    match entry.map_or(Ok(None), |entry| number(entry[2]))? {
        Some(gid) => Ok(gid),
        None => bail!("no group {name:?} in the image's /etc/group (a number works without)"),
    }
}

/// The groups that list `user` as a member.
fn members(group: &str, user: &str) -> Result<Vec<u32>> {
    let entries = group.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let lists = |entry: &Vec<&str>| entry.len() >= 4 && entry[3].split(',').any(|member| member == user);
    let gids = entries.filter(lists).map(|entry| number(entry[2]));
    Ok(gids.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// An id, or `None` for a word. Half of all 32-bit numbers are refused: to some
/// calls they are negative, and -1 is "no change" to setuid's relatives.
fn number(word: &str) -> Result<Option<u32>> {
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match word.parse::<i32>() {
        Ok(id) if id >= 0 => Ok(Some(id as u32)),
        _ => bail!("{word} is not an id: they go from 0 to {}", i32::MAX),
    }
}

/// The text of a file that the image's maker wrote: it may be a fifo that
/// never ends, or not be there.
fn database(path: &Path) -> Result<String> {
    const LIMIT: u64 = 1 << 20;
    let file = match nix::fcntl::open(path, OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty()) {
        // There is none, or nothing that can be opened.
        Err(ENOENT | ENOTDIR | ELOOP | EACCES | ENXIO) => return Ok(String::new()),
        opened => File::from(opened.with_context(|| format!("open({path:?})"))?),
    };
    let about = file.metadata()?;
    if !about.is_file() || about.len() > LIMIT {
        bail!("{path:?} in the image is not a user database: not a file of at most 1 MiB");
    }
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nguest:x:1000:100::/home/guest:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:\nwheel:x:10:root,guest\n";

    fn ids(spec: &str) -> (u32, u32, Vec<u32>) {
        let account = parse(spec, PASSWD, GROUP).unwrap();
        (account.uid, account.gid, account.groups)
    }

    #[test]
    fn a_name_brings_its_groups_along_and_a_named_group_replaces_them() {
        assert_eq!(ids("guest"), (1000, 100, vec![100, 10]));
        assert_eq!(ids("1000"), (1000, 100, vec![100, 10]));
        assert_eq!(ids("guest:wheel"), (1000, 10, vec![10]));
        assert_eq!(ids("4242"), (4242, 0, vec![0]));
        assert_eq!(ids("4242:4343"), (4242, 4343, vec![4343]));
    }

    #[test]
    fn what_is_left_out_was_not_asked_for() {
        for same in
            [("guest:", "guest"), ("1000:", "1000"), ("", "root"), (":", "root"), (":100", "root:100")]
        {
            assert_eq!(ids(same.0), ids(same.1), "{same:?}");
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for bad in ["-1", "4294967295", "4294967296", "2147483648", "nobody", "root:nogroup"] {
            assert!(parse(bad, PASSWD, GROUP).is_err(), "{bad:?}");
        }
    }
}

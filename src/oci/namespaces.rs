//! Namespaces as a config.json has them: new ones, or those of a file, and who is who in a new user namespace.

use super::story;
use crate::{
    config::Config,
    sys::{self, CLONE_NEWTIME, mounts::HERE},
};
use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sched::CloneFlags,
    sys::stat::{FileStat, Mode, stat},
    unistd::{Gid, Uid},
};
use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

#[derive(Clone, Debug)]
pub struct Namespace {
    pub kind: CloneFlags,
    /// None: a new one.
    pub path: Option<PathBuf>,
}

/// A user namespace's maps, as proc(5) wants them written: "inside outside count", one a line.
#[derive(Clone, Debug, Default)]
pub struct Ids {
    pub uids: String,
    pub gids: String,
    /// Clocks of a new time namespace: "clock seconds nanoseconds".
    pub clocks: Vec<String>,
}

pub fn is_new(config: &Config, kind: CloneFlags) -> bool {
    config.bundle.namespaces.iter().any(|one| one.kind == kind && one.path.is_none())
}

/// Whether a container with these has the host's of this kind: where it is given none, and where what it is given is ours,
/// or that of the machine's first process.
pub fn is_hosts(namespaces: &[Namespace], kind: CloneFlags) -> Result<bool> {
    let Some(one) = namespaces.iter().find(|one| one.kind == kind) else { return Ok(true) };
    let Some(path) = &one.path else { return Ok(false) };
    let given = stat(path).with_context(|| format!("stat({path:?})"))?;
    let name = if kind == CloneFlags::CLONE_NEWNET { "net" } else { display(kind) };
    // An ordinary user may not look at the first process's, and could not join it either.
    let hosts = ["self", "1"].map(|process| stat(format!("/proc/{process}/ns/{name}").as_str()));
    let is_given = |hosts: &FileStat| (hosts.st_dev, hosts.st_ino) == (given.st_dev, given.st_ino);
    Ok(hosts.iter().flatten().any(is_given))
}

/// Who user `uid` of the container is for the host. None where that is another namespace's to say.
pub fn outside(config: &Config, uid: u32) -> Option<u32> {
    let users = config.bundle.namespaces.iter().find(|one| one.kind == CloneFlags::CLONE_NEWUSER);
    match users {
        None => Some(uid),
        Some(Namespace { path: Some(_), .. }) => None,
        Some(_) => config.bundle.ids.uids.lines().find_map(|line| {
            let mut numbers = line.split(' ').map(|word| word.parse::<u32>().ok());
            let (inside, outside, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
            uid.checked_sub(inside).filter(|above| *above < count)?.checked_add(outside)
        }),
    }
}

pub fn any_joined(config: &Config) -> bool {
    config.bundle.namespaces.iter().any(|one| one.path.is_some())
}

/// The user namespace in its turn: it may be what gives us the right to join another, or what takes it away. What
/// could not be joined before it is tried again behind it.
pub fn join(config: &Config) -> Result<()> {
    let given = config.bundle.namespaces.iter().filter_map(|one| Some((one.kind, one.path.as_ref()?)));
    let mut files = given
        .map(|(kind, path)| {
            let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
            let file = openat(HERE, path, flags, Mode::empty()).with_context(|| format!("open({path:?})"))?;
            Ok((kind, file))
        })
        .collect::<Result<Vec<(CloneFlags, OwnedFd)>>>()?;
    files.sort_by_key(|(kind, _)| *kind == CloneFlags::CLONE_NEWUSER);
    let mut refused = Vec::new();
    for (kind, file) in &files {
        match sys::setns_file(file, *kind) {
            Err(error) if error.downcast_ref() == Some(&Errno::EPERM) => refused.push((kind, file)),
            done => done?,
        }
    }
    refused.into_iter().try_for_each(|(kind, file)| sys::setns_file(file, *kind))?;
    match files.last() {
        Some((kind, _)) if *kind == CloneFlags::CLONE_NEWUSER => become_root(),
        _ => Ok(()),
    }
}

pub fn is_user_new(config: &Config) -> bool {
    is_new(config, CloneFlags::CLONE_NEWUSER)
}

/// Who is who is written down by our maker, who may name ids that are not ours.
pub fn unshare_user(config: &Config) -> Result<()> {
    sys::unshare(CloneFlags::CLONE_NEWUSER)?;
    story::tell(config, &story::Word::Unmapped)?;
    become_root()
}

/// In a map without a 0 there is no root to become, and then we stay who we are.
fn become_root() -> Result<()> {
    match sys::setgid(Gid::from_raw(0)).and_then(|()| sys::setuid(Uid::from_raw(0))) {
        Err(error) if error.downcast_ref() == Some(&Errno::EINVAL) => Ok(()),
        done => done,
    }
}

/// Whoever is not privileged may map one id, and has to give up setgroups(2) for it: user_namespaces(7).
pub fn map(pid: i32, ids: &Ids) -> Result<()> {
    let file = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
    if !Uid::effective().is_root() {
        sys::write(&file("setgroups"), "deny")?;
    }
    sys::write(&file("gid_map"), &ids.gids)?;
    sys::write(&file("uid_map"), &ids.uids)
}

pub fn is_time_new(config: &Config) -> bool {
    is_new(config, CLONE_NEWTIME)
}

/// For the next child, before anybody is in it: time_namespaces(7).
pub fn unshare_time(config: &Config) -> Result<()> {
    sys::unshare(CLONE_NEWTIME)?;
    let offsets = Path::new("/proc/self/timens_offsets");
    config.bundle.ids.clocks.iter().try_for_each(|clock| sys::write(offsets, clock))
}

/// Whether who forks the first process has to be in a namespace before: in one of users, which is to own the others; in
/// one of pids or clocks, where only what is forked gets to.
pub fn any_before_fork(config: &Config) -> bool {
    config.bundle.namespaces.iter().any(|one| {
        let is_joined = one.path.is_some() && one.kind == CloneFlags::CLONE_NEWPID;
        is_joined || [CloneFlags::CLONE_NEWUSER, CLONE_NEWTIME].contains(&one.kind)
    })
}

/// The namespace that the first process is forked into.
pub fn of_fork(config: &Config) -> CloneFlags {
    let kind = CloneFlags::CLONE_NEWPID;
    if is_new(config, kind) { kind } else { CloneFlags::empty() }
}

/// All that begin with who makes them. The cgroup namespace takes the place we are in for its root.
pub fn unshare_rest(config: &Config) -> Result<()> {
    let others = [CloneFlags::CLONE_NEWUSER, CloneFlags::CLONE_NEWPID, CLONE_NEWTIME];
    let new = config.bundle.namespaces.iter().filter(|one| one.path.is_none() && !others.contains(&one.kind));
    sys::unshare(new.map(|one| one.kind).collect())?;
    if is_new(config, CloneFlags::CLONE_NEWNET) {
        let socket = sys::socket()?;
        sys::ioctl_link_up(&socket, "lo")?;
    }
    Ok(())
}

pub fn names(config: &Config) -> Result<()> {
    if !config.hostname.is_empty() {
        sys::sethostname(&config.hostname)?;
    }
    match &config.bundle.domainname {
        Some(name) => sys::setdomainname(name.as_ref()),
        None => Ok(()),
    }
}

pub fn any_name(config: &Config) -> bool {
    !config.hostname.is_empty() || config.bundle.domainname.is_some()
}

/// Whether not all of the machine's ids are known here: then nobody here makes device nodes.
pub fn is_nested() -> bool {
    let map = fs::read("/proc/self/uid_map").unwrap_or_default();
    let words: Vec<_> = map.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    words != [b"0".as_slice(), b"0", u32::MAX.to_string().as_bytes()]
}

pub fn display(kind: CloneFlags) -> &'static str {
    match kind {
        CloneFlags::CLONE_NEWUSER => "user",
        CloneFlags::CLONE_NEWPID => "pid",
        CloneFlags::CLONE_NEWNET => "network",
        CloneFlags::CLONE_NEWUTS => "uts",
        CloneFlags::CLONE_NEWIPC => "ipc",
        CloneFlags::CLONE_NEWCGROUP => "cgroup",
        CloneFlags::CLONE_NEWNS => "mount",
        _ => "time",
    }
}

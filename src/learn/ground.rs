//! The ground an attempt stands on: the host's files to look at and not to touch, a disk in memory, and
//! cgroups below a group of the arena's own.

use crate::{layers::cgroup, sys};
use anyhow::{Context, Result};
use nix::{
    mount::MsFlags,
    sched::CloneFlags,
    sys::resource::{Resource, setrlimit},
    unistd::{Gid, Pid, Uid},
};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write,
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Path, PathBuf},
};

/// The arena's disk. Nothing of the host's /tmp is seen in there.
pub const DISK: &str = "/tmp";
/// The learner's rubber.
pub const LEARNERS: &str = "/tmp/rubber";
/// A root filesystem with nothing but the probe in it.
pub const IMAGE: &str = "/tmp/image";
/// The probe, which is our own binary.
pub const PROBE: &str = "/tmp/image/bin/rubber";
pub const STORE: &str = "/tmp/store";
/// A file of the host's, which no container should be able to read.
pub const CANARY: &str = "/tmp/canary";

const CGROUPS: &str = "/sys/fs/cgroup";
const PREFIX: &str = "rubber-arena-";

/// Enough for a container, and not for a fork bomb to hurt the host.
const PROCESSES: &str = "256";
const BYTES: &str = "1073741824";

// ---- outside: cgroups --------------------------------------------------------

/// Makes a group in every tree that is ours to divide, and removes those of arenas that were killed.
pub fn make_groups() -> Result<Vec<PathBuf>> {
    let name = format!("{PREFIX}{}", nix::unistd::getpid());
    let mut groups = Vec::new();
    for tree in trees() {
        for left in arenas_in(&tree).into_iter().filter(|group| is_dead(group)) {
            remove_groups(&[left])?;
        }
        let group = tree.join(&name);
        if fs::create_dir(&group).is_ok() {
            // A limit that this kernel does not know protects nobody, and stops nobody.
            let _ = fs::write(group.join("pids.max"), PROCESSES);
            let _ = fs::write(group.join("memory.limit_in_bytes"), BYTES);
            groups.push(group);
        }
    }
    Ok(groups)
}

/// The trees of version 1 that the chapters use.
fn trees() -> Vec<PathBuf> {
    let tree = |controller: &str| Path::new(CGROUPS).join(controller);
    let is_tree = |tree: &PathBuf| tree.join("cgroup.procs").is_file() && tree.join("tasks").is_file();
    ["cpu", "memory", "pids"].map(tree).into_iter().filter(is_tree).collect()
}

fn arenas_in(tree: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(tree).into_iter().flatten().flatten();
    let is_arena = |path: &PathBuf| path.file_name().is_some_and(|name| pid_in(name).is_some());
    entries.map(|entry| entry.path()).filter(is_arena).collect()
}

fn pid_in(name: &OsStr) -> Option<i32> {
    name.to_str()?.strip_prefix(PREFIX)?.parse().ok()
}

/// Whether the rubber that made it has ended. (A number used again only delays the sweep.)
fn is_dead(group: &Path) -> bool {
    let pid = group.file_name().and_then(pid_in).unwrap_or(0);
    nix::sys::signal::kill(Pid::from_raw(pid), None) == Err(nix::errno::Errno::ESRCH)
}

/// Removes each group, the groups of containers below it, and whoever is still in one.
pub fn remove_groups(groups: &[PathBuf]) -> Result<()> {
    for group in groups {
        let below = fs::read_dir(group).into_iter().flatten().flatten().map(|entry| entry.path());
        for group in below.filter(|path| path.is_dir()) {
            cgroup::remove_group(&group)?;
        }
        cgroup::remove_group(group)?;
    }
    Ok(())
}

pub fn join(groups: &[PathBuf]) -> Result<()> {
    groups.iter().try_for_each(|group| sys::write(&group.join("tasks"), "0"))
}

// ---- on the way in -------------------------------------------------------------

/// An ordinary user makes namespaces only within a user namespace. They stay who they are in it: the
/// learner's rubber shall find an ordinary user there, too.
pub fn leave_user_namespace() -> Result<()> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    if uid.is_root() {
        return Ok(());
    }
    sys::unshare(CloneFlags::CLONE_NEWUSER)?;
    sys::write(Path::new("/proc/self/setgroups"), "deny")?;
    sys::write(Path::new("/proc/self/uid_map"), &format!("{uid} {uid} 1"))?;
    sys::write(Path::new("/proc/self/gid_map"), &format!("{gid} {gid} 1"))?;
    // They may have no cgroup to divide. Set in here, it counts only the processes of this namespace and of
    // those below it (getrlimit(2)); root's are not limited this way.
    let most = PROCESSES.parse()?;
    Ok(setrlimit(Resource::RLIMIT_NPROC, most, most)?)
}

// ---- inside --------------------------------------------------------------------

/// Makes the place. In this order: nothing of it may reach the host's mounts, then nothing the host's
/// files, and only then is `/` shared, as on most hosts.
pub fn prepare((learners, probe): (File, File), groups: &[PathBuf]) -> Result<()> {
    let root = Path::new("/");
    sys::mount(None, root, None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)?;
    sys::mount_setattr_read_only(root, true)?;
    let proc = Some(Path::new("proc"));
    sys::mount(proc, Path::new("/proc"), Some("proc"), MsFlags::empty(), None)?;
    let tmpfs = Some(Path::new("tmpfs"));
    let size = Some(OsStr::new("mode=0755,size=768m"));
    sys::mount(tmpfs, Path::new(DISK), Some("tmpfs"), MsFlags::empty(), size)?;
    groups.iter().try_for_each(|group| show_group(group))?;
    if !Uid::effective().is_root() {
        hide_subordinate_ids()?;
    }
    sys::mount(None, root, None, MsFlags::MS_REC | MsFlags::MS_SHARED, None)?;
    sys::ioctl_link_up(&sys::socket()?, "lo")?;
    fill_disk(learners, probe)
}

/// Where the tree was, there is now only our part of it.
fn show_group(group: &Path) -> Result<()> {
    let tree = group.parent().context("a cgroup has a parent")?;
    sys::mount(Some(group), tree, None, MsFlags::MS_BIND, None)?;
    sys::mount_setattr_read_only(tree, false)
}

/// Only one id is mapped in here, whatever /etc/subuid says.
fn hide_subordinate_ids() -> Result<()> {
    for file in ["/etc/subuid", "/etc/subgid"].map(Path::new).into_iter().filter(|file| file.exists()) {
        sys::mount(Some(Path::new("/dev/null")), file, None, MsFlags::MS_BIND, None)?;
    }
    Ok(())
}

fn fill_disk(learners: File, probe: File) -> Result<()> {
    for dir in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(Path::new(IMAGE).join(dir))?;
    }
    fs::write(Path::new(IMAGE).join("etc/passwd"), "root:x:0:0:root:/:/bin/rubber\n")?;
    fs::write(Path::new(IMAGE).join("etc/group"), "root:x:0:\n")?;
    symlink("rubber", Path::new(IMAGE).join("bin/probe"))?;
    program(learners, LEARNERS)?;
    program(probe, PROBE)
}

fn program(mut from: File, to: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(to)?;
    std::io::copy(&mut from, &mut file).with_context(|| format!("cannot fill the arena's disk: {to}"))?;
    Ok(file.flush()?)
}

//! The ground an attempt stands on: the host's files to look at and not to touch, a disk in memory, and
//! cgroups below a group of the arena's own.

use crate::{
    layers::cgroup::{self, Version},
    sys,
};
use anyhow::{Context, Result};
use nix::{
    mount::MsFlags,
    sched::CloneFlags,
    sys::resource::{Resource, setrlimit},
    unistd::{AccessFlags, Gid, Pid, Uid, access},
};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink},
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
/// The part of a group that is shown in the arena as if it were all there is.
const SHOWN: &str = "shown";
/// In version 2 only groups without groups below them hold processes. So the arena's own have this one,
/// and so have those of the learner's that are in no container.
const PROCESSES_ONLY: &str = "processes";

/// Enough for a container, and not for a fork bomb to hurt the host.
const PROCESSES: &str = "256";
const BYTES: &str = "1073741824";

/// Those that a version 2 group of ours hands down.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

// ---- outside: cgroups --------------------------------------------------------

/// Makes a group in every tree that is ours to divide, and removes those of arenas that were killed.
pub fn make_groups() -> Result<Vec<PathBuf>> {
    let name = format!("{PREFIX}{}", nix::unistd::getpid());
    let mut groups = Vec::new();
    for tree in trees() {
        for left in arenas_in(&tree).into_iter().filter(|group| is_dead(group)) {
            // Another user's may stay; and two who sweep at once get in each other's way.
            let _ = remove_groups(&[left]);
        }
        let group = tree.join(&name);
        if fs::create_dir(&group).is_ok() {
            groups.push(group.clone());
            divide(&tree, &group)?;
            protect(&group);
        }
    }
    Ok(groups)
}

/// Limits around the learner's own. One that this kernel does not know protects nobody, and stops nobody.
fn protect(group: &Path) {
    for (file, most) in [
        ("pids.max", PROCESSES),
        ("memory.limit_in_bytes", BYTES),
        ("memory.memsw.limit_in_bytes", BYTES),
        ("memory.max", BYTES),
        ("memory.swap.max", BYTES),
    ] {
        let _ = fs::write(group.join(file), most);
    }
}

/// Before all others for once: what an attack could take of an idle machine, it takes of a busy one, too.
pub fn prefer(groups: &[PathBuf]) {
    for group in groups {
        let _ = fs::write(group.join("cpu.shares"), "262144");
        let _ = fs::write(group.join("cpu.weight"), "10000");
    }
}

/// What a learner does to the groups they see does not reach the warden.
fn divide(tree: &Path, group: &Path) -> Result<()> {
    if cgroup::version() == Version::V2 {
        for (group, controller) in [tree, group].iter().flat_map(|dir| CONTROLLERS.map(|name| (dir, name))) {
            // The check says which it lacks.
            let _ = fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        fs::create_dir(group.join(PROCESSES_ONLY))?;
        fs::create_dir_all(group.join(SHOWN).join(PROCESSES_ONLY))?;
    }
    Ok(fs::create_dir_all(group.join(SHOWN))?)
}

/// The trees that the chapters use, or in version 2 the part of the only one that is ours.
fn trees() -> Vec<PathBuf> {
    if cgroup::version() == Version::V2 {
        return cgroup::delegated().ok().flatten().into_iter().collect();
    }
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

/// Removes each group, all groups below it, and whoever is still in one.
pub fn remove_groups(groups: &[PathBuf]) -> Result<()> {
    cgroup::remove_groups(groups.iter().map(|group| &**group))
}

fn below(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

pub fn join(groups: &[PathBuf]) -> Result<()> {
    groups.iter().try_for_each(|group| sys::write(&members(group), "0"))
}

/// The file that takes who shall be in the group.
fn members(group: &Path) -> PathBuf {
    match cgroup::version() {
        Version::V1 => group.join("tasks"),
        Version::V2 => group.join(PROCESSES_ONLY).join("cgroup.procs"),
    }
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
    let tree = match cgroup::version() {
        Version::V1 => group.parent().context("a cgroup has a parent")?,
        Version::V2 => Path::new(CGROUPS),
    };
    sys::mount(Some(&group.join(SHOWN)), tree, None, MsFlags::MS_BIND, None)?;
    sys::mount_setattr_read_only(tree, false)
}

/// Only one id is mapped in here, whatever /etc/subuid says.
fn hide_subordinate_ids() -> Result<()> {
    for file in ["/etc/subuid", "/etc/subgid"].map(Path::new).into_iter().filter(|file| file.exists()) {
        sys::mount(Some(Path::new("/dev/null")), file, None, MsFlags::MS_BIND, None)?;
    }
    Ok(())
}

/// The trees that are ours, as they are shown in here, and the controllers that a container can have.
fn shown() -> (Vec<PathBuf>, Vec<String>) {
    let is_ours = |tree: &PathBuf| access(tree, AccessFlags::W_OK).is_ok();
    if cgroup::version() == Version::V2 {
        let names = fs::read_to_string(Path::new(CGROUPS).join("cgroup.controllers")).unwrap_or_default();
        let trees = [PathBuf::from(CGROUPS)].into_iter().filter(is_ours).collect();
        return (trees, names.split_whitespace().map(String::from).collect());
    }
    let names = ["cpu", "memory", "pids"].into_iter().filter(|name| is_ours(&Path::new(CGROUPS).join(name)));
    let names: Vec<_> = names.map(String::from).collect();
    (names.iter().map(|name| Path::new(CGROUPS).join(name)).collect(), names)
}

pub fn controllers() -> Vec<String> {
    shown().1
}

pub fn counts_swap() -> bool {
    let files = ["memory/memory.memsw.limit_in_bytes", "memory.swap.max"];
    files.iter().any(|file| Path::new(CGROUPS).join(file).exists())
}

/// For the learner's rubber, which is not to be in the warden's groups.
pub fn lists_of_members() -> Result<Vec<File>> {
    let open = |tree: &PathBuf| fs::OpenOptions::new().write(true).open(members(tree));
    Ok(shown().0.iter().map(open).collect::<std::io::Result<_>>()?)
}

/// A group by the name it has in here: `/rubber-0123` of `/rubber-arena-1/shown/rubber-0123`.
pub fn below_what_is_shown(path: &str) -> &str {
    path.split_once(&format!("/{SHOWN}"))
        .map_or(path, |(_, below)| if below.is_empty() { "/" } else { below })
}

/// The groups that containers have made and not (yet) taken away, as `cpu/rubber-0123`.
pub fn containers_groups() -> Vec<String> {
    let groups = shown().0.into_iter().flat_map(|tree| below(&tree));
    let groups = groups.filter(|group| !group.ends_with(PROCESSES_ONLY));
    let short = |group: PathBuf| group.strip_prefix(CGROUPS).map(|group| group.display().to_string());
    groups.filter_map(|group| short(group).ok()).collect()
}

fn fill_disk(learners: File, probe: File) -> Result<()> {
    for dir in ["bin", "dev", "etc", "mnt", "proc", "sys", "tmp"] {
        fs::create_dir_all(Path::new(IMAGE).join(dir))?;
    }
    fs::set_permissions(Path::new(IMAGE).join("tmp"), fs::Permissions::from_mode(0o1777))?;
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

//! The stand-in host: namespaces, a root and a disk of its own, which are gone with its first process. What a
//! demo breaks is broken in there.

use super::{Ground, service};
use crate::{ids::Ids, image, layers::userns, learn::ground, sys};
use anyhow::{Context, Result, bail};
use caps::{CapSet, Capability};
use nix::{
    fcntl::OFlag,
    mount::{MntFlags, MsFlags},
    sched::CloneFlags,
    sys::wait::{WaitPidFlag, waitpid},
    unistd::{Pid, geteuid, pipe2},
};
use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

pub const NAME: &str = "lab";
/// Where its store is.
pub const STORE: &str = "/var/lib/rubber";
/// What a container has no business to read.
pub const SECRET: &str = "/root/secret";

/// One that runs. Dropped, it is ended, with all that runs in it.
pub struct StandIn {
    first: Pid,
    groups: Vec<PathBuf>,
    /// Where its first process says what it has to say.
    pub out: File,
}

/// Starts one, whose first process does `work`, and is told whether its host could be made; what it writes comes
/// out of `out`.
pub fn start(ground: &Ground, work: impl FnOnce(Result<()>, File) -> Result<u8>) -> Result<StandIn> {
    let groups = ground::make_groups()?;
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC)?;
    let inside = groups.clone();
    let first = sys::fork("stand-in", move || enter(ground, &inside, |made| work(made, writer.into())));
    Ok(StandIn { first: first?, groups, out: reader.into() })
}

impl StandIn {
    /// Waits for its end, and returns the exit code of its first process.
    pub fn end(self) -> u8 {
        let code = match waitpid(self.first, None) {
            Ok(nix::sys::wait::WaitStatus::Exited(_, code)) => code as u8,
            _ => 125,
        };
        drop(self);
        code
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        // Its first process asked to be killed with this one, and takes all others along.
        let _ = nix::sys::signal::kill(self.first, nix::sys::signal::Signal::SIGKILL);
        let _ = waitpid(self.first, None);
        let _ = ground::remove_groups(&self.groups).map_err(crate::report);
    }
}

/// Root with the means to make namespaces; everybody else needs a user namespace first.
pub fn is_able() -> bool {
    geteuid().is_root() && caps::has_cap(None, CapSet::Effective, Capability::CAP_SYS_ADMIN).unwrap_or(false)
}

fn enter(ground: &Ground, groups: &[PathBuf], work: impl FnOnce(Result<()>) -> Result<u8>) -> Result<u8> {
    let what = "cannot make the stand-in host";
    if let Err(error) = leave(groups).context(what) {
        return work(Err(error));
    }
    let first = sys::fork("lab", || work(prepare(ground, groups).context(what)))?;
    while let Some((ended, code)) = sys::wait4(WaitPidFlag::empty())? {
        if ended == first {
            return Ok(code);
        }
    }
    bail!("nobody to wait for")
}

fn leave(groups: &[PathBuf]) -> Result<()> {
    sys::reset_signals()?;
    ground::join(groups)?;
    if !is_able() {
        userns::enter(&Ids::of_caller())?;
        // The kernel has taken that wish back, as we have become somebody else: prctl(2).
        sys::prctl_pdeathsig()?;
    }
    let mut flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    flags |= CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID;
    sys::unshare(flags)
}

/// Puts its root together in the store's directory for half-made things, which nobody else sees us mount over.
fn prepare(ground: &Ground, groups: &[PathBuf]) -> Result<()> {
    sys::umask(0o022)?;
    sys::mount(None, Path::new("/"), None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)?;
    let root = ground.store.root().join("tmp");
    let size = Some(OsStr::new("mode=0755,size=512m"));
    sys::mount(Some(Path::new("host")), &root, Some("tmpfs"), MsFlags::empty(), size)?;
    let libraries = ground.libraries.iter().flat_map(|image| &image.layers);
    let layers: Vec<_> = libraries.chain(&ground.image.layers).cloned().collect();
    image::copy(&layers, &root)?;
    // Only the image has this one.
    let _ = fs::remove_dir(root.join("home/guest"));
    for dir in ["proc", "sys", "dev/pts", "root", "home/you", "mnt", "run", "tmp", "var/lib"] {
        fs::create_dir_all(root.join(dir))?;
    }
    show_kernel(&root)?;
    show_groups(&root, groups)?;
    show_store(ground, &root.join(&STORE[1..]))?;
    sys::chdir(&root)?;
    sys::pivot_root(".", ".")?;
    sys::umount2(".", MntFlags::MNT_DETACH)?;
    sys::chdir(Path::new("/"))?;
    sys::sethostname(OsStr::new(NAME))?;
    sys::ioctl_link_up(&sys::socket()?, "lo")?;
    fs::write(SECRET, "the host's secret\n")?;
    serve()
}

/// /proc, /sys and /dev. An ordinary user may make no device nodes, so they are this machine's.
fn show_kernel(root: &Path) -> Result<()> {
    let fresh = |kind: &str, at: &str, data: &str| {
        let data = Some(OsStr::new(data)).filter(|data| !data.is_empty());
        sys::mount(Some(Path::new(kind)), &root.join(at), Some(kind), MsFlags::empty(), data)
    };
    fresh("proc", "proc", "")?;
    fresh("sysfs", "sys", "")?;
    fresh("devpts", "dev/pts", "newinstance,ptmxmode=0666,mode=0620")?;
    std::os::unix::fs::symlink("pts/ptmx", root.join("dev/ptmx"))?;
    for name in ["null", "zero", "full", "random", "urandom", "tty"] {
        let node = root.join("dev").join(name);
        File::create(&node)?;
        sys::mount(Some(&Path::new("/dev").join(name)), &node, None, MsFlags::MS_BIND, None)?;
    }
    Ok(())
}

/// Our part of each cgroup tree where a host has the tree: version 1 has one for each controller.
fn show_groups(root: &Path, groups: &[PathBuf]) -> Result<()> {
    let trees = root.join("sys/fs/cgroup");
    let is_only = |group: &PathBuf| group.join("cgroup.controllers").exists();
    if !groups.is_empty() && !groups.iter().any(is_only) {
        sys::mount(Some(Path::new("tmpfs")), &trees, Some("tmpfs"), MsFlags::empty(), None)?;
    }
    for group in groups {
        let name = group.parent().and_then(Path::file_name).context("a cgroup is in a tree")?;
        let tree = if is_only(group) { trees.clone() } else { trees.join(name) };
        fs::create_dir_all(&tree)?;
        sys::mount(Some(group), &tree, None, MsFlags::MS_BIND, None)?;
    }
    Ok(())
}

/// A store of its own with the one image in it.
fn show_store(ground: &Ground, store: &Path) -> Result<()> {
    sys::mkdir(store, 0o700)?;
    let images = ground.store.root().join("images");
    for (from, name) in [(images.as_path(), "images"), (ground.layers_directory(), "layers")] {
        let to = store.join(name);
        sys::mkdir(&to, 0o700)?;
        sys::mount(Some(from), &to, None, MsFlags::MS_BIND, None)?;
        sys::mount_setattr_read_only(&to, true)?;
    }
    Ok(())
}

/// Starts the process that there is to reach and to kill.
fn serve() -> Result<()> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(service::NAME).arg("serve").env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
    let mut service = command.spawn().context("cannot start the stand-in host's service")?;
    let mut line = String::new();
    BufReader::new(service.stdout.take().context("no stdout")?).read_line(&mut line)?;
    if line != "ready\n" {
        bail!("the stand-in host's service did not start");
    }
    Ok(())
}

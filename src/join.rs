//! `rubber exec`: another process gets into a container that runs already.
//!
//! Nobody in there is our friend. So we hide from them before they can see us, run from a copy of our own
//! program that nobody can write to, and keep no descriptor of the host's that they could find a way through.

use crate::{
    config::Config,
    container::{relay::Relay, supervise, terminal},
    layers::{Layer, *},
    run::{Step, row, take},
    sys,
};
use Layer::*;
use anyhow::{Context, Result};
use nix::{
    fcntl::{AT_FDCWD, OFlag, openat},
    sched::CloneFlags,
    sys::stat::Mode,
    unistd::Pid,
};
use std::{fs::read_link, os::fd::OwnedFd};

/// What the host does. The groups first, so that all that follows is counted; hidden before anybody in there
/// could see us; and all namespaces at once, as the user namespace gives us the right to join the others.
#[rustfmt::skip]
pub const OUTSIDE: &[Step] = &[
    row(Cpu,     "join the CPU cgroup", cpu::join),
    row(Memory,  "join the memory cgroup", memory::join),
    row(Devices, "join the cgroup that limits devices", devices::join).when(devices::is_limited),
    row(Process, "say how soon the kernel may kill it", rlimits::oom_score).when(rlimits::any_score),
    row(Process, "hide from the container's processes", |_| sys::prctl_not_dumpable()),
    row(Process, "join the container's namespaces", join_namespaces),
];

/// What the process that will be the command does: as pid 1 of the container did, but what is made already.
#[rustfmt::skip]
pub const INSIDE: &[Step] = &[
    row(Process,      "go to the container's root", join_root),
    row(Process,      "become root by the map", idmap::take_root).when(idmap::any),
    row(Process,      "take a session and a terminal", process::take_session),
    row(Process,      "give the terminal to the user", terminal::give).when(terminal::any),
    row(Process,      "take a keyring of its own", confinement::keyring),
    row(Process,      "allow each process more", rlimits::raise).when(rlimits::any),
    row(Capabilities, "bound what can ever be gained", capabilities::bound),
    row(Process,      "have its program confined", confinement::confine).when(confinement::any),
    row(Seccomp,      "filter its system calls", seccomp::load).when(seccomp::on_its_right),
    row(User,         "become the user", user::become_user),
    row(Capabilities, "drop what root can do", capabilities::drop),
    row(Seccomp,      "promise that no program gains privileges", seccomp::promise).when(seccomp::has_promised),
    row(Seccomp,      "filter its system calls, last of all", seccomp::load).when(seccomp::on_its_promise),
    row(Process,      "become the command", process::execute),
];

/// The first process of the container, and its root directory: opened while we are still outside.
pub struct Target {
    pub pid: Pid,
    pub pidfd: OwnedFd,
    root: OwnedFd,
}

impl Target {
    pub fn open(pid: Pid, pidfd: OwnedFd) -> Result<Target> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = openat(AT_FDCWD, format!("/proc/{pid}/root").as_str(), flags, Mode::empty())
            .with_context(|| format!("open(\"/proc/{pid}/root\")"))?;
        Ok(Target { pid, pidfd, root })
    }
}

/// Runs the command of `config` in there, and returns its exit code.
pub fn join(config: &Config) -> Result<u8> {
    supervise::hold_signals()?;
    OUTSIDE.iter().try_for_each(|step| take(step, config))?;
    let child = sys::fork("command", || {
        INSIDE.iter().try_for_each(|step| take(step, config)).inspect_err(|_| config.streams.failed())?;
        Ok(0)
    })?;
    supervise::wait(child, Relay::start(config)?)
}

fn target(config: &Config) -> Result<&Target> {
    config.target.as_ref().context("there is no container to join")
}

/// Those that are not ours already: joining one's own user namespace is EINVAL (setns(2)).
pub fn join_namespaces(config: &Config) -> Result<()> {
    let target = target(config)?;
    let flags = namespaces(target.pid)?;
    if flags.is_empty() { Ok(()) } else { sys::setns(&target.pidfd, flags) }
}

fn namespaces(pid: Pid) -> Result<CloneFlags> {
    let kinds = [
        ("user", CloneFlags::CLONE_NEWUSER),
        ("mnt", CloneFlags::CLONE_NEWNS),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("net", CloneFlags::CLONE_NEWNET),
        ("pid", CloneFlags::CLONE_NEWPID),
        ("cgroup", CloneFlags::CLONE_NEWCGROUP),
        ("time", sys::CLONE_NEWTIME),
    ];
    let mut flags = CloneFlags::empty();
    for (name, flag) in kinds {
        let theirs = format!("/proc/{pid}/ns/{name}");
        let Ok(ours) = read_link(format!("/proc/self/ns/{name}")) else { continue };
        if ours != read_link(&theirs).with_context(|| format!("readlink({theirs:?})"))? {
            flags |= flag;
        }
    }
    Ok(flags)
}

/// A mount namespace brings its own root along, but not what chroot(2) has made of it.
pub fn join_root(config: &Config) -> Result<()> {
    sys::fchdir(&target(config)?.root)?;
    sys::chroot(std::path::Path::new("."))?;
    sys::chdir(std::path::Path::new("/"))
}

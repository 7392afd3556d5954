//! `rubber exec`: another process gets into a container that runs already.
//!
//! Nobody in there is our friend, and some may be allowed to trace (CAP_SYS_PTRACE): from those nothing is hidden. So
//! the process that is among them has no more than they have, from its first moment. All power is given up in a process
//! between, which has joined the container but for its pid namespace; its last step is to fork what becomes the command.

use crate::{
    config::Config,
    container::{relay::Relay, streams, supervise, terminal},
    hide,
    layers::{Layer, *},
    run::{Step, row, take},
    sys,
};
use Layer::*;
use anyhow::{Context, Result, ensure};
use nix::{
    fcntl::{AT_FDCWD, OFlag, openat},
    sched::CloneFlags,
    sys::stat::Mode,
    unistd::Pid,
};
use std::{
    cell::RefCell,
    fs::read_link,
    io::{PipeReader, Read, pipe},
    os::fd::{AsFd, OwnedFd},
};

/// What the host does. The groups first, so that all that follows is counted; what /proc/self is needed for, as in the
/// container's /proc there is no process that is not in its pid namespace; hidden before the container's processes could
/// see us; and all namespaces at once, as the user namespace gives us the right to join the others.
#[rustfmt::skip]
pub const OUTSIDE: &[Step] = &[
    row(Cpu,     "join the CPU cgroup", cpu::join),
    row(Memory,  "join the memory cgroup", memory::join),
    row(Devices, "join the cgroup that limits devices", devices::join).when(devices::is_limited),
    row(Process, "say how soon the kernel may kill it", rlimits::oom_score).when(rlimits::any_score),
    row(Process, "have its program confined", confinement::confine).when(confinement::any),
    row(Process, "label its keys", confinement::label_keys).when(confinement::any_label),
    row(Process, "hide from the container's processes", hide::hide),
    row(Process, "join the container's namespaces", join_namespaces),
];

/// What the process between does: as pid 1 of the container did, but what is made already. Then it goes on as the command,
/// among the container's processes: a row below must not need what they may not have. Where the filter of system calls
/// forbids what `enter` does, that has to come before the filter, and so before all that follows.
#[rustfmt::skip]
pub const INSIDE: &[Step] = &[
    row(Process,      "go to the container's root", join_root),
    row(Process,      "become root by the map", idmap::take_root).when(idmap::any),
    row(Process,      "take the streams of the command", streams::take),
    row(Process,      "give the terminal to the user", terminal::give).when(terminal::any),
    row(Process,      "take a keyring of its own", confinement::keyring),
    row(Process,      "allow each process more", rlimits::raise).when(rlimits::any),
    row(Process,      "have the next child be among its processes", join_pids),
    row(Process,      "let go of what is the host's", hide::let_go),
    row(Capabilities, "bound what can ever be gained", capabilities::bound),
    row(Process,      "go in among its processes", enter).when(enters_early),
    row(Seccomp,      "filter its system calls", seccomp::load).when(seccomp::on_its_right),
    row(User,         "become the user", user::become_user),
    row(Capabilities, "drop what root can do", capabilities::drop),
    row(Seccomp,      "promise that no program gains privileges", seccomp::promise).when(seccomp::has_promised),
    row(Seccomp,      "filter its system calls, last of all", seccomp::load).when(seccomp::on_its_promise),
    row(Process,      "go in among its processes", enter).except(enters_early),
    row(Process,      "become the command", process::execute),
];

/// The first process of the container, and its root directory: opened while we are still outside.
pub struct Target {
    pub pid: Pid,
    pub pidfd: OwnedFd,
    root: OwnedFd,
    /// Those it has other than ours.
    namespaces: CloneFlags,
}

impl Target {
    pub fn open(pid: Pid, pidfd: OwnedFd) -> Result<Target> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = openat(AT_FDCWD, format!("/proc/{pid}/root").as_str(), flags, Mode::empty())
            .with_context(|| format!("open(\"/proc/{pid}/root\")"))?;
        Ok(Target { pid, pidfd, root, namespaces: namespaces(pid)? })
    }
}

/// Runs the command of `config` in there, and returns its exit code.
pub fn join(config: &Config) -> Result<u8> {
    supervise::hold_signals()?;
    OUTSIDE.iter().try_for_each(|step| take(step, config))?;
    let (mut number, numbered) = pipe()?;
    let numbered = RefCell::new(Some(numbered));
    let between = sys::fork("between", || {
        numbered.take().into_iter().for_each(sys::know_parent_by);
        INSIDE.iter().try_for_each(|step| take(step, config)).inspect_err(|_| config.streams.failed())?;
        Ok(0)
    })?;
    numbered.take();
    // Where there is none, it is the process between that ends, and has said why.
    let child = read_number(&mut number, between)?.unwrap_or(between);
    supervise::wait(child, Relay::start(config)?)
}

/// The command's number, as the process between tells it. The command is in the container by then, with the same pipe, and
/// may be made to lie by who traces it: so it is believed of a child of ours only.
pub fn read_number(pipe: &mut PipeReader, between: Pid) -> Result<Option<Pid>> {
    let mut bytes = [0; 4];
    if pipe.read_exact(&mut bytes).is_err() {
        return Ok(None);
    }
    let pid = Pid::from_raw(i32::from_ne_bytes(bytes));
    ensure!(pid.as_raw() > 0 && pid != between && sys::is_child(pid), "the command's number was forged");
    Ok(Some(pid))
}

fn target(config: &Config) -> Result<&Target> {
    config.target.as_ref().context("there is no container to join")
}

/// All but the pid namespace: the child that gets there is forked when all power is given up.
pub fn join_namespaces(config: &Config) -> Result<()> {
    let flags = target(config)?.namespaces - CloneFlags::CLONE_NEWPID;
    if flags.is_empty() { Ok(()) } else { sys::setns(&target(config)?.pidfd, flags) }
}

/// While we still have the right to.
pub fn join_pids(config: &Config) -> Result<()> {
    let flags = target(config)?.namespaces & CloneFlags::CLONE_NEWPID;
    if flags.is_empty() { Ok(()) } else { sys::setns(&target(config)?.pidfd, flags) }
}

/// Goes on as a child of the supervisor's that is among the container's processes, and leads a session: Ctrl-C at the
/// caller's terminal is rubber's to pass on (see `process::take_session`). Not before: a terminal goes with the process
/// that leads its session, and the process between ends here.
pub fn enter(config: &Config) -> Result<()> {
    // Once more: becoming another user may have shown us (see `hide`).
    sys::prctl_not_dumpable()?;
    let number = sys::go_on_as_sibling("command")?;
    config.bundle.pid_outside.set(Some(number.as_raw()));
    sys::setsid()?;
    match config.tty {
        true => sys::ioctl_controlling_terminal(std::io::stdin().as_fd()),
        false => Ok(()),
    }
}

/// Whether its filter forbids what `enter` does, or has to know the command's number when it is loaded; or whether what is
/// said of its turn on the processors does not pass to a child.
pub fn enters_early(config: &Config) -> bool {
    let passes = config.seccomp.lets_in(&config.capabilities).unwrap_or(false);
    !passes || config.bundle.listener.is_some() || !config.bundle.schedule.is_inherited()
}

/// Those that are not ours already: joining one's own user namespace is EINVAL (setns(2)).
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

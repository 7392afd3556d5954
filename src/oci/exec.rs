//! exec: another process in a container that runs, in the same words.

use super::{
    cgroup, notify, process, schedule, spec,
    state::{Container, PidFile, PidfdSocket, Status},
    story,
};
use crate::{
    config::Config,
    container::{relay::Relay, streams::Streams, supervise},
    hide,
    join::{self, Target},
    layers::{Layer, *},
    run::{Step, row, take},
    sys,
};
use Layer::*;
use anyhow::{Context, Result, bail, ensure};
use nix::{sched::CloneFlags, sys::wait::waitpid, unistd::Pid};
use oci_spec::runtime::Process;
use std::{
    cell::RefCell,
    io::{Read, Write, pipe},
    os::unix::net::UnixStream,
    path::PathBuf,
};

/// As `join` has it for `rubber exec`.
#[rustfmt::skip]
const OUTSIDE: &[Step] = &[
    row(Memory,  "join the cgroups", cgroup::join).when(cgroup::any),
    row(Process, "run on the processors it is to have in there", schedule::place_in_group).when(schedule::any_in_group),
    row(Process, "say how soon the kernel may kill it", rlimits::oom_score).when(rlimits::any_score),
    row(Process, "have its program confined", confinement::confine).when(confinement::any),
    row(Process, "label its keys", confinement::label_keys).when(confinement::any_label),
    row(Process, "hide from the container's processes", hide::hide),
    row(Process, "join the container's namespaces", join::join_namespaces),
];

/// As `join` has it: all that takes power is done outside of the container's pid namespace.
#[rustfmt::skip]
const INSIDE: &[Step] = &[
    row(Process,      "go to the container's root", join::join_root),
    row(Process,      "take the streams of the command", process::take_streams),
    row(Process,      "take a keyring of its own", confinement::keyring),
    row(Process,      "allow each process more", rlimits::raise).when(rlimits::any),
    row(Process,      "have the next child be among its processes", join::join_pids),
    row(Process,      "let go of what is the host's", hide::let_go),
    row(Process,      "go in among its processes", join::enter).when(join::enters_early),
    row(Process,      "say how soon it has its turn", schedule::take).when(schedule::any),
    row(Capabilities, "bound what can ever be gained", process::bound),
    row(Seccomp,      "filter its system calls", notify::load).when(seccomp::on_its_right),
    row(User,         "become the user", process::become_user),
    row(Capabilities, "keep no other capabilities", process::keep),
    row(Process,      "look for the command", process::look),
    row(Seccomp,      "promise that no program gains privileges", seccomp::promise).when(seccomp::has_promised),
    row(Seccomp,      "filter its system calls, last of all", notify::load).when(seccomp::on_its_promise),
    row(Process,      "go in among its processes", join::enter).except(join::enters_early),
    row(Process,      "become the command", process::execute),
];

/// Bytes of what the command's process tells of an error: a process that may trace it can have it tell anything.
const LONGEST: u64 = 1 << 16;

pub struct Wish {
    pub process: Process,
    pub pid_file: Option<PathBuf>,
    pub pidfd_socket: Option<PathBuf>,
    pub is_detached: bool,
    pub ignores_pause: bool,
    pub preserve_fds: u32,
}

/// Returns the exit code of its command, or 0 where it is left alone.
pub fn exec(container: &Container, wish: &Wish, streams: Streams) -> Result<u8> {
    match container.status() {
        Status::Running | Status::Created => {}
        Status::Paused if wish.ignores_pause => {}
        Status::Paused => bail!("cannot exec in a paused container"),
        _ => bail!("cannot exec in a stopped container"),
    }
    let (pid, pidfd) = container.pidfd()?.context("cannot exec in a stopped container")?;
    let mut config = Config { streams, target: Some(Target::open(pid, pidfd)?), ..Config::default() };
    config.id = container.record.id.clone();
    config.bundle.groups = container.record.groups.clone();
    config.bundle.preserved = wish.preserve_fds;
    config.seccomp = spec::seccomp(&container.record.config)?;
    config.bundle.schedule.personality = schedule::personality(&container.record.config)?;
    config.bundle.listener = notify::connect(&config)?;
    config.bundle.hooks.know(container.state(Status::Running).to_string());
    let config = spec::with_process(config, &wish.process)?;
    if !wish.is_detached {
        // Whoever is between us and the command ends before it does.
        nix::sys::prctl::set_child_subreaper(true)?;
        supervise::hold_signals()?;
    }
    // While the host's names are in reach.
    let pid_file = wish.pid_file.as_deref().map(PidFile::open).transpose()?;
    let pidfd_socket = wish.pidfd_socket.as_deref().map(PidfdSocket::open).transpose()?;
    let child = join(&config)?;
    pidfd_socket.map_or(Ok(()), |socket| socket.send(child))?;
    pid_file.map_or(Ok(()), |file| file.write(child))?;
    if wish.is_detached {
        return Ok(0);
    }
    supervise::wait(child, Relay::start(&Config { interactive: true, ..config })?)
}

/// Returns when the command runs: the socket ends without a word when it is executed. Who joins is not us but a process
/// in between, as nobody comes back from a namespace, and we are not to be counted with the container.
fn join(config: &Config) -> Result<Pid> {
    let (told, teller) = UnixStream::pair()?;
    let (mut number, numbered) = pipe()?;
    let (ends, number_ends) = (RefCell::new(Some(teller)), RefCell::new(Some(numbered)));
    schedule::place_first(config)?;
    let between = sys::clone_untied(CloneFlags::empty(), cgroup::cradle(config), "between", || {
        config.bundle.starter.replace(ends.take());
        number_ends.take().into_iter().for_each(sys::know_parent_by);
        say(config, OUTSIDE.iter().chain(INSIDE).try_for_each(|step| take(step, config))).map(|()| 255)
    })?;
    ends.take();
    number_ends.take();
    // For it alone: the command may have ended, too, and whoever waits for that comes later.
    waitpid(between, None).context("waitpid()")?;
    let mut text = String::new();
    told.take(LONGEST).read_to_string(&mut text)?;
    ensure!(text.is_empty(), "{text}");
    join::read_number(&mut number, between)?.context("it was killed before its command ran")
}

fn say(config: &Config, outcome: Result<()>) -> Result<()> {
    if let (Err(error), Some(mut starter)) = (outcome, config.bundle.starter.take()) {
        starter.write_all(story::words(&error).1.as_bytes())?;
    }
    Ok(())
}

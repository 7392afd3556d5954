//! create, start, kill, delete: what becomes of a container.

use super::{
    cgroup, freezer,
    given::{self, Given},
    hooks, idmap, namespaces, notify, properties, resources, spec,
    state::{self, Container, PidFile, PidfdSocket, Record, States, Status},
    story::{self, Word},
    systemd::{Property, Unit},
};
use crate::{
    config::{Config, DeviceRule},
    container::{record, relay::Relay, streams::Streams, supervise},
    filter::ebpf::Answer,
    layers::cgroup::version,
    sys,
};
use anyhow::{Context, Result, bail, ensure};
use nix::{libc, unistd::Pid};
use oci_spec::runtime::{LinuxResources, Spec};
use std::{
    io::Read,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

/// How long what was killed may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `create` and `run` have in common.
pub struct Wish {
    pub id: String,
    pub file: Given,
    pub pid_file: Option<PathBuf>,
    pub console_socket: Option<PathBuf>,
    pub pidfd_socket: Option<PathBuf>,
    pub preserve_fds: u32,
    pub groups: Groups,
}

/// Who makes its cgroups.
#[derive(Clone, Copy, PartialEq)]
pub enum Groups {
    ByUs,
    /// --systemd-cgroup
    BySystemd,
    /// Nobody: it stays in those of who makes it, and what its config.json says of limits is not for us.
    Left,
}

/// What is written to its cgroups, and what may be opened in there.
#[derive(Default)]
struct Limits {
    settings: Vec<resources::Setting>,
    devices: Vec<(Answer, DeviceRule)>,
    /// What systemd is told beside that.
    properties: Vec<Property>,
}

/// All of the container but its command, which waits to be started. Its first process is whose child it becomes when
/// we end: conmon's, for one.
pub fn create(states: &States, wish: &Wish, streams: Streams) -> Result<Container> {
    let Given { spec, raw, bundle } = &wish.file;
    let by_systemd = wish.groups == Groups::BySystemd;
    let unit = by_systemd.then(|| Unit::named(&cgroups_path(spec), &wish.id)).transpose()?;
    let path = match (&unit, cgroups_path(spec)) {
        (Some(unit), _) => unit.path(),
        (None, path) if path.is_empty() => format!("rubber-oci-{}", wish.id).into(),
        (None, path) => path.into(),
    };
    let (mut limits, wanted) = match wish.groups {
        Groups::Left => (Limits::default(), vec![]),
        _ => (limits(spec)?, cgroup::find(&path)?),
    };
    if by_systemd {
        limits.properties = properties::of(spec)?;
    }
    // What is wrong in it is said before anything is there.
    let mut config = spec::config(&wish.id, &wish.file, &wanted)?;
    let (dir, lock) = states.claim(&wish.id)?;
    // Before there is a record that says they are ours: by it their processes would be killed.
    cgroup::ensure_free(&wanted).inspect_err(|_| {
        let _ = state::remove(&dir);
    })?;
    let record = Record {
        version: state::VERSION,
        id: wish.id.clone(),
        rootfs: config.dir.clone(),
        bundle: bundle.clone(),
        created: record::now(),
        groups: wanted.clone(),
        unit,
        config: raw.clone(),
    };
    let mut container = Container { record, first: None, dir };
    let outcome = container.save().and_then(|()| {
        if container.record.unit.is_none() {
            make_groups(&mut container, &limits, &config)?;
        }
        if container.record.groups != wanted {
            config = spec::config(&wish.id, &wish.file, &container.record.groups)?;
        }
        config.streams = streams;
        config.bundle.by_systemd = by_systemd;
        config.bundle.lock = Some(lock);
        config.bundle.door = Some(state::make_door(&container.dir)?);
        config.bundle.preserved = wish.preserve_fds;
        config.bundle.listener = notify::connect(&config)?;
        idmap::hold(&config)?;
        make(&config, &mut container, wish, &limits)
    });
    if outcome.is_err() {
        // The error is what counts. What cannot be removed now, delete --force will.
        let _ = end(&container).and_then(|()| clear(&container));
    }
    outcome.map(|()| container)
}

fn limits(spec: &Spec) -> Result<Limits> {
    let none = LinuxResources::default();
    let given = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref()).unwrap_or(&none);
    let devices = resources::device_rules(version(), given);
    Ok(Limits { settings: resources::settings(version(), given)?, devices, ..Limits::default() })
}

fn cgroups_path(spec: &Spec) -> String {
    let given = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref());
    given.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
}

fn make_groups(container: &mut Container, limits: &Limits, config: &Config) -> Result<()> {
    let made = cgroup::make(container.record.groups.clone(), &limits.settings)?;
    if container.record.groups != made {
        container.record.groups = made;
        container.save()?;
    }
    cgroup::filter_devices(&container.record.groups, &limits.devices)?;
    cgroup::give_to_user(config, &container.record.groups)
}

fn make(config: &Config, container: &mut Container, wish: &Wish, limits: &Limits) -> Result<()> {
    let raw = &wish.file.raw;
    let pidfd_socket = wish.pidfd_socket.as_deref().map(PidfdSocket::open).transpose()?;
    let state = |container: &Container, status| match hooks::any_told(config) {
        true => container.state(status).to_string(),
        false => String::new(),
    };
    story::make(config, |word, child| {
        match word {
            Word::Ungrouped => {
                let unit = container.record.unit.as_ref().context("it has no unit of systemd's")?;
                unit.start(child, &limits.settings, &limits.properties)?;
                make_groups(container, limits, config)?;
            }
            Word::Unmapped => namespaces::map(child.as_raw(), &config.bundle.ids)?,
            Word::First(pid) => container.begin(*pid)?,
            Word::Made => {
                let state = state(container, Status::Creating);
                hooks::run(&given::hooks(raw, "prestart")?, &state)?;
                hooks::run(&given::hooks(raw, "createRuntime")?, &state)?;
                return Ok(state);
            }
            Word::Ready => {
                state::open_door(&container.dir)?;
                let (pid, _) = container.first.context("it has no first process")?;
                if let Some(socket) = &pidfd_socket {
                    socket.send(Pid::from_raw(pid))?;
                }
                if let Some(file) = &wish.pid_file {
                    PidFile::open(file)?.write(Pid::from_raw(pid))?;
                }
                return Ok(state(container, Status::Created));
            }
            Word::Failed(..) => {}
        }
        Ok(String::new())
    })
}

pub fn start(container: &Container) -> Result<()> {
    match container.status() {
        Status::Created => {}
        Status::Stopped => bail!("cannot start a container that has stopped"),
        Status::Creating => bail!("cannot start a container that is not made yet"),
        Status::Running | Status::Paused => bail!("cannot start an already running container"),
    }
    let mut pid_1 = state::knock(&container.dir).context("nobody waits to be started (killed?)")?;
    let mut told = String::new();
    // Of a door that closes behind another it may be an error, or an end without a word.
    let _ = pid_1.read_to_string(&mut told);
    let told = told
        .strip_prefix('.')
        .context("nobody waits to be started any more (killed, or started meanwhile)")?;
    if let Some((_, text)) = told.split_once(' ') {
        bail!("{text}");
    }
    // What execve(2) closes it closes in no order that one may count on, and some look at the state at once: buildah.
    let begin = Instant::now();
    while container.status() == Status::Created && begin.elapsed() < PATIENCE {
        sleep(Duration::from_micros(100));
    }
    let hooks = given::hooks(&container.record.config, "poststart")?;
    if let Err(error) = hooks::run(&hooks, &container.state(Status::Running).to_string()) {
        end(container)?;
        return Err(error);
    }
    Ok(())
}

/// A whole life, with our own streams: returns the exit code of its command.
pub fn run(states: &States, wish: &Wish) -> Result<u8> {
    let has_terminal = wish.file.has_terminal();
    nix::sys::prctl::set_child_subreaper(true)?;
    supervise::hold_signals()?;
    let (ours, theirs) = UnixStream::pair()?;
    // (rubber's end, pid 1's end), as `rubber run -t` has it.
    let channel = has_terminal.then(|| Ok::<_, anyhow::Error>((ours.try_clone()?, theirs.try_clone()?)));
    let relay = Config {
        interactive: true,
        tty: has_terminal,
        streams: Streams { terminal: channel.transpose()?, ..Streams::default() },
        // It has no directory of ours, with a log in it.
        target: None,
        ..Config::default()
    };
    let streams = Streams { terminal: has_terminal.then_some((ours, theirs)), ..Streams::default() };
    let container = create(states, wish, streams)?;
    let outcome = start(&container).and_then(|()| {
        let (pid, _) = container.first.context("it has no first process")?;
        supervise::wait(Pid::from_raw(pid), Relay::start(&relay)?)
    });
    let gone = end(&container).and_then(|()| delete(&container, Force::No));
    outcome.and_then(|code| gone.map(|()| code))
}

#[derive(Clone, Copy, PartialEq)]
pub enum Whom {
    First,
    All,
}

pub fn kill(container: &Container, signal: i32, whom: Whom) -> Result<()> {
    let groups = &container.record.groups;
    let status = container.status();
    // Without a namespace of pids, nobody else dies with the first.
    let is_last = signal == libc::SIGKILL && !has_pid_namespace(container);
    if whom == Whom::All || is_last {
        for pid in cgroup::processes(groups)? {
            let _ = sys::kill(Pid::from_raw(pid), signal);
        }
    } else {
        let Some((_, pidfd)) = container.pidfd()? else { bail!("container not running: {}", status.name()) };
        sys::pidfd_send_signal(&pidfd, signal)?;
    }
    // What stands still does not die in version 1.
    if signal == libc::SIGKILL && freezer::is_paused(groups) {
        freezer::thaw(groups)?;
    }
    Ok(())
}

fn has_pid_namespace(container: &Container) -> bool {
    let all = container.record.config["linux"]["namespaces"].as_array().cloned().unwrap_or_default();
    all.iter().any(|one| one["type"] == "pid" && one["path"].as_str().is_none_or(str::is_empty))
}

#[derive(Clone, Copy, PartialEq)]
pub enum Force {
    No,
    Yes,
}

pub fn delete(container: &Container, force: Force) -> Result<()> {
    match container.status() {
        Status::Stopped => {}
        // Nobody has started it: no command ends with it.
        Status::Created => end(container)?,
        Status::Creating if force == Force::No => bail!("cannot delete a container while it is made"),
        // Who waits for the end of its output, as buildah does, comes when it has closed that and is not dead yet.
        Status::Running if container.is_ending() => end(container)?,
        Status::Running | Status::Paused if force == Force::No => bail!(
            "cannot delete container {} that is not stopped: {} (kill it first, or --force)",
            container.record.id,
            container.status().name()
        ),
        _ => end(container)?,
    }
    let hooks = given::hooks(&container.record.config, "poststop")?;
    for hook in &hooks {
        // The specification: told, and gone on.
        if let Err(error) =
            hooks::run(std::slice::from_ref(hook), &container.state(Status::Stopped).to_string())
        {
            super::log::warn(&format!("{error:#}"));
        }
    }
    clear(container)
}

/// What a killed client has left of one that has no record.
pub fn delete_remains(states: &States, id: &str) -> Result<()> {
    states.remains(id)?.map_or(Ok(()), |dir| state::remove(&dir))
}

fn clear(container: &Container) -> Result<()> {
    let groups = cgroup::remove(&container.record.groups);
    let unit = container.record.unit.as_ref().map_or(Ok(()), Unit::stop);
    // It stays known until all that it names is gone.
    groups.and(unit)?;
    container.remove()
}

/// Has it end now, and waits for that.
fn end(container: &Container) -> Result<()> {
    let begin = Instant::now();
    loop {
        let Some((_, pidfd)) = container.pidfd()? else { return Ok(()) };
        sys::pidfd_send_signal(&pidfd, libc::SIGKILL)?;
        if freezer::is_paused(&container.record.groups) {
            freezer::thaw(&container.record.groups)?;
        }
        ensure!(begin.elapsed() < PATIENCE, "it was killed, and does not end in {} s", PATIENCE.as_secs());
        sleep(Duration::from_millis(1));
    }
}

pub fn pause(container: &Container) -> Result<()> {
    match container.status() {
        Status::Running | Status::Created => freezer::freeze(&container.record.groups),
        other => bail!("container not running: {}", other.name()),
    }
}

pub fn resume(container: &Container) -> Result<()> {
    match container.status() {
        Status::Paused => freezer::thaw(&container.record.groups),
        _ if freezer::is_paused(&container.record.groups) => freezer::thaw(&container.record.groups),
        _ => bail!("container not paused"),
    }
}

pub fn update(container: &Container, resources: &LinuxResources) -> Result<()> {
    ensure!(container.status() != Status::Stopped, "container not running: stopped");
    let settings = resources::settings(version(), resources)?;
    // It has the first word, and the files have ours.
    container.record.unit.as_ref().map_or(Ok(()), |unit| unit.change(&settings))?;
    cgroup::change(&container.record.groups, &settings)
}

/// The end of a terminal that a client waits for.
pub fn console(socket: &Path) -> Result<Streams> {
    let theirs = UnixStream::connect(socket).with_context(|| format!("--console-socket {socket:?}"))?;
    let (ours, _) = UnixStream::pair()?;
    Ok(Streams { terminal: Some((ours, theirs)), ..Streams::default() })
}

//! The story: what rubber does to turn a process into a container, in order.

use crate::{
    Exit, advice,
    config::Config,
    container::{record, relay::Relay, supervise, terminal},
    hide,
    layers::*,
    narrate, step, sys,
};
use Layer::*;
use anyhow::{Error, Result, anyhow};
use nix::sched::CloneFlags;

/// One thing done on the way, and the layer of isolation it belongs to.
pub struct Step {
    pub layer: Layer,
    /// It takes away what a container that is kept has written.
    pub forgets: bool,
    /// A later layer that does it better: where that one is on, this is left out.
    pub unless: Option<Layer>,
    /// Whether anybody has asked for it; without such a question it is always done.
    pub when: Option<fn(&Config) -> bool>,
    /// Where it is done in another way.
    pub except: Option<fn(&Config) -> bool>,
    pub does: &'static str,
    pub apply: fn(&Config) -> Result<()>,
}

pub const fn row(layer: Layer, does: &'static str, apply: fn(&Config) -> Result<()>) -> Step {
    Step { layer, forgets: false, unless: None, when: None, except: None, does, apply }
}

impl Step {
    const fn unless(self, better: Layer) -> Step {
        Step { unless: Some(better), ..self }
    }

    pub const fn when(self, asked: fn(&Config) -> bool) -> Step {
        Step { when: Some(asked), ..self }
    }

    pub const fn except(self, otherwise: fn(&Config) -> bool) -> Step {
        Step { except: Some(otherwise), ..self }
    }

    const fn forgets(self) -> Step {
        Step { forgets: true, ..self }
    }

    fn is_on(&self, config: &Config) -> bool {
        let layers = config.layers;
        let is_asked = self.when.is_none_or(|asked| asked(config));
        let is_better = self.unless.is_some_and(|better| layers.contains(better));
        let is_made = config.namespaces.has_joined(self.layer)
            || self.except.is_some_and(|otherwise| otherwise(config));
        layers.contains(self.layer) && !is_made && !is_better && is_asked && !(self.forgets && config.keep)
    }
}

/// What the host prepares. Of what it makes, only directories and cgroups could stay behind: the
/// kernel takes back all the rest by itself when the last process of the container has ended.
/// - `userns` before all namespaces: an ordinary user may make the others only as the root of this
///   one, and it owns those made after it;
/// - another container's are joined before any is made: its user namespace gives us the right to, and
///   one of our own would take it away;
/// - the clocks here, as they cannot be set any more when somebody is in the namespace, and `pid` last: both
///   are for the next process forked;
/// - hidden before there is a child in a pid namespace that others may be in, and after an ordinary user has written
///   to its own files in /proc, which are root's from then on.
#[rustfmt::skip]
pub const HOST: &[Step] = &[
    row(Chroot,  "unpack a fresh copy of the image", chroot::unpack).unless(Overlay),
    row(Overlay, "make a place for what the container writes", overlay::make_upper),
    row(Cpu,     "make a cgroup that limits CPU time", cpu::limit),
    row(Memory,  "make a cgroup that limits memory and processes", memory::limit),
    row(Devices, "let it open no device but what it is given", devices::limit).when(devices::is_limited),
    row(Overlay, "show the files with owners it knows", idmap::prepare).when(idmap::any),
    row(Process, "join the namespaces of another container", namespaces::join).when(namespaces::any_joined),
    row(Userns,  "become root in a user namespace", userns::become_root).except(idmap::any),
    row(Ipc,     "shift the clocks of the next child", ipc::shift_clocks).when(ipc::any_offsets),
    row(Process, "say how soon the kernel may kill it", rlimits::oom_score).when(rlimits::any_early_score),
    row(Process, "hide from other containers", hide::hide).when(hide::is_needed),
    row(Pid,     "make the next child pid 1", pid::unshare).except(idmap::any),
];

/// What the process that will be the command does to itself. (It is pid 1 where the pid layer is
/// on, and just the child where it is not.) A row may only move if what it depends on stays above:
/// - the cgroups first, so that all that follows is counted, and before `ipc`,
///   whose cgroup namespace takes the place we are in for its root;
/// - `mount` before all that mounts: nothing of ours may reach the host's table;
/// - `net` before /sys is mounted, which shows the network of who mounts it, and `ipc` before the cgroups are shown; `pid` comes before
///   /proc, for the same reason, on the host;
/// - what is tied to the host is held before `mount`, as it has to come from the host's own table;
/// - root by the map, where that is somebody else than who made the container, as soon as the store is not needed
///   any more: what is made below is the container's;
/// - kernel parameters while the /proc we see is one that can be written to;
/// - the masks before the cgroups, which are shown where one of the masks is taken from;
/// - /dev, and taking hold of volumes and devices, while the old root is still in reach: it is where
///   they, and an ordinary user's device nodes, come from. Absolute names are the container's by then,
///   so no link in the image can lead one of these mounts to a place of the host's;
/// - what is put where the image or a volume may have links comes after the old root is gone: until
///   then it lies on top of ours, and one ".." too many in a link would step onto it;
/// - nothing of the host's is open any more when powers are given up: from then on who is in the same pid namespace
///   may do as much as we;
/// - the bounding set before `user` (it takes CAP_SETPCAP), `user` before the
///   rest of the capabilities (it takes CAP_SETUID), and with them go the means
///   to do anything above;
/// - the filter of system calls after all of that, for it may forbid any of it. It takes a promise that nobody
///   becomes more than they are, though, or else CAP_SYS_ADMIN: where nothing is promised, this is the last
///   moment at which we have it, and what follows has to pass the filter.
#[rustfmt::skip]
pub const PID_1: &[Step] = &[
    row(Cpu,          "join the CPU cgroup", |it| cgroup::unless_born(it, cpu::join)),
    row(Memory,       "join the memory cgroup", |it| cgroup::unless_born(it, memory::join)),
    row(Devices,      "join the cgroup that limits devices", |it| cgroup::unless_born(it, devices::join)).when(devices::is_limited),
    row(Process,      "join the cgroup namespace of another container", namespaces::join_late).when(namespaces::any_late),
    row(Process,      "say how soon the kernel may kill it", rlimits::oom_score).when(rlimits::any_score).except(rlimits::any_early_score),
    row(Volumes,      "take hold of what stays tied to the host", volumes::hold_tied).when(volumes::any_tied),
    row(Mount,        "leave the host's mount table", mount::unshare),
    row(Overlay,      "take hold of layers too many to be named", lower::hold).when(lower::any_nameless),
    row(Overlay,      "lay the writable layer over the image", overlay::mount),
    row(Overlay,      "let go of the layers", lower::let_go).when(lower::any_nameless),
    row(PivotRoot,    "make the copy of the image a mount", pivot_root::bind).unless(Overlay),
    row(Uts,          "take a hostname of its own", uts::unshare),
    row(Net,          "leave the host's network", net::unshare),
    row(Ipc,          "leave the host's IPC and cgroup namespaces", ipc::unshare),
    row(Process,      "set parameters of its own kernel namespaces", ipc::set_parameters).when(ipc::any_parameters),
    row(PivotRoot,    "swap the root directory", pivot_root::swap),
    row(Chroot,       "change the root directory", chroot::change).unless(PivotRoot),
    row(Process,      "become root by the map", idmap::take_root).when(idmap::any),
    row(Mount,        "mount /proc", mount::proc),
    row(Mount,        "mount /sys", mount::sys),
    row(Mount,        "hide what is the host's alone", masks::mask).when(masks::any),
    row(Mount,        "show its own cgroups in it", cgroup::show).when(cgroup::is_shown),
    row(Mount,        "mount /dev and fill it", mount::dev),
    row(Process,      "take a session and a terminal", process::take_session),
    row(Process,      "label its keys", confinement::label_keys).when(confinement::any_label),
    row(Process,      "take a keyring of its own", confinement::keyring),
    row(Volumes,      "take hold of what the host shares", volumes::hold).when(volumes::any_loose),
    row(Devices,      "take hold of the host's devices it is given", devices::hold).when(devices::any),
    row(PivotRoot,    "let go of the old root", pivot_root::let_go),
    row(Chroot,       "go inside the new root", chroot::enter).unless(PivotRoot),
    row(Process,      "give the terminal to the user", terminal::give).when(terminal::any),
    row(Volumes,      "mount what is shared", volumes::mount).when(volumes::any),
    row(Volumes,      "tell it names: hosts, hostname, resolv.conf", volumes::names),
    row(Volumes,      "make the directory to start in", volumes::workdir).when(volumes::any_workdir),
    row(Devices,      "add the devices", devices::add).when(devices::any),
    row(Volumes,      "make the rest read-only", volumes::close_root).when(|config| config.read_only),
    row(Process,      "allow each process more", rlimits::raise).when(rlimits::any),
    row(Process,      "let go of what is the host's", hide::let_go).when(hide::gives_up),
    row(Capabilities, "bound what can ever be gained", capabilities::bound),
    row(Process,      "have its program confined", confinement::confine).when(confinement::any),
    row(Seccomp,      "filter its system calls", seccomp::load).when(seccomp::on_its_right),
    row(User,         "become the user", user::become_user),
    row(Process,      "hide again, as another user", hide::hide).when(hide::is_undone),
    row(Capabilities, "drop what root can do", capabilities::drop),
    row(Seccomp,      "promise that no program gains privileges", seccomp::promise).when(seccomp::has_promised),
    row(Seccomp,      "filter its system calls, last of all", seccomp::load).when(seccomp::on_its_promise),
    row(Process,      "become the command", process::execute),
];

/// What the host takes away when all of it has ended, in the opposite order.
#[rustfmt::skip]
pub const AFTERWARDS: &[Step] = &[
    row(Devices, "remove the cgroup that limits devices", devices::remove).when(devices::is_limited),
    row(Memory,  "remove the memory cgroup", memory::remove),
    row(Cpu,     "remove the CPU cgroup", cpu::remove),
    row(Overlay, "remove what the container wrote", overlay::remove_upper).forgets(),
    row(Chroot,  "remove the copy of the image", chroot::remove).unless(Overlay).forgets(),
];

/// Runs the container to its end and returns the exit code of its command.
pub fn run(config: &Config) -> Result<u8> {
    supervise::hold_signals()?;
    let outcome = apply(HOST, config).and_then(|()| {
        let name = if config.layers.contains(Pid) && config.namespaces.is_own(namespaces::Namespace::Pid) {
            "pid 1"
        } else {
            "child"
        };
        let child = match idmap::any(config) {
            true => idmap::fork(config, name, || become_container(config))?,
            false => {
                sys::clone(CloneFlags::empty(), cgroup::cradle(config), name, || become_container(config))?
            }
        };
        record::note_first(config, child)?;
        supervise::wait(child, Relay::start(config)?)
    });
    if outcome.as_ref().is_ok_and(|code| *code == 137) && memory::ran_out(config) {
        narrate::out_of_memory(config.limits.memory);
    }
    // Whatever went wrong, nothing may stay behind.
    narrate::pause_no_more();
    let freezer = cgroup::remove_freezer(&config.cgroup);
    let removed = AFTERWARDS.iter().map(|step| take(step, config)).fold(freezer, Result::and);
    outcome.and_then(|code| removed.map(|()| code))
}

/// Returns only from a dry run: the last row replaces this program by another.
fn become_container(config: &Config) -> Result<u8> {
    apply(PID_1, config).inspect_err(|_| config.streams.failed())?;
    Ok(0)
}

fn apply(steps: &[Step], config: &Config) -> Result<()> {
    steps.iter().try_for_each(|step| take(step, config))
}

pub fn take(step: &Step, config: &Config) -> Result<()> {
    if !step.is_on(config) {
        return Ok(());
    }
    narrate::step(step);
    step::wait()?;
    (step.apply)(config).map_err(|error| explain(step, error))
}

/// What we wanted, the call that failed, and a line of advice where we have one.
fn explain(step: &Step, error: Error) -> Error {
    if error.is::<Exit>() {
        return error;
    }
    match advice::about(step.layer, &error) {
        Some(advice) => anyhow!("cannot {}: {error:#}\n        {advice}", step.does),
        None => error.context(format!("cannot {}", step.does)),
    }
}

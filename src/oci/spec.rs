//! config.json as our own Config. What we cannot do is refused here, in words, before anything is made.

use super::{
    Bundle, Capabilities,
    cgroup::Group,
    devices::{self, Node},
    given::Given,
    hooks::Hooks,
    idmap::lines,
    label,
    mounts::{How, Mount, What},
    namespaces::{self, Ids, Namespace},
    notify, options, process,
    schedule::{self, Schedule},
};
use crate::{
    config::{Config, Device, DeviceRule, Limits, Rlimit},
    filter::{Filter, profile::Profile},
    layers::{
        Layer, Layers,
        cgroup::Version,
        namespaces::{Namespace as Kind, is_parameter},
        rlimits,
    },
    sys::CLONE_NEWTIME,
};
use anyhow::{Context, Result, bail, ensure};
use caps::Capability;
use nix::{mount::MsFlags, sched::CloneFlags, sys::stat::SFlag, sys::stat::makedev};
use oci_spec::runtime::{
    self as oci, Linux, LinuxDeviceType, LinuxNamespaceType, PosixRlimitType, Process, Spec,
};
use serde_json::Value;
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

pub fn rootfs(spec: &Spec, bundle: &Path) -> Result<PathBuf> {
    let root = spec.root().as_ref().context("config.json has no root")?;
    let path = bundle.join(root.path());
    let path = path.canonicalize().with_context(|| format!("root.path {path:?}"))?;
    ensure!(path.is_dir(), "root.path {path:?} is not a directory");
    ensure!(path != Path::new("/"), "root.path is the host's own root");
    Ok(path)
}

pub fn config(id: &str, given: &Given, groups: &[Group]) -> Result<Config> {
    let Given { spec, raw, bundle } = given;
    let linux = spec.linux().as_ref().context("config.json has no linux: this is a runtime for Linux")?;
    refuse(linux)?;
    let process = spec.process().as_ref().context("config.json has no process")?;
    let namespaces = namespaces(linux)?;
    let is_new = |kind| namespaces.iter().any(|one: &Namespace| one.kind == kind && one.path.is_none());
    let has = |kind| namespaces.iter().any(|one: &Namespace| one.kind == kind);
    let is_hosts = |kind| namespaces::is_hosts(&namespaces, kind);
    let sysctls = sysctls(linux, is_hosts)?;
    ensure!(is_new(CloneFlags::CLONE_NEWNS), "a container needs a mount namespace of its own");
    let hostname = spec.hostname().clone().unwrap_or_default();
    let named = !hostname.is_empty() || spec.domainname().is_some();
    ensure!(
        !named || !is_hosts(CloneFlags::CLONE_NEWUTS)?,
        "hostname or domainname without a uts namespace of its own: it would be the host's"
    );
    let mut mounts = mounts(spec, bundle, groups)?;
    let mount_label = label::known("linux.mountLabel", linux.mount_label().as_ref())?;
    label::on_mounts(mount_label.as_ref(), &mut mounts);
    let dir = rootfs(spec, bundle)?;
    let takes_hosts = has(CloneFlags::CLONE_NEWUSER) || namespaces::is_nested();
    let nodes = nodes(linux)?;
    let borrowed = |node: &Node| Device {
        source: node.path.clone(),
        target: node.path.clone(),
        rule: DeviceRule::of(node.kind, node.number),
    };
    let fills_dev = !mounts
        .iter()
        .any(|mount| mount.target == Path::new("/dev") && !matches!(mount.what, What::New { .. }));
    let devices = if takes_hosts && fills_dev { nodes.iter().map(borrowed).collect() } else { vec![] };
    let paths = |list: &Option<Vec<String>>| list.iter().flatten().map(PathBuf::from).collect();
    let bundle = Bundle {
        ids: ids(linux),
        namespaces,
        domainname: spec.domainname().clone(),
        mounts,
        nodes: if takes_hosts { vec![] } else { nodes },
        fills_dev,
        mount_label,
        masked: paths(linux.masked_paths()),
        readonly: paths(linux.readonly_paths()),
        propagation: propagation(linux)?,
        groups: groups.to_vec(),
        schedule: Schedule { personality: schedule::personality(raw)?, ..Schedule::default() },
        hooks: Hooks::of(raw)?,
        ..Bundle::default()
    };
    let config = Config {
        id: id.into(),
        dir,
        hostname: hostname.into(),
        read_only: spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false),
        sysctls,
        seccomp: seccomp(raw)?,
        devices,
        bundle,
        ..Config::default()
    };
    with_process(config, process)
}

/// What a process is, in a new container as well as in one that runs.
pub fn with_process(config: Config, process: &Process) -> Result<Config> {
    let args = process.args().clone().unwrap_or_default();
    ensure!(!args.is_empty() && !args[0].is_empty(), "process.args is empty: there is nothing to run");
    ensure!(process.cwd().is_absolute(), "process.cwd {:?} must start with a slash", process.cwd());
    // It is for exec: of the first process it means nothing.
    let affinity = process.exec_cpu_affinity().as_ref();
    let list =
        |which: fn(&oci::ExecCPUAffinity) -> &Option<String>| affinity.and_then(|it| which(it).as_deref());
    let user = process.user();
    let groups = user.additional_gids().clone().unwrap_or_default();
    let env = process.env().clone().unwrap_or_default();
    ensure!(env.iter().all(|entry| entry.contains('=')), "process.env has an entry without \"=\"");
    let size = process.console_size().map(|size| {
        let number = |number: u64| u16::try_from(number).context("process.consoleSize is beyond 65535");
        Ok::<_, anyhow::Error>((number(size.height())?, number(size.width())?))
    });
    Ok(Config {
        layers: Layers::until(Layer::LAST),
        command: args.into_iter().map(Into::into).collect(),
        env: env.into_iter().map(Into::into).collect(),
        workdir: process.cwd().clone(),
        tty: process.terminal().unwrap_or(false),
        user: format!("{}:{}", user.uid(), user.gid()),
        umask: user.umask().unwrap_or(0o022),
        no_new_privileges: process.no_new_privileges().unwrap_or(false),
        apparmor: profile(process)?,
        selinux: label::known("process.selinuxLabel", process.selinux_label().as_ref())?,
        limits: Limits {
            rlimits: rlimits(process)?,
            oom_score_adj: process.oom_score_adj(),
            ..Limits::default()
        },
        bundle: Bundle {
            user: process::User { uid: user.uid(), gid: user.gid(), groups },
            capabilities: capabilities(process)?,
            schedule: Schedule {
                turn: process.scheduler().as_ref().map(schedule::turn).transpose()?,
                disk: process.io_priority().as_ref().map(schedule::disk).transpose()?,
                first: list(|it| it.initial()).map(schedule::processors).transpose()?,
                in_group: list(|it| it.cpu_affinity_final()).map(schedule::processors).transpose()?,
                ..config.bundle.schedule
            },
            rows_and_columns: size.transpose()?,
            ..config.bundle
        },
        ..config
    })
}

/// What would change nothing without a word is no favour to anybody.
fn refuse(linux: &Linux) -> Result<()> {
    for (name, is_given) in [
        ("intelRdt", linux.intel_rdt().is_some()),
        ("netDevices", linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty())),
        ("memoryPolicy", linux.memory_policy().is_some()),
    ] {
        ensure!(!is_given, "linux.{name} is not supported yet");
    }
    Ok(())
}

/// Without one in the config.json, no call is looked at: rubber's own filter is for `rubber run`.
pub fn seccomp(raw: &Value) -> Result<Filter> {
    let profile = &raw["linux"]["seccomp"];
    if profile.is_null() {
        return Ok(Filter::Unconfined);
    }
    let profile: Profile = serde_json::from_value(profile.clone()).context("linux.seccomp")?;
    profile.policies(&[]).and_then(|_| profile.flags()).context("linux.seccomp")?;
    let filter = Filter::Profile(Box::new(profile));
    notify::check(&filter).context("linux.seccomp")?;
    Ok(filter)
}

fn profile(process: &Process) -> Result<Option<String>> {
    let Some(name) = process.apparmor_profile().clone().filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    ensure!(
        enabled.trim() == "Y",
        "process.apparmorProfile {name:?}: this kernel does not have AppArmor, or it is off"
    );
    Ok(Some(name))
}

fn namespaces(linux: &Linux) -> Result<Vec<Namespace>> {
    let mut seen = HashSet::new();
    let parse = |one: &oci::LinuxNamespace| {
        let kind = match one.typ() {
            LinuxNamespaceType::Mount => CloneFlags::CLONE_NEWNS,
            LinuxNamespaceType::Cgroup => CloneFlags::CLONE_NEWCGROUP,
            LinuxNamespaceType::Uts => CloneFlags::CLONE_NEWUTS,
            LinuxNamespaceType::Ipc => CloneFlags::CLONE_NEWIPC,
            LinuxNamespaceType::User => CloneFlags::CLONE_NEWUSER,
            LinuxNamespaceType::Pid => CloneFlags::CLONE_NEWPID,
            LinuxNamespaceType::Network => CloneFlags::CLONE_NEWNET,
            LinuxNamespaceType::Time => CLONE_NEWTIME,
        };
        ensure!(seen.insert(kind.bits()), "linux.namespaces has {} twice", namespaces::display(kind));
        let path = one.path().clone().filter(|path| !path.as_os_str().is_empty());
        ensure!(
            path.as_ref().is_none_or(|path| path.is_absolute()),
            "a namespace's path must start with a slash"
        );
        Ok(Namespace { kind, path })
    };
    linux.namespaces().iter().flatten().map(parse).collect()
}

fn ids(linux: &Linux) -> Ids {
    let clocks = linux.time_offsets().iter().flatten().map(|(clock, offset)| {
        format!("{clock} {} {}", offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0))
    });
    Ids { uids: lines(linux.uid_mappings()), gids: lines(linux.gid_mappings()), clocks: clocks.collect() }
}

fn mounts(spec: &Spec, bundle: &Path, groups: &[Group]) -> Result<Vec<Mount>> {
    let mut all = Vec::new();
    for mount in spec.mounts().iter().flatten() {
        let mount = options::mount(mount, bundle)?;
        match &mount.what {
            What::New { fstype, .. } if fstype == "cgroup" || fstype == "cgroup2" => {
                all.extend(cgroup_mounts(mount, groups));
            }
            _ => all.push(mount),
        }
    }
    // By it we name what we hold, where something is copied into a mount. Nothing but the root is above it.
    all.sort_by_key(|mount| mount.target != Path::new("/proc"));
    Ok(all)
}

/// The container's own part of the trees: in version 2 there is one, in version 1 a directory for each, in memory.
fn cgroup_mounts(mount: Mount, groups: &[Group]) -> Vec<Mount> {
    let v2 = groups.iter().find(|group| group.controllers.is_none());
    if crate::layers::cgroup::version() == Version::V2 {
        let what = v2.map(|group| What::Tree(group.dir.clone()));
        return what.map(|what| Mount { what, ..mount }).into_iter().collect();
    }
    let options = [("mode", "755")].map(|(key, value)| (key.into(), Some(value.into()))).into();
    let memory = What::New { fstype: "tmpfs".into(), source: "tmpfs".into(), options };
    let is_readonly = mount.how.set & crate::sys::mounts::RDONLY != 0;
    let open = How { set: mount.how.set & !crate::sys::mounts::RDONLY, ..mount.how.clone() };
    let at = |what, target: &Path| Mount { what, target: target.into(), how: mount.how.clone() };
    let mut all = vec![Mount { what: memory, target: mount.target.clone(), how: open }];
    for group in groups {
        let Some(name) = group.tree.file_name() else { continue };
        all.push(at(What::Tree(group.dir.clone()), &mount.target.join(name)));
        let names = group.controllers.iter().flatten();
        for other in names.filter(|other| {
            name != other.as_str() && group.controllers.as_ref().is_some_and(|all| all.len() > 1)
        }) {
            all.push(at(What::Link(name.to_string_lossy().into()), &mount.target.join(other)));
        }
    }
    all.extend(is_readonly.then(|| at(What::Again(vec![]), &mount.target)));
    all
}

fn nodes(linux: &Linux) -> Result<Vec<Node>> {
    let given = linux.devices().iter().flatten().map(|device| {
        let kind = match device.typ() {
            LinuxDeviceType::C | LinuxDeviceType::U => SFlag::S_IFCHR,
            LinuxDeviceType::B => SFlag::S_IFBLK,
            LinuxDeviceType::P => SFlag::S_IFIFO,
            LinuxDeviceType::A => bail!("linux.devices: \"a\" is no device"),
        };
        let number = |number: i64| u64::try_from(number).context("linux.devices: a number below 0");
        let number = if kind == SFlag::S_IFIFO {
            0
        } else {
            makedev(number(device.major())?, number(device.minor())?)
        };
        let (uid, gid) = (device.uid().unwrap_or(0), device.gid().unwrap_or(0));
        let mode = device.file_mode().unwrap_or(0o666) & 0o7777;
        Ok(Node { path: Path::new("/").join(device.path()), kind, number, mode, uid, gid })
    });
    let given = given.collect::<Result<Vec<_>>>()?;
    let missing = devices::default().filter(|node| !given.iter().any(|one| one.path == node.path));
    Ok(missing.collect::<Vec<_>>().into_iter().chain(given.iter().cloned()).collect())
}

fn propagation(linux: &Linux) -> Result<Option<MsFlags>> {
    let Some(word) = linux.rootfs_propagation().as_deref().filter(|word| !word.is_empty()) else {
        return Ok(None);
    };
    let (name, below) = match word.strip_prefix('r') {
        Some(name) => (name, MsFlags::MS_REC),
        None => (word, MsFlags::empty()),
    };
    let how = match name {
        "private" => MsFlags::MS_PRIVATE,
        "slave" => MsFlags::MS_SLAVE,
        "shared" => MsFlags::MS_SHARED,
        "unbindable" => MsFlags::MS_UNBINDABLE,
        _ => bail!("linux.rootfsPropagation {word:?}: it is shared, slave, private or unbindable"),
    };
    Ok(Some(how | below))
}

/// In the order of their names: a file of /proc/sys may have to be written before another.
fn sysctls(linux: &Linux, is_hosts: impl Fn(CloneFlags) -> Result<bool>) -> Result<Vec<(String, String)>> {
    let parse = |(name, value): (&String, &String)| {
        let name = parameter(name, &is_hosts).with_context(|| format!("linux.sysctl {name:?}"))?;
        Ok((name, value.clone()))
    };
    let mut all = linux.sysctl().iter().flatten().map(parse).collect::<Result<Vec<_>>>()?;
    all.sort();
    Ok(all)
}

/// As `run --sysctl` has it: what is of the container's own namespaces, and nothing of the host's.
fn parameter(name: &str, is_hosts: impl Fn(CloneFlags) -> Result<bool>) -> Result<String> {
    // sysctl(8) takes them with slashes as well.
    let dotted = if name.contains('.') { name.into() } else { name.replace('/', ".") };
    ensure!(is_parameter(&dotted), "it is no name such as net.ipv4.ip_forward");
    ensure!(dotted != "kernel.hostname", "hostname is a field of its own in config.json");
    let kind = Kind::of_parameter(&dotted).context(
        "it is one for the whole machine (net.*, user.*, fs.mqueue.*, kernel.domainname and those of System V IPC are \
         a namespace's)",
    )?;
    let name = kind.name();
    ensure!(!is_hosts(kind.flag())?, "without a {name} namespace of its own it would be the host's");
    Ok(dotted)
}

fn capabilities(process: &Process) -> Result<Capabilities> {
    let Some(sets) = process.capabilities() else { return Ok(Capabilities::default()) };
    let parse = |set: &Option<HashSet<oci::Capability>>| {
        let name = |one: &oci::Capability| format!("CAP_{one}").parse::<Capability>();
        let set = set.iter().flatten().map(|one| name(one).with_context(|| format!("capability {one}")));
        set.collect::<Result<Vec<_>>>()
    };
    Ok(Capabilities {
        bounding: parse(sets.bounding())?,
        effective: parse(sets.effective())?,
        permitted: parse(sets.permitted())?,
        inheritable: parse(sets.inheritable())?,
        ambient: parse(sets.ambient())?,
    })
}

fn rlimits(process: &Process) -> Result<Vec<Rlimit>> {
    let mut seen = HashSet::new();
    let parse = |limit: &oci::PosixRlimit| {
        let name = name(limit.typ()).to_owned();
        ensure!(seen.insert(name.clone()), "process.rlimits has {name} twice");
        Ok(Rlimit { name, soft: limit.soft(), hard: limit.hard() })
    };
    process.rlimits().iter().flatten().map(parse).collect()
}

/// As `rlimits` has it: RLIMIT_NOFILE is nofile.
fn name(kind: PosixRlimitType) -> &'static str {
    let word = format!("{kind:?}").to_lowercase();
    let mut known = rlimits::NAMES.iter().map(|(name, _)| *name);
    known.find(|name| word.strip_prefix("rlimit") == Some(name)).unwrap_or_default()
}

//! Its mounts, as `layers::mount` and `layers::volumes` make them, in their order.

use super::text;
use crate::{
    config::{Attribute, Config, Mount, Propagation, What},
    layers::{
        Layer, cgroup, masks,
        namespaces::{Namespace, Whose},
        volumes,
    },
};
use anyhow::Result;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What `layers::mount` makes read-only. (That file is an exercise, and has no list for others.)
pub const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

const NO_TRICKS: [&str; 3] = ["nosuid", "nodev", "noexec"];

/// Without the layer `mount` there is nothing in the root but the root.
pub fn all(config: &Config) -> Result<Vec<Value>> {
    let mut all = if config.layers.contains(Layer::Mount) { kernels(config) } else { vec![] };
    for device in &config.devices {
        // The host's own node, as `layers::devices` has it: one made anew would not be there for an ordinary user.
        let options = ["bind", "private", "ro", "nosuid", "noexec"];
        all.push(mount(text(device.target.as_os_str())?, "bind", text(device.source.as_os_str())?, &options));
    }
    for one in &config.mounts {
        all.push(shared(one)?);
    }
    Ok(all)
}

fn mount(target: &str, fstype: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": target, "type": fstype, "source": source, "options": options })
}

fn kernels(config: &Config) -> Vec<Value> {
    let read_only = if config.privileged { "rw" } else { "ro" };
    let tricks_and = |word: &'static str| NO_TRICKS.iter().copied().chain([word]).collect::<Vec<_>>();
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let pts = if config.ids.has_group(5) { &pts[..] } else { &pts[..5] };
    let memory = ["nosuid", "noexec", "mode=755", "size=65536k"];
    let mut all = vec![
        fresh_or_hosts(config, Namespace::Pid, "/proc", "proc", &NO_TRICKS),
        fresh_or_hosts(config, Namespace::Net, "/sys", "sysfs", &tricks_and(read_only)),
        mount("/dev", "tmpfs", "tmpfs", &memory),
        mount("/dev/pts", "devpts", "devpts", pts),
        mount("/dev/shm", "tmpfs", "tmpfs", &[&NO_TRICKS[..], &["mode=1777", "size=65536k"]].concat()),
    ];
    if *config.namespaces.of(Namespace::Ipc) != Whose::Host {
        all.push(mount("/dev/mqueue", "mqueue", "mqueue", &NO_TRICKS));
    }
    if cgroup::is_shown(config) {
        all.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &tricks_and(read_only)));
    }
    if !config.tty {
        // A console that goes nowhere: a runtime makes one only of a terminal.
        all.push(mount("/dev/console", "bind", "/dev/null", &["bind", "private", "nosuid", "noexec"]));
    }
    // Nobody would ever see what is covered at once.
    all.retain(|one| !config.mounts.iter().any(|other| one["destination"] == json!(other.target)));
    all
}

/// In a user namespace a new one may be mounted only by who has the namespace that it shows.
fn fresh_or_hosts(config: &Config, shows: Namespace, target: &str, fstype: &str, options: &[&str]) -> Value {
    let is_own = |kind| config.layers.contains(kind) && config.namespaces.is_own(shows);
    match config.layers.contains(Layer::Userns) && !is_own(shows.layer()) {
        true => mount(target, "bind", target, &[&["rbind", "rprivate"], options].concat()),
        false => mount(target, fstype, fstype, options),
    }
}

fn shared(one: &Mount) -> Result<Value> {
    let target = text(one.target.as_os_str())?;
    let Some(source) = volumes::source(one) else {
        let What::Tmpfs { options: own } = &one.what else { unreachable!("only memory has no source") };
        let own = own.iter().map(|(key, value)| format!("{key}={value}"));
        let options: Vec<_> =
            one.attributes.iter().map(|attribute| word(attribute).to_owned()).chain(own).collect();
        return Ok(json!({ "destination": target, "type": "tmpfs", "source": "tmpfs", "options": options }));
    };
    let mut options = vec![
        "rbind".to_owned(),
        match one.propagation {
            Propagation::Private => "rprivate",
            Propagation::Slave => "rslave",
            Propagation::Shared => "rshared",
        }
        .into(),
    ];
    // For all that is mounted below as well: the second word is it, and older runtimes know the first one only.
    let both = |attribute| [word(attribute).to_owned(), format!("r{}", word(attribute))];
    options.extend(one.attributes.iter().flat_map(both));
    options.extend(one.idmap.then(|| "ridmap".into()));
    Ok(
        json!({ "destination": target, "type": "bind", "source": text(source.as_os_str())?, "options": options }),
    )
}

fn word(attribute: &Attribute) -> &'static str {
    match attribute {
        Attribute::Ro => "ro",
        Attribute::Nosuid => "nosuid",
        Attribute::Nodev => "nodev",
        Attribute::Noexec => "noexec",
    }
}

/// What a volume hears of the host's mounts, its root has to hear, too.
pub fn propagation(config: &Config) -> Option<&'static str> {
    let any = |how| config.mounts.iter().any(|mount| mount.propagation == how);
    match (any(Propagation::Shared), any(Propagation::Slave)) {
        (true, _) => Some("rshared"),
        (_, true) => Some("rslave"),
        _ => None,
    }
}

pub fn masked() -> Vec<PathBuf> {
    masks::listed().collect()
}

pub fn unsaid(config: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    for mount in &config.mounts {
        let target = &mount.target;
        match volumes::source(mount) {
            Some(source) if !source.exists() => lines.push(format!(
                "{target:?}: its source is not there, and a runtime makes none: mkdir -p {}",
                source.display()
            )),
            Some(source) if is_to_be_filled(mount, source) => lines.push(format!(
                "{target:?}: a runtime copies nothing into an empty volume: cp -a rootfs{}/. {}",
                target.display(),
                source.display()
            )),
            _ => {}
        }
        if mount.chown {
            lines.push(format!("{target:?}: a config.json cannot give files away (U): chown -R its source"));
        }
    }
    if config.layers.contains(Layer::Volumes) {
        let text = "hosts, hostname and resolv.conf come from rubber run alone: write rootfs/etc/hosts and the others, \
                    or mount some over them";
        lines.push(text.into());
    }
    lines
}

fn is_to_be_filled(mount: &Mount, source: &Path) -> bool {
    let is_empty = || source.read_dir().is_ok_and(|mut entries| entries.next().is_none());
    matches!(mount.what, What::Volume { fill: true, .. }) && is_empty()
}

//! Our own Config as a config.json: what `rubber run` would start, for any OCI runtime to start. `spec` is the way back.

mod calls;
mod limits;
mod mounts;
mod namespaces;

use super::given;
use crate::{
    config::Config,
    layers::{Layer, namespaces::Namespace, process, user},
    narrate,
    show::{columns, json},
};
use anyhow::{Context, Result, bail};
use caps::{CapSet, Capability};
use nix::unistd::geteuid;
use serde_json::{Map, Value, json};
use std::{ffi::OsStr, path::Path};

/// Prints it. What a config.json cannot say is told on stderr, a line each, with what to do about it.
/// `filled_by` is the command that puts the image's files into the root.
pub fn print(config: &Config, filled_by: &str) -> Result<u8> {
    let file = file(config)?;
    // Nobody else is to find out that we have written what we would not read.
    given::parse(&file).context("this container makes no config.json")?;
    columns::print(&json::pretty(&file)?)?;
    narrate::warn(format_args!("root.path is \"rootfs\", beside config.json; this fills it: {filled_by}"));
    unsaid(config).iter().for_each(|line| narrate::warn(format_args!("{line}")));
    Ok(0)
}

fn file(config: &Config) -> Result<Value> {
    let mut file = json!({
        "ociVersion": version(config),
        "process": process(config)?,
        "root": { "path": "rootfs", "readonly": config.read_only },
        "mounts": mounts::all(config)?,
        "linux": linux(config)?,
    });
    if namespaces::has(config, Namespace::Uts) && config.namespaces.is_own(Namespace::Uts) {
        file["hostname"] = text(&config.hostname)?.into();
    }
    Ok(file)
}

/// The oldest that knows all that is in it, as runtimes refuse newer ones than their own: crun did up to 1.8.
fn version(config: &Config) -> &'static str {
    let any_idmap = config.mounts.iter().any(|mount| mount.idmap);
    match (any_idmap, config.clocks.is_empty()) {
        (true, _) => "1.2.0",
        (_, false) => "1.1.0",
        _ => "1.0.2",
    }
}

fn process(config: &Config) -> Result<Value> {
    let mut account = user::account(config)?;
    // runc refuses any further group to an ordinary user's container, and the first is no further one.
    if !geteuid().is_root() {
        account.groups.remove(0);
    }
    account.groups.extend(user::more_groups(config)?);
    let mut process = json!({
        "terminal": config.tty,
        "user": {
            "uid": account.uid,
            "gid": account.gid,
            "additionalGids": account.groups,
            "umask": config.umask,
        },
        "args": texts(&config.command)?,
        "env": texts(&process::environment(config)?)?,
        "cwd": text(config.workdir.as_os_str())?,
        "capabilities": capabilities(config, account.uid)?,
        "noNewPrivileges": config.no_new_privileges,
    });
    let rlimit = |limit: &crate::config::Rlimit| {
        let kind = format!("RLIMIT_{}", limit.name.to_uppercase());
        json!({ "type": kind, "soft": limit.soft, "hard": limit.hard })
    };
    if !config.limits.rlimits.is_empty() {
        process["rlimits"] = config.limits.rlimits.iter().map(rlimit).collect();
    }
    set(&mut process, "oomScoreAdj", config.limits.oom_score_adj);
    set(&mut process, "apparmorProfile", config.apparmor.as_deref());
    set(&mut process, "selinuxLabel", config.selinux.as_deref());
    Ok(process)
}

/// Who is not root has none but those it could gain; and nobody passes any on to what it starts.
fn capabilities(config: &Config, uid: u32) -> Result<Value> {
    let mut bounding = match config.layers.contains(Layer::Capabilities) {
        true => config.capabilities.clone(),
        false if config.layers.contains(Layer::Userns) => caps::all().into_iter().collect(),
        false => caps::read(None, CapSet::Bounding)?.into_iter().collect(),
    };
    bounding.sort_by_key(Capability::index);
    let bounding: Vec<_> = bounding.iter().map(Capability::to_string).collect();
    let own = if uid == 0 { bounding.clone() } else { vec![] };
    Ok(json!({ "bounding": bounding, "effective": own, "permitted": own, "inheritable": [], "ambient": [] }))
}

fn linux(config: &Config) -> Result<Value> {
    let mut linux = json!({ "namespaces": namespaces::all(config)? });
    namespaces::ids_and_clocks(config, &mut linux);
    limits::add(config, &mut linux)?;
    if !config.sysctls.is_empty() {
        let values = config.sysctls.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        linux["sysctl"] = Value::Object(values.collect::<Map<_, _>>());
    }
    if config.layers.contains(Layer::Seccomp) {
        set(&mut linux, "seccomp", calls::filter(config)?);
    }
    set(&mut linux, "rootfsPropagation", mounts::propagation(config));
    if config.layers.contains(Layer::Mount) && !config.open_paths {
        linux["maskedPaths"] = json!(mounts::masked());
        linux["readonlyPaths"] = json!(mounts::READ_ONLY);
    }
    Ok(linux)
}

/// What this container is and no config.json can say; and what to do instead.
fn unsaid(config: &Config) -> Vec<String> {
    let mut lines = mounts::unsaid(config);
    if config.init {
        lines.push("--init: a config.json has no init: name one of the root's own before the command".into());
    }
    if !config.layers.contains(Layer::PivotRoot) || !config.layers.contains(Layer::Mount) {
        let text = "every OCI runtime makes a mount namespace and swaps the root, also where --until or --without \
                    leaves that out: rubber run shows the stages before it";
        lines.push(text.into());
    }
    if let Some(line) = namespaces::unsaid(config) {
        lines.push(line);
    }
    lines
}

/// Of an image that is not here nothing is known.
pub fn ensure_known(config: &Config, name: &OsStr) -> Result<()> {
    match config.image.iter().all(|layer| layer.is_dir()) {
        true => Ok(()),
        false => bail!(
            "the image {name:?} is not here yet, and its command and environment belong into the file: \
             rubber run {} true brings it",
            Path::new(name).display()
        ),
    }
}

fn set(object: &mut Value, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object[name] = value.into();
    }
}

/// JSON has text and no bytes.
fn text(word: &OsStr) -> Result<&str> {
    word.to_str().with_context(|| format!("{word:?} is not UTF-8, and a config.json is: name it otherwise"))
}

fn texts(words: &[impl AsRef<OsStr>]) -> Result<Vec<&str>> {
    words.iter().map(|word| text(word.as_ref())).collect()
}

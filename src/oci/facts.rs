//! What clients ask about: the containers there are, the processes in one, and what this runtime can do.

use super::{
    cgroup, options,
    state::{Container, Status},
};
use crate::{
    filter::machine::{self, Machine},
    show::{columns, json},
    sys,
};
use anyhow::{Context, Result, bail};
use nix::unistd::{getegid, geteuid};
use serde_json::{Value, json};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::Path,
    process::Command,
};

/// runc's table.
pub fn table(all: &[Container]) -> String {
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(String::from)];
    for container in all {
        let state = container.state(container.status());
        let word = |key: &str| state[key].as_str().map_or_else(|| state[key].to_string(), columns::escape);
        rows.push(["id", "pid", "status", "bundle", "created", "owner"].map(word));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("   ").trim_end())
    };
    let lines: Vec<String> = rows.iter().map(line).collect();
    lines.concat()
}

/// Its processes as ps(1) shows them, whatever is asked of it; it has to have a column of pids.
pub fn processes(container: &Container, format: &str, args: &[String]) -> Result<()> {
    if container.status() == Status::Stopped {
        bail!("container not running: stopped");
    }
    let pids = cgroup::processes(&container.record.groups)?;
    if format == "json" {
        return columns::print(&(json::line(&pids)? + "\n"));
    }
    let args = if args.is_empty() { &["-ef".to_owned()] } else { args };
    let output = sys::started(Command::new("ps").args(args).output()).context("cannot start ps")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let head = lines.next().unwrap_or_default();
    let column = head.split_whitespace().position(|word| word == "PID").context("ps prints no column PID")?;
    let is_ours = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        pid.is_some_and(|pid: i32| pids.contains(&pid))
    };
    // ps leaves to its locale what is hidden from who looks.
    let ours: Vec<_> = std::iter::once(head).chain(lines.filter(is_ours)).map(columns::escape).collect();
    columns::print(&format!("{}\n", ours.join("\n")))
}

const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

const FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// features.md: what a client may count on.
pub fn features() -> Value {
    let mut capabilities: Vec<_> = caps::all().into_iter().map(|one| one.to_string()).collect();
    capabilities.sort();
    let machines: Vec<_> = machine::ALL.iter().copied().map(Machine::name).collect();
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.2.0",
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": options::known(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": false, "rdma": true },
            "seccomp": {
                "enabled": true, "actions": ACTIONS, "archs": machines, "operators": OPERATORS,
                "knownFlags": FLAGS, "supportedFlags": FLAGS,
            },
            "apparmor": { "enabled": true },
            "selinux": { "enabled": true },
            "intelRdt": { "enabled": false },
            "mountExtensions": { "idmap": { "enabled": true } },
            "netDevices": { "enabled": false },
        },
        "annotations": { "org.rubber.version": env!("CARGO_PKG_VERSION") },
    })
}

/// A config.json to begin with.
pub fn write_spec(bundle: &Path, rootless: bool) -> Result<()> {
    let usual = include_str!("config.json");
    let text = if rootless { format!("{:#}\n", of_a_user(usual)?) } else { usual.into() };
    let file = bundle.join("config.json");
    let mut file =
        OpenOptions::new().create_new(true).write(true).open(&file).with_context(|| {
            format!("cannot make {file:?} (a config.json that is there is not overwritten)")
        })?;
    Ok(file.write_all(text.as_bytes())?)
}

/// As runc has it: root inside is who calls, and nobody else is anybody. No network of its own, which somebody would have
/// to plug in; the host's then comes with the host's /sys. And no limits, as most have no cgroups to divide.
fn of_a_user(usual: &str) -> Result<Value> {
    let mut all: Value = serde_json::from_str(usual)?;
    let linux = all["linux"].as_object_mut().context("it has no linux")?;
    linux.remove("resources");
    let namespaces = linux["namespaces"].as_array_mut().context("it has no namespaces")?;
    namespaces.retain(|one| one["type"] != "network");
    namespaces.push(json!({"type": "user"}));
    let only = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
    linux.insert("uidMappings".into(), only(geteuid().as_raw()));
    linux.insert("gidMappings".into(), only(getegid().as_raw()));
    for mount in all["mounts"].as_array_mut().context("it has no mounts")? {
        if mount["destination"] == "/sys" {
            mount["type"] = json!("none");
            mount["source"] = json!("/sys");
            mount["options"] = json!(["rbind", "nosuid", "noexec", "nodev", "ro"]);
        } else if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
            options.retain(|option| option != "gid=5");
        }
    }
    Ok(all)
}

pub fn read(file: &Path) -> Result<Value> {
    let text = match file == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin()),
        false => fs::read_to_string(file),
    };
    let text = text.with_context(|| format!("cannot read {file:?}"))?;
    serde_json::from_str(&text).with_context(|| format!("{file:?} is not JSON"))
}

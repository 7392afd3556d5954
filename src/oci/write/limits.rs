//! Its cgroup, and what is written there.

use crate::{
    config::{CPU_PERIOD, Config, DeviceRule},
    layers::{Layer, cgroup::Version, devices},
};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;

const TREES: &str = "/sys/fs/cgroup";

/// Where the tree is not ours to divide there are neither groups nor limits, and nobody has asked for any.
pub fn add(config: &Config, linux: &mut Value) -> Result<()> {
    let Some(group) = config.cgroup.groups.first() else { return Ok(()) };
    linux["cgroupsPath"] = json!(path(&group.dir, config.cgroup.version)?);
    let mut resources = json!({ "devices": devices_allowed(config) });
    for (name, value) in [("cpu", cpu(config)), ("memory", memory(config)), ("pids", pids(config))] {
        if value.as_object().is_some_and(|object| !object.is_empty()) {
            resources[name] = value;
        }
    }
    linux["resources"] = resources;
    Ok(())
}

/// Of version 1 without the tree's name: there the same path is taken in each.
fn path(dir: &Path, version: Version) -> Result<String> {
    let below = dir.strip_prefix(TREES)?;
    let below = match version {
        Version::V1 => below.components().skip(1).collect(),
        Version::V2 => below.to_owned(),
    };
    Ok(format!("/{}", below.to_str().context("a cgroup's name is not UTF-8")?))
}

fn object(fields: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    let given = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect())
}

fn cpu(config: &Config) -> Value {
    let limits = &config.limits;
    object([
        ("shares", limits.cpu_shares.map(Value::from)),
        ("quota", limits.cpu_quota.map(Value::from)),
        ("period", limits.cpu_quota.map(|_| CPU_PERIOD.into())),
        ("cpus", limits.cpuset.as_deref().map(Value::from)),
    ])
}

/// As `layers::memory`: as much swap as memory, where nobody says how much and the kernel counts it.
fn memory(config: &Config) -> Value {
    let limits = &config.limits;
    let by_default = limits.memory.filter(|_| counts_swap(config)).map(|bytes| 2 * bytes as i64);
    object([
        ("limit", limits.memory.map(Value::from)),
        ("swap", limits.memory_and_swap.or(by_default).map(Value::from)),
        ("reservation", limits.memory_reservation.map(Value::from)),
    ])
}

/// The root of version 2 has no such file, and nothing can be asked there.
fn counts_swap(config: &Config) -> bool {
    config.cgroup.version == Version::V2
        || Path::new(TREES).join("memory/memory.memsw.limit_in_bytes").exists()
}

fn pids(config: &Config) -> Value {
    object([("limit", config.limits.pids.map(Value::from))])
}

fn devices_allowed(config: &Config) -> Vec<Value> {
    if !config.layers.contains(Layer::Devices) || !devices::is_limited(config) {
        return vec![json!({ "allow": true, "access": "rwm" })];
    }
    let rule = |rule: DeviceRule| {
        object([
            ("allow", Some(true.into())),
            ("type", Some(rule.kind.to_string().into())),
            ("major", rule.major.map(Value::from)),
            ("minor", rule.minor.map(Value::from)),
            ("access", Some(rule.access.into())),
        ])
    };
    let none = json!({ "allow": false, "access": "rwm" });
    [none].into_iter().chain(devices::rules(config).into_iter().map(rule)).collect()
}

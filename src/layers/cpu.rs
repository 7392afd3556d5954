//! CPU time: a share of it when there is not enough for all, a limit always.

use super::{
    Layer,
    cgroup::{self, Setting, Version},
};
use crate::{
    config::{CPU_PERIOD, Config, Limits},
    sys,
};
use anyhow::Result;

/// A group is a directory, and a limit is a file in it.
pub fn limit(config: &Config) -> Result<()> {
    let place = &config.cgroup;
    for group in cgroup::groups(config, Layer::Cpu) {
        sys::mkdir(&group.dir, 0o755)?;
    }
    for setting in settings(place.version, &config.limits) {
        let group = place.with(setting.controller)?;
        if place.version == Version::V2 {
            cgroup::hand_down(group, setting.controller)?;
        }
        sys::write(&group.dir.join(setting.file), &setting.value)?;
    }
    Ok(())
}

/// 0 means "the one who writes". Whoever is forked from here on is in it, too.
pub fn join(config: &Config) -> Result<()> {
    for group in cgroup::groups(config, Layer::Cpu) {
        sys::write(&config.cgroup.members(group), "0")?;
    }
    Ok(())
}

pub fn remove(config: &Config) -> Result<()> {
    for group in config.cgroup.made_by(Layer::Cpu).rev() {
        cgroup::remove_group(&group.dir)?;
    }
    Ok(())
}

/// Which file takes which number.
#[rustfmt::skip]
fn settings(version: Version, limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |controller, file, value: String| {
        settings.push(Setting { controller, file, value, by_default: false });
    };
    match version {
        Version::V1 => {
            if let Some(shares) = limits.cpu_shares { set("cpu", "cpu.shares", shares.to_string()) }
            if let Some(quota) = limits.cpu_quota   { set("cpu", "cpu.cfs_quota_us", quota.to_string()) }
            if let Some(cpus) = &limits.cpuset {
                set("cpuset", "cpuset.cpus", cpus.clone());
                // Nobody can join a version 1 cpuset that has no memory nodes.
                set("cpuset", "cpuset.mems", parents_memory_nodes());
            }
        }
        Version::V2 => {
            if let Some(shares) = limits.cpu_shares { set("cpu", "cpu.weight", weight(shares).to_string()) }
            if let Some(quota) = limits.cpu_quota   { set("cpu", "cpu.max", format!("{quota} {CPU_PERIOD}")) }
            if let Some(cpus) = &limits.cpuset      { set("cpuset", "cpuset.cpus", cpus.clone()) }
        }
    }
    settings
}

fn parents_memory_nodes() -> String {
    let nodes = std::fs::read_to_string("/sys/fs/cgroup/cpuset/cpuset.mems");
    nodes.map_or("0".into(), |nodes| nodes.trim().into())
}

/// Shares (2 to 262144, usually 1024) as a weight (1 to 10000, usually 100): a
/// straight line from one range to the other, as runtimes and Kubernetes
/// (KEP-2254) draw it. The defaults do not meet: 1024 shares are 39.
pub fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_share_range_are_the_ends_of_the_weight_range() {
        assert_eq!([2, 1024, 262_144].map(weight), [1, 39, 10_000]);
    }

    #[test]
    fn a_limit_nobody_asked_for_is_not_written() {
        assert_eq!(settings(Version::V2, &Limits::default()), []);
    }

    #[test]
    fn both_versions_take_the_same_quota() {
        let limits = Limits { cpu_quota: Some(50_000), ..Limits::default() };
        let value = |version| settings(version, &limits).pop().map(|setting| (setting.file, setting.value));
        assert_eq!(value(Version::V1), Some(("cpu.cfs_quota_us", "50000".into())));
        assert_eq!(value(Version::V2), Some(("cpu.max", "50000 100000".into())));
    }
}

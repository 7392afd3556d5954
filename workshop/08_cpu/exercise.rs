//! CPU time: a share of it when there is not enough for all, a limit always.

use super::{
    Layer,
    cgroup::{self, Setting, Version},
};
use crate::{
    config::{CPU_PERIOD, Config, Limits},
    learn::not_yet,
    sys,
};
use anyhow::Result;

/// A group is a directory, and a limit is a file in it.
pub fn limit(config: &Config) -> Result<()> {
    let place = &config.cgroup;
    let settings = settings(place.version, &config.limits)?;
    // Step 2: make each group of `cgroup::groups(config, Layer::Cpu)`, and write each setting's value
    // into the file it names, in the group that `place.with` its controller is. In version 2 the group
    // above has to hand the controller down first: `cgroup::hand_down` does it.
    not_yet(2)
}

/// 0 means "the one who writes". Whoever is forked from here on is in it, too.
pub fn join(config: &Config) -> Result<()> {
    // Step 3: go into each group of this layer: `config.cgroup.members(group)` is the list of who is in.
    not_yet(3)
}

pub fn remove(config: &Config) -> Result<()> {
    // Step 4: take each group away, the last one made first. `config.cgroup.made_by` has them without
    // another word, and `cgroup::remove_group` removes one by its directory.
    not_yet(4)
}

/// Which file takes which number.
fn settings(version: Version, limits: &Limits) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    let mut set = |controller, file, value: String| {
        settings.push(Setting { controller, file, value, by_default: false });
    };
    // Step 1: `set` a file of the "cpu" controller for `limits.cpu_shares`, and one for `limits.cpu_quota`,
    // each where it is given (they are Options), and in both versions. A weight is not a share, but the
    // function `weight` makes one of the other; beside a quota version 2 wants its CPU_PERIOD.
    not_yet(1)?;
    match version {
        Version::V1 => {
            if let Some(cpus) = &limits.cpuset {
                set("cpuset", "cpuset.cpus", cpus.clone());
                // Nobody can join a version 1 cpuset that has no memory nodes.
                set("cpuset", "cpuset.mems", parents_memory_nodes());
            }
        }
        Version::V2 => {
            if let Some(cpus) = &limits.cpuset {
                set("cpuset", "cpuset.cpus", cpus.clone());
            }
        }
    }
    Ok(settings)
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

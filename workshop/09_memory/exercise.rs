//! Memory, swap, and how many processes: limits that hold for all of them together.

use super::{
    Layer,
    cgroup::{self, Setting, Version},
};
use crate::{
    config::{Config, Limits},
    learn::not_yet,
    narrate, sys,
};
use anyhow::Result;
use std::fs::read_to_string;

pub fn limit(config: &Config) -> Result<()> {
    let place = &config.cgroup;
    for group in cgroup::groups(config, Layer::Memory) {
        sys::mkdir(&group.dir, 0o755)?;
    }
    let settings = settings(place.version, &config.limits)?;
    // Step 4: write each setting's value into the file it names, as for the CPU. Only one that is
    // `by_default` may be left out, where the kernel has no such file: it may not count swap. (In a dry
    // run, `narrate::is_dry`, there are no files at all.)
    not_yet(4)
}

/// In version 1 the memory and the pids tree have a group each. Memory that was
/// taken before stays with whom it was taken from, so this comes early.
pub fn join(config: &Config) -> Result<()> {
    for group in cgroup::groups(config, Layer::Memory) {
        sys::write(&config.cgroup.members(group), "0")?;
    }
    Ok(())
}

pub fn remove(config: &Config) -> Result<()> {
    for group in config.cgroup.made_by(Layer::Memory).rev() {
        cgroup::remove_group(&group.dir)?;
    }
    Ok(())
}

/// Which file takes which number. Version 1 counts memory and swap in one sum,
/// version 2 counts swap alone. The plain limit comes first: version 1 refuses
/// a sum below it.
#[rustfmt::skip]
fn settings(version: Version, limits: &Limits) -> Result<Vec<Setting>> {
    let mut settings = Vec::new();
    let mut set = |controller, file, value: Option<String>, by_default| {
        settings.extend(value.map(|value| Setting { controller, file, value, by_default }));
    };
    let memory = limits.memory.map(|bytes| bytes.to_string());
    let reserve = limits.memory_reservation.map(|bytes| bytes.to_string());
    let sum = limits.memory_and_swap.or(limits.memory.map(|bytes| 2 * bytes as i64));
    // As docker: as much swap as memory where nobody said how much.
    let by_default = limits.memory_and_swap.is_none();
    // Each of these is a row in both arms of the match below.
    // Step 1: `set` the file of the "memory" controller that takes `memory`.
    not_yet(1)?;
    // Step 2: the file that limits swap. It takes `sum` in one version, and what of `sum` is swap in the
    // other; both say no limit in another way (`max`, below). It is `by_default` where nobody asked.
    not_yet(2)?;
    // Step 3: the file of the "pids" controller. `limits.pids` is a number, or -1 for no limit.
    not_yet(3)?;
    match version {
        Version::V1 => {
            set("memory", "memory.soft_limit_in_bytes",  reserve, false);
        }
        Version::V2 => {
            set("memory", "memory.low",      reserve, false);
        }
    }
    Ok(settings)
}

fn max(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

/// Whether the kernel has killed a process of this container for want of memory.
pub fn ran_out(config: &Config) -> bool {
    let counter = match config.cgroup.version {
        Version::V1 => "memory.oom_control",
        Version::V2 => "memory.events",
    };
    let text =
        config.cgroup.file("memory", counter).and_then(|file| read_to_string(file).ok()).unwrap_or_default();
    text.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count != "0"))
}

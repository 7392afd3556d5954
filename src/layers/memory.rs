//! Memory, swap, and how many processes: limits that hold for all of them together.

use super::{
    Layer,
    cgroup::{self, Setting, Version},
};
use crate::{
    config::{Config, Limits},
    narrate,
    place::is_there,
    sys,
};
use anyhow::Result;
use std::fs::read_to_string;

pub fn limit(config: &Config) -> Result<()> {
    let place = &config.cgroup;
    for group in cgroup::groups(config, Layer::Memory) {
        sys::mkdir(&group.dir, 0o755)?;
    }
    for setting in settings(place.version, &config.limits) {
        let group = place.with(setting.controller)?;
        if place.version == Version::V2 {
            cgroup::hand_down(group, setting.controller)?;
        }
        let file = group.dir.join(setting.file);
        if !setting.by_default || is_there(&file)? || narrate::is_dry() {
            sys::write(&file, &setting.value)?;
        }
    }
    Ok(())
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
fn settings(version: Version, limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    let mut set = |controller, file, value: Option<String>, by_default| {
        settings.extend(value.map(|value| Setting { controller, file, value, by_default }));
    };
    let memory = limits.memory.map(|bytes| bytes.to_string());
    let reserve = limits.memory_reservation.map(|bytes| bytes.to_string());
    let sum = limits.memory_and_swap.or(limits.memory.map(|bytes| 2 * bytes as i64));
    // As docker: as much swap as memory where nobody said how much.
    let by_default = limits.memory_and_swap.is_none();
    match version {
        Version::V1 => {
            set("memory", "memory.limit_in_bytes",       memory, false);
            set("memory", "memory.memsw.limit_in_bytes", sum.map(|sum| sum.to_string()), by_default);
            set("memory", "memory.soft_limit_in_bytes",  reserve, false);
            set("pids",   "pids.max", limits.pids.map(max), false);
        }
        Version::V2 => {
            let swap = sum.map(|sum| if sum < 0 { sum } else { sum - limits.memory.unwrap_or(0) as i64 });
            set("memory", "memory.max",      memory, false);
            set("memory", "memory.swap.max", swap.map(max), by_default);
            set("memory", "memory.low",      reserve, false);
            set("pids",   "pids.max", limits.pids.map(max), false);
        }
    }
    settings
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

#[cfg(test)]
mod tests {
    use super::*;

    fn written(version: Version, limits: Limits) -> Vec<(&'static str, String)> {
        settings(version, &limits).into_iter().map(|setting| (setting.file, setting.value)).collect()
    }

    #[test]
    fn version_1_takes_the_sum_and_version_2_the_swap() {
        let limits = Limits { memory: Some(100), memory_and_swap: Some(150), ..Limits::default() };
        assert_eq!(written(Version::V1, limits.clone())[1], ("memory.memsw.limit_in_bytes", "150".into()));
        assert_eq!(written(Version::V2, limits)[1], ("memory.swap.max", "50".into()));
    }

    #[test]
    fn minus_one_is_no_limit() {
        let limits =
            Limits { memory: Some(100), memory_and_swap: Some(-1), pids: Some(-1), ..Limits::default() };
        assert_eq!(written(Version::V1, limits.clone())[1].1, "-1");
        assert_eq!(written(Version::V2, limits.clone())[1].1, "max");
        assert_eq!(written(Version::V2, limits)[2], ("pids.max", "max".into()));
    }
}

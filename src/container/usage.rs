//! What a container uses: from its cgroup where it has one, else added up over its processes.

use super::{
    find::Container,
    processes::{self, Process},
};
use crate::layers::cgroup::{Place, Version};
use anyhow::Result;
use std::fs::read_to_string;

pub struct Usage {
    /// Seconds of CPU time since it began.
    pub cpu: f64,
    /// Bytes, without what the kernel keeps of files only for as long as nobody needs the room.
    pub memory: u64,
    /// Bytes: its limit, or all there are.
    pub memory_limit: u64,
    pub pids: u64,
    pub pids_limit: Option<u64>,
    /// Bytes from and to disks.
    pub read: u64,
    pub written: u64,
}

pub fn of(container: &Container) -> Result<Usage> {
    let place = &container.record.config.cgroup;
    let all = processes::of(container)?;
    let total = kibibytes(&read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal:");
    let (read, written) = disk(place).unwrap_or_else(|| disk_of(&all));
    let memory_limit = match place.version {
        Version::V1 => number(place, "memory", "memory.limit_in_bytes"),
        Version::V2 => number(place, "memory", "memory.max"),
    };
    Ok(Usage {
        cpu: cpu(place).unwrap_or_else(|| all.iter().map(|process| process.time).sum()),
        memory: memory(place).unwrap_or_else(|| all.iter().map(memory_of).sum()),
        // Version 1 says "no limit" with a number larger than any memory.
        memory_limit: memory_limit.unwrap_or(total).min(total),
        pids: number(place, "pids", "pids.current").unwrap_or(all.len() as u64),
        pids_limit: number(place, "pids", "pids.max"),
        read,
        written,
    })
}

fn text(place: &Place, controller: &str, file: &str) -> Option<String> {
    read_to_string(place.file(controller, file)?).ok()
}

fn number(place: &Place, controller: &str, file: &str) -> Option<u64> {
    text(place, controller, file)?.trim().parse().ok()
}

/// The number behind `name` in a file of such lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

fn cpu(place: &Place) -> Option<f64> {
    match place.version {
        // There only where both controllers share a tree.
        Version::V1 => Some(number(place, "cpu", "cpuacct.usage")? as f64 / 1e9),
        Version::V2 => Some(field(&text(place, "cpu", "cpu.stat")?, "usage_usec")? as f64 / 1e6),
    }
}

fn memory(place: &Place) -> Option<u64> {
    let (usage, idle) = match place.version {
        Version::V1 => ("memory.usage_in_bytes", "total_inactive_file"),
        Version::V2 => ("memory.current", "inactive_file"),
    };
    let idle = field(&text(place, "memory", "memory.stat")?, idle).unwrap_or(0);
    Some(number(place, "memory", usage)?.saturating_sub(idle))
}

/// Its fair share of what it has mapped.
fn memory_of(process: &Process) -> u64 {
    let text = read_to_string(format!("/proc/{}/smaps_rollup", process.pid)).unwrap_or_default();
    kibibytes(&text, "Pss:")
}

fn kibibytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// Version 2 counts by disk, as in `8:0 rbytes=4096 wbytes=0 ...`.
fn disk(place: &Place) -> Option<(u64, u64)> {
    let text = (place.version == Version::V2).then(|| text(place, "memory", "io.stat"))??;
    let sum = |name: &str| {
        let words = text.split_whitespace().filter_map(|word| word.strip_prefix(name)?.parse::<u64>().ok());
        words.sum()
    };
    Some((sum("rbytes="), sum("wbytes=")))
}

fn disk_of(all: &[Process]) -> (u64, u64) {
    let mut sum = (0, 0);
    for process in all {
        let text = read_to_string(format!("/proc/{}/io", process.pid)).unwrap_or_default();
        sum.0 += field(&text, "read_bytes:").unwrap_or(0);
        sum.1 += field(&text, "write_bytes:").unwrap_or(0);
    }
    sum
}

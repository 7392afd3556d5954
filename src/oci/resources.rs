//! The limits of a config.json: which file of which cgroup takes what, in both versions.

use crate::{
    config::DeviceRule,
    filter::ebpf::Answer,
    layers::{cgroup::Version, cpu::weight},
};
use anyhow::{Result, bail};
use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxResources,
    LinuxThrottleDevice,
};

#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub controller: String,
    pub file: String,
    pub value: String,
}

/// Collects what is asked for.
struct Settings(Vec<Setting>);

impl Settings {
    /// The file's name begins with the controller's.
    fn set(&mut self, file: &str, value: Option<String>) {
        let controller = file.split('.').next().unwrap_or(file).to_owned();
        self.0.extend(value.map(|value| Setting { controller, file: file.into(), value }));
    }
}

pub fn settings(version: Version, resources: &LinuxResources) -> Result<Vec<Setting>> {
    let mut settings = Settings(vec![]);
    if let Some(cpu) = resources.cpu() {
        of_cpu(&mut settings, version, cpu);
    }
    if let Some(memory) = resources.memory() {
        of_memory(&mut settings, version, memory);
    }
    // 0 is what a client sends who has nothing to say.
    if let Some(pids) = resources.pids().as_ref().map(|pids| pids.limit()).filter(|limit| *limit != 0) {
        settings.set("pids.max", Some(max(pids)));
    }
    if let Some(io) = resources.block_io() {
        of_io(&mut settings, version, io);
    }
    for limit in resources.hugepage_limits().iter().flatten() {
        let name = if version == Version::V1 { "limit_in_bytes" } else { "max" };
        // What is reserved, too: who finds no page in what is theirs is killed, and who may not reserve it is told.
        for what in ["", "rsvd."] {
            let file = format!("hugetlb.{}.{what}{name}", limit.page_size());
            settings.set(&file, Some(limit.limit().to_string()));
        }
    }
    for (device, limit) in resources.rdma().iter().flatten() {
        let part = |name: &str, number: Option<u32>| number.map(|number| format!(" {name}={number}"));
        let parts = [part("hca_handle", limit.hca_handles()), part("hca_object", limit.hca_objects())];
        let parts = parts.into_iter().flatten().collect::<String>();
        settings.set("rdma.max", Some(format!("{device}{parts}")));
    }
    if version == Version::V1 {
        of_network(&mut settings, resources);
        of_devices(&mut settings, resources.devices().as_deref().unwrap_or_default());
    }
    for (file, value) in resources.unified().iter().flatten() {
        if version == Version::V1 {
            bail!("resources.unified ({file}) is for cgroup version 2, and this machine has version 1");
        }
        if file.contains('/') || !file.contains('.') {
            bail!("resources.unified: {file:?} is not the name of a controller's file");
        }
        settings.set(file, Some(value.clone()));
    }
    Ok(settings.0)
}

fn of_cpu(to: &mut Settings, version: Version, cpu: &LinuxCpu) {
    let text = |number: Option<u64>| number.filter(|number| *number != 0).map(|number| number.to_string());
    let signed = |number: Option<i64>| number.map(|number| number.to_string());
    let quota = cpu.quota().filter(|quota| *quota != 0);
    match version {
        Version::V1 => {
            to.set("cpu.shares", text(cpu.shares()));
            // A quota that is longer than the period before is refused, so the period comes first.
            to.set("cpu.cfs_period_us", text(cpu.period()));
            to.set("cpu.cfs_quota_us", signed(quota));
            to.set("cpu.cfs_burst_us", cpu.burst().map(|burst| burst.to_string()));
            to.set("cpu.rt_period_us", text(cpu.realtime_period()));
            to.set("cpu.rt_runtime_us", signed(cpu.realtime_runtime().filter(|runtime| *runtime != 0)));
        }
        Version::V2 => {
            to.set(
                "cpu.weight",
                cpu.shares().filter(|shares| *shares != 0).map(|shares| weight(shares).to_string()),
            );
            let quota = (quota.is_some() || cpu.period().is_some()).then(|| max(quota.unwrap_or(-1)));
            let period = cpu.period().unwrap_or(crate::config::CPU_PERIOD);
            to.set("cpu.max", quota.map(|quota| format!("{quota} {period}")));
            to.set("cpu.max.burst", cpu.burst().map(|burst| burst.to_string()));
        }
    }
    to.set("cpu.idle", signed(cpu.idle()));
    to.set("cpuset.cpus", cpu.cpus().clone().filter(|cpus| !cpus.is_empty()));
    to.set("cpuset.mems", cpu.mems().clone().filter(|mems| !mems.is_empty()));
}

fn of_memory(to: &mut Settings, version: Version, memory: &LinuxMemory) {
    let given = |number: Option<i64>| number.filter(|number| *number != 0);
    let (limit, sum) = (given(memory.limit()), given(memory.swap()));
    match version {
        Version::V1 => {
            to.set("memory.limit_in_bytes", limit.map(|limit| limit.to_string()));
            to.set("memory.memsw.limit_in_bytes", sum.map(|sum| sum.to_string()));
            to.set("memory.soft_limit_in_bytes", given(memory.reservation()).map(|bytes| bytes.to_string()));
            to.set("memory.swappiness", memory.swappiness().map(|number| number.to_string()));
            to.set("memory.oom_control", memory.disable_oom_killer().filter(|is| *is).map(|_| "1".into()));
            to.set(
                "memory.kmem.tcp.limit_in_bytes",
                given(memory.kernel_tcp()).map(|bytes| bytes.to_string()),
            );
        }
        Version::V2 => {
            // Version 1 counts memory and swap in one sum, version 2 counts swap alone.
            let swap = sum.map(|sum| if sum < 0 { sum } else { (sum - limit.unwrap_or(0)).max(0) });
            to.set("memory.max", limit.map(max));
            to.set("memory.swap.max", swap.map(max));
            to.set("memory.low", given(memory.reservation()).map(max));
        }
    }
}

fn of_io(to: &mut Settings, version: Version, io: &LinuxBlockIo) {
    let weight = io.weight().filter(|weight| *weight != 0);
    match version {
        Version::V1 => {
            to.set("blkio.weight", weight.map(|weight| weight.to_string()));
            for device in io.weight_device().iter().flatten() {
                let value = |weight| format!("{}:{} {weight}", device.major(), device.minor());
                to.set("blkio.weight_device", device.weight().map(value));
            }
        }
        // 10 to 1000 as 1 to 10000.
        Version::V2 => {
            let scaled = |weight: u16| 1 + (u64::from(weight).clamp(10, 1000) - 10) * 9999 / 990;
            to.set("io.weight", weight.map(|weight| format!("default {}", scaled(weight))));
        }
    }
    let mut throttle = |v1: &str, v2: &str, devices: &Option<Vec<LinuxThrottleDevice>>| {
        for device in devices.iter().flatten() {
            let (number, rate) = (format!("{}:{}", device.major(), device.minor()), device.rate());
            match version {
                Version::V1 => {
                    to.set(&format!("blkio.throttle.{v1}_device"), Some(format!("{number} {rate}")))
                }
                Version::V2 => to.set("io.max", Some(format!("{number} {v2}={rate}"))),
            }
        }
    };
    throttle("read_bps", "rbps", io.throttle_read_bps_device());
    throttle("write_bps", "wbps", io.throttle_write_bps_device());
    throttle("read_iops", "riops", io.throttle_read_iops_device());
    throttle("write_iops", "wiops", io.throttle_write_iops_device());
}

fn of_network(to: &mut Settings, resources: &LinuxResources) {
    let Some(network) = resources.network() else { return };
    to.set("net_cls.classid", network.class_id().map(|id| id.to_string()));
    for one in network.priorities().iter().flatten() {
        to.set("net_prio.ifpriomap", Some(format!("{} {}", one.name(), one.priority())));
    }
}

/// What every container may do: make nodes (which does not open them), and use those that every /dev has.
const ALLOWED: &[&str] = &[
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// For a program of version 2, which asks the rules from the first on: so from the last.
pub fn device_rules(version: Version, resources: &LinuxResources) -> Vec<(Answer, DeviceRule)> {
    let given = resources.devices().as_deref().unwrap_or_default();
    if version == Version::V1 || given.is_empty() {
        return vec![];
    }
    let usual = ALLOWED.iter().map(|text| (Answer::Yes, parse(text)));
    let rule = |rule: &LinuxDeviceCgroup| {
        (if rule.allow() { Answer::Yes } else { Answer::No }, parse(&display(rule)))
    };
    usual.rev().chain(given.iter().rev().map(rule)).collect()
}

/// What `display` writes, and files of version 1 take.
fn parse(text: &str) -> DeviceRule {
    let mut words = text.split([' ', ':']);
    let mut word = || words.next().unwrap_or_default();
    let kind = word().chars().next().unwrap_or('a');
    let (major, minor) = (word().parse().ok(), word().parse().ok());
    DeviceRule { kind, major, minor, access: word().into() }
}

/// In the order of the list, as a later rule has the last word.
fn of_devices(to: &mut Settings, rules: &[LinuxDeviceCgroup]) {
    for rule in rules {
        let file = if rule.allow() { "devices.allow" } else { "devices.deny" };
        to.set(file, Some(display(rule)));
    }
    if !rules.is_empty() {
        ALLOWED.iter().for_each(|rule| to.set("devices.allow", Some((*rule).into())));
    }
}

fn display(rule: &LinuxDeviceCgroup) -> String {
    let kind = match rule.typ() {
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => "c",
        Some(LinuxDeviceType::B) => "b",
        _ => "a",
    };
    let number = |number: Option<i64>| {
        number.filter(|number| *number >= 0).map_or("*".into(), |number| number.to_string())
    };
    let access = rule.access().as_deref().unwrap_or("rwm");
    format!("{kind} {}:{} {access}", number(rule.major()), number(rule.minor()))
}

fn max(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

//! events: what a container uses, as runc tells it, read from its groups.

use super::{cgroup::Group, state::Container};
use crate::show::{columns, json};
use anyhow::Result;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Map, Value, json};
use std::{
    fs::{read_dir, read_to_string},
    os::fd::AsFd,
    path::Path,
    time::Duration,
};

/// A line each time, until the container ends; and one for each time that it had too little memory.
pub fn follow(container: &Container, interval: Duration) -> Result<()> {
    let Some((_, pidfd)) = container.pidfd()? else { return Ok(()) };
    let mut killed = killed(&container.record.groups);
    loop {
        columns::print(&line(container, "stats", stats(&container.record.groups))?)?;
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::try_from(interval).unwrap_or(PollTimeout::MAX))? > 0 {
            return Ok(());
        }
        let now = self::killed(&container.record.groups);
        if now > killed {
            columns::print(&(json::line(&json!({ "type": "oom", "id": container.record.id }))? + "\n"))?;
        }
        killed = now;
    }
}

pub fn once(container: &Container) -> Result<()> {
    columns::print(&line(container, "stats", stats(&container.record.groups))?)
}

fn line(container: &Container, kind: &str, data: Value) -> Result<String> {
    Ok(json::line(&json!({ "type": kind, "id": container.record.id, "data": data }))? + "\n")
}

/// By a controller's name: the files of its group. In version 2 there is one for all.
struct Files<'a>(Option<&'a Path>);

impl Files<'_> {
    fn text(&self, name: &str) -> Option<String> {
        read_to_string(self.0?.join(name)).ok()
    }

    fn number(&self, name: &str) -> Option<u64> {
        let text = self.text(name)?;
        // What has no limit is the largest number, as runc has it.
        if text.trim() == "max" { Some(u64::MAX) } else { text.trim().parse().ok() }
    }

    fn names(&self) -> impl Iterator<Item = String> {
        let entries = self.0.and_then(|dir| read_dir(dir).ok()).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned())
    }

    /// A file of lines with a name and a number.
    fn table(&self, name: &str) -> Map<String, Value> {
        let pair = |line: &str| {
            let (name, number) = line.split_once(' ')?;
            Some((name.to_owned(), json!(number.trim().parse::<u64>().ok()?)))
        };
        self.text(name).iter().flat_map(|text| text.lines()).filter_map(pair).collect()
    }
}

fn files<'a>(groups: &'a [Group], controller: &str) -> (Files<'a>, bool) {
    let found = groups.iter().find(|group| group.has(controller));
    (Files(found.map(|group| group.dir.as_path())), found.is_none_or(|group| group.controllers.is_some()))
}

/// Linux counts them in both versions.
fn killed(groups: &[Group]) -> u64 {
    let (files, is_v1) = files(groups, "memory");
    let table = files.table(if is_v1 { "memory.oom_control" } else { "memory.events" });
    table.get("oom_kill").and_then(Value::as_u64).unwrap_or(0)
}

/// The words of runc's types/events.go.
pub fn stats(groups: &[Group]) -> Value {
    let mut all = json!({
        "cpu": cpu(groups),
        "cpuset": cpuset(groups),
        "memory": memory(groups),
        "pids": pids(groups),
        "blkio": blkio(groups),
        "hugetlb": hugetlb(groups),
        "intel_rdt": {},
        "network_interfaces": null,
    });
    strip(&mut all);
    all
}

/// What is not known is left out.
fn strip(value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|name, value| !value.is_null() || name == "network_interfaces");
        map.values_mut().for_each(strip);
    }
}

/// Nanoseconds. (Version 2 counts microseconds; version 1's own of user and system are ticks of a clock.)
fn cpu(groups: &[Group]) -> Value {
    let (acct, is_v1) = files(groups, "cpuacct");
    let (cpu, _) = files(groups, "cpu");
    let stat = cpu.table("cpu.stat");
    let of = |name: &str| stat.get(name).cloned().unwrap_or_else(|| json!(0));
    let nanoseconds = |name: &str| stat.get(name).and_then(Value::as_u64).map(|us| us * 1000);
    let usage = if is_v1 && acct.0.is_some() {
        let per_cpu = acct.text("cpuacct.usage_percpu").unwrap_or_default();
        let per_cpu: Vec<u64> = per_cpu.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        json!({
            "total": acct.number("cpuacct.usage"),
            "percpu": per_cpu,
            "kernel": acct.number("cpuacct.usage_sys").unwrap_or(0),
            "user": acct.number("cpuacct.usage_user").unwrap_or(0),
        })
    } else {
        json!({
            "total": nanoseconds("usage_usec"),
            "kernel": nanoseconds("system_usec").unwrap_or(0),
            "user": nanoseconds("user_usec").unwrap_or(0),
        })
    };
    let throttled = nanoseconds("throttled_usec").map_or_else(|| of("throttled_time"), |time| json!(time));
    json!({
        "usage": usage,
        "throttling": {
            "periods": of("nr_periods"), "throttledPeriods": of("nr_throttled"), "throttledTime": throttled,
        },
    })
}

fn cpuset(groups: &[Group]) -> Value {
    let (files, is_v1) = files(groups, "cpuset");
    let list = |v1: &str, v2: &str| {
        let text = files.text(if is_v1 { v1 } else { v2 }).unwrap_or_default();
        let range = |word: &str| {
            let (first, last) = word.trim().split_once('-').unwrap_or((word.trim(), word.trim()));
            Some(first.parse::<u16>().ok()?..=last.parse().ok()?)
        };
        text.split(',').filter_map(range).flatten().collect::<Vec<_>>()
    };
    json!({
        "cpus": list("cpuset.cpus", "cpuset.cpus.effective"),
        "mems": list("cpuset.mems", "cpuset.mems.effective"),
    })
}

fn memory(groups: &[Group]) -> Value {
    let (files, is_v1) = files(groups, "memory");
    let stat = files.table("memory.stat");
    let v1 = |prefix: &str| {
        let file = |name: &str| files.number(&format!("memory.{prefix}{name}"));
        json!({
            "limit": file("limit_in_bytes").unwrap_or(0),
            "usage": file("usage_in_bytes"),
            "max": file("max_usage_in_bytes"),
            "failcnt": file("failcnt").unwrap_or(0),
        })
    };
    let v2 = |prefix: &str| {
        let file = |name: &str| files.number(&format!("memory.{prefix}{name}"));
        json!({ "limit": file("max").unwrap_or(0), "usage": file("current"), "max": file("peak"), "failcnt": 0 })
    };
    match is_v1 {
        true => json!({
            "cache": stat.get("cache"),
            "usage": v1(""), "swap": v1("memsw."), "kernel": v1("kmem."), "kernelTCP": v1("kmem.tcp."),
            "raw": stat,
        }),
        false => json!({ "cache": stat.get("file"), "usage": v2(""), "swap": v2("swap."), "raw": stat }),
    }
}

fn pids(groups: &[Group]) -> Value {
    let (files, _) = files(groups, "pids");
    let limit = files.number("pids.max").filter(|limit| *limit != u64::MAX);
    json!({ "current": files.number("pids.current"), "limit": limit.unwrap_or(0) })
}

/// By the size of a page.
fn hugetlb(groups: &[Group]) -> Value {
    let (files, is_v1) = files(groups, "hugetlb");
    let usage = if is_v1 { "usage_in_bytes" } else { "current" };
    let size = |name: String| {
        let size = name.strip_prefix("hugetlb.")?.strip_suffix(usage)?.strip_suffix('.')?;
        (!size.ends_with(".rsvd")).then(|| size.to_owned())
    };
    let sizes = files.names().filter_map(size);
    let one = |size: String| {
        let number = |name: &str| files.number(&format!("hugetlb.{size}.{name}"));
        let (usage, max) = (number(usage), number("max_usage_in_bytes"));
        let failed = files.table(&format!("hugetlb.{size}.events")).get("max").and_then(Value::as_u64);
        let failed = number("failcnt").or(failed);
        (size, json!({ "usage": usage, "max": max, "failcnt": failed }))
    };
    sizes.map(one).collect::<Map<_, _>>().into()
}

/// A line of `file` has the device, and then what is done to it and how much.
fn blkio(groups: &[Group]) -> Value {
    let (files, is_v1) = files(groups, if has(groups, "blkio") { "blkio" } else { "io" });
    let entry = |device: &str, op: &str, value: &str| {
        let (major, minor) = device.split_once(':')?;
        let number = |word: &str| word.parse::<u64>().ok();
        Some(json!({ "major": number(major)?, "minor": number(minor)?, "op": op, "value": number(value)? }))
    };
    if is_v1 {
        let list = |name: &str| {
            let text = files.text(name).unwrap_or_default();
            let parse = |line: &str| {
                let words: Vec<_> = line.split(' ').collect();
                if let [device, op, value] = words[..] { entry(device, op, value) } else { None }
            };
            text.lines().filter_map(parse).collect::<Vec<_>>()
        };
        return json!({
            "ioServiceBytesRecursive": list("blkio.throttle.io_service_bytes_recursive"),
            "ioServicedRecursive": list("blkio.throttle.io_serviced_recursive"),
        });
    }
    let list = |wanted: [(&str, &str); 2]| {
        let text = files.text("io.stat").unwrap_or_default();
        let of_line = |line: &str| -> Vec<Value> {
            let mut words = line.split(' ');
            let device = words.next().unwrap_or_default().to_owned();
            let parse = |word: &str| {
                let (key, value) = word.split_once('=')?;
                let (_, op) = wanted.iter().find(|(name, _)| *name == key)?;
                entry(&device, op, value)
            };
            words.filter_map(parse).collect()
        };
        text.lines().flat_map(of_line).collect::<Vec<_>>()
    };
    json!({
        "ioServiceBytesRecursive": list([("rbytes", "Read"), ("wbytes", "Write")]),
        "ioServicedRecursive": list([("rios", "Read"), ("wios", "Write")]),
    })
}

fn has(groups: &[Group], controller: &str) -> bool {
    groups
        .iter()
        .any(|group| group.controllers.as_ref().is_some_and(|all| all.iter().any(|one| one == controller)))
}

//! What is closed by default: what /proc and /sys tell of the host, keys, devices, processes without end.

use super::{
    lab::{self, RUBBER, code, is_root, rubber, run, say, store, text},
    limits::{is_v2, layers_with_groups},
};
use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
    process::Command,
};

const FILES: &[&str] = &[
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/timer_list",
    "/proc/timer_stats",
];
const DIRECTORIES: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
    "/sys/devices/system/cpu/cpu0/thermal_throttle",
];

fn there<'a>(names: &[&'a str]) -> Vec<&'a str> {
    names.iter().copied().filter(|name| Path::new(name).exists()).collect()
}

#[test]
fn mount_hides_what_is_the_hosts_alone() {
    if super::lab_cannot_run().is_some() {
        return lab::skip_this("no container runs here");
    }
    let files = there(FILES);
    assert!(files.contains(&"/proc/keys"), "{files:?}");
    let mode = fs::metadata("/dev/null").unwrap().mode();
    for file in &files {
        let script =
            format!("test -c {file} && wc -c <{file}; stat -c %t:%T {file}; chmod 600 {file}; umount {file}");
        let output = run(&[], &script);
        assert_eq!(text(&output.stdout), "0\n1:3\n", "{file}: {output:?}");
        assert_eq!(code(&output), 1, "{file}: {output:?}");
    }
    assert_eq!(fs::metadata("/dev/null").unwrap().mode(), mode, "the host's /dev/null was changed");
    for directory in there(DIRECTORIES) {
        let script =
            format!("ls -A {directory} | wc -l; touch {directory}/x || grep {directory} /proc/mounts");
        let output = run(&[], &script);
        let said = text(&output.stdout);
        assert!(said.starts_with("0\n") && said.contains(" ro,"), "{directory}: {output:?}");
    }
    // Asked for, all of it is seen.
    assert_ne!(say(&["--privileged"], "test -f /proc/keys && wc -c </proc/keys"), "0");
    // The paths alone, as docker calls it: the rest is closed as it was.
    let open =
        "test -f /proc/keys && wc -c </proc/keys; awk '$2 ~ \"^/proc.\"' /proc/mounts; touch /sys/x 2>&1";
    let said = say(&["--security-opt", "systempaths=unconfined"], &format!("{open}; true"));
    assert!(!said.starts_with('0') && !said.contains("/proc/sys") && said.contains("Read-only"), "{said}");
}

/// Said where somebody reads it: it is easily typed, and opens the machine.
#[test]
fn privileged_is_told_what_it_opens() {
    if super::lab_cannot_run().is_some() {
        return lab::skip_this("no container runs here");
    }
    let output = rubber(["run", "--explain", "--privileged", "busybox", "true"]).output().unwrap();
    assert!(text(&output.stderr).contains("all capabilities, all devices, all system calls"), "{output:?}");
    assert_eq!(text(&run(&["--privileged"], "true").stderr), "", "a pipe is the command's alone");
}

/// CVE-2025-31133 and its kin: what lies over the files is mounted by root into the container.
#[test]
fn mount_takes_no_other_file_for_null() {
    if !is_root() {
        return lab::skip_this("only root can put something over /dev/null");
    }
    let decoy = tempfile::NamedTempFile::new().unwrap();
    fs::write(decoy.path(), "the host's secret").unwrap();
    say(&[], "true");
    let script = format!(
        "mount --bind {} /dev/null && exec {RUBBER} --root {} run busybox cat /proc/keys </dev/zero",
        decoy.path().display(),
        store().display()
    );
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output().unwrap();
    assert_eq!(code(&output), 125, "{output:?}");
    assert!(text(&output.stderr).contains("the host's /dev/null is not the device 1:3"), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

/// Without a network of its own an ordinary user's container sees the host's /sys, cgroups and all.
#[test]
fn mount_lends_sys_read_only_all_the_way_down() {
    let table = say(&["--without", "net"], "cat /proc/self/mountinfo");
    for line in table.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        if fields[4].starts_with("/sys") {
            assert!(fields[5].split(',').any(|option| option == "ro"), "{line}");
        }
    }
}

/// A loop device that holds a secret, and is gone in the end.
struct Disk(String, #[allow(dead_code)] tempfile::NamedTempFile);

impl Disk {
    fn new() -> Option<Disk> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), [b's'; 65536]).unwrap();
        let output = Command::new("losetup").args(["-f", "--show"]).arg(file.path()).output().ok()?;
        let name = text(&output.stdout).trim().to_owned();
        output.status.success().then_some(Disk(name, file))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

#[test]
fn devices_are_those_that_are_given() {
    if !is_root() {
        return lab::skip_this("an ordinary user makes no nodes, and the host's are opened by their owners");
    }
    let Some(disk) = Disk::new() else { return lab::skip_this("no loop device to be had") };
    let about = fs::metadata(&disk.0).unwrap();
    assert!(about.file_type().is_block_device());
    let (major, minor) = (nix::sys::stat::major(about.rdev()), nix::sys::stat::minor(about.rdev()));
    let read =
        format!("mknod /dev/x b {major} {minor} && dd if=/dev/x bs=4 skip=9 count=1 2>/dev/null; echo; ");
    let write = "echo w >>/dev/x && echo written";
    let tried = |flags: &[&str]| {
        let output = run(flags, &format!("{read}{write}"));
        text(&output.stdout).replace('\n', " ").trim().to_owned()
    };
    assert_eq!(tried(&[]), "");
    assert_eq!(tried(&["--without", "devices"]), "ssss written");
    assert_eq!(tried(&["--privileged"]), "ssss written");
    let rule = format!("b {major}:{minor} rm");
    assert_eq!(tried(&["--device-cgroup-rule", &rule]), "ssss");
    assert_eq!(tried(&["--device-cgroup-rule", &format!("b {major}:* wm")]), "written");
    assert_eq!(tried(&["--device-cgroup-rule", &format!("b {}:* rwm", major + 1)]), "");
    assert_eq!(tried(&["--device-cgroup-rule", &format!("c {major}:{minor} rwm")]), "");
    assert_eq!(tried(&["--device-cgroup-rule", "a *:* rwm"]), "ssss written");
    for (mode, expected) in [("", "ssss written"), (":r", "ssss"), (":w", "written"), (":rw", "ssss written")]
    {
        let device = format!("{}:/dev/x{mode}", disk.0);
        let output = run(
            &["--device", &device],
            &format!("dd if=/dev/x bs=4 skip=9 count=1 2>/dev/null; echo; {write}"),
        );
        assert_eq!(text(&output.stdout).replace('\n', " ").trim(), expected, "{mode}: {output:?}");
    }
    // All that is there by default works.
    let script = "for d in null zero full random urandom; do head -c 1 /dev/$d >/dev/null || exit 1; done; echo >/dev/null";
    say(&[], script);
    // And so it is for whoever joins.
    let name = format!("closed-{}", std::process::id());
    let started = rubber(["run", "-d", "--name", &name, "busybox", "sleep", "100"]).output().unwrap();
    assert!(started.status.success(), "{started:?}");
    let joined = rubber(["exec", &name, "sh", "-c", &read]).output().unwrap();
    rubber(["rm", "-f", &name]).output().unwrap();
    assert_eq!(text(&joined.stdout).trim(), "", "{joined:?}");
}

#[test]
fn devices_rules_that_are_none_are_refused() {
    for rule in [
        "",
        "c",
        "c 1:3",
        "c 1:3 x",
        "d 1:3 r",
        "c 1 r",
        "c 1:3 r r",
        "c -1:3 r",
        "c 4294967296:0 r",
        "c +1:3 r",
        "c :3 r",
    ] {
        let output = run(&["--device-cgroup-rule", rule], "true");
        assert_eq!(code(&output), 125, "{rule:?}");
        assert!(text(&output.stderr).contains("is not as in 'c 189:* rw'"), "{rule:?}: {output:?}");
    }
}

#[test]
fn mount_shows_the_cgroups_that_are_its_own_and_lets_nobody_write() {
    if layers_with_groups().is_empty() {
        return lab::skip_this("no cgroup here that is ours to divide");
    }
    let dir = if is_v2() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/pids" };
    assert_eq!(say(&["--pids-limit", "77"], &format!("cat {dir}/pids.max")), "77");
    // As far up as it sees: there is nobody else, and no file that the host's root has not.
    assert_eq!(say(&[], &format!("find {dir} -type d | wc -l")), "1");
    for attempt in
        ["echo max >DIR/pids.max", "mkdir DIR/x", "mount -o remount,rw DIR", "echo 0 >DIR/cgroup.procs"]
    {
        assert!(!run(&[], &attempt.replace("DIR", dir)).status.success(), "{attempt}");
    }
    // What is open is open.
    say(&["--privileged"], &format!("mkdir {dir}/x && rmdir {dir}/x"));
    for flags in [&["--without", "ipc"][..], &["--cgroupns", "host"]] {
        assert_eq!(say(flags, "grep -c cgroup /proc/self/mounts || true"), "0", "{flags:?}");
    }
}

#[test]
fn memory_layer_limits_processes_by_default() {
    if layers_with_groups().is_empty() {
        return lab::skip_this("no cgroup here that is ours to divide");
    }
    let limit = |flags: &[&str]| {
        let name = format!("counted-{}", std::process::id());
        let words = [&["run", "-d", "--name", &name], flags, &["busybox", "sleep", "100"]].concat();
        let output = rubber(words).output().unwrap();
        let id = text(&output.stdout).trim().to_owned();
        let find = if is_v2() { "/sys/fs/cgroup" } else { "/sys/fs/cgroup/pids" };
        let found = Command::new("find").args([find, "-name", &format!("rubber-{id}")]).output().unwrap();
        let found = text(&found.stdout);
        let max = fs::read_to_string(Path::new(found.lines().next().unwrap_or_default()).join("pids.max"));
        rubber(["rm", "-f", &name]).output().unwrap();
        max.unwrap_or_default().trim().to_owned()
    };
    assert_eq!(limit(&[]), "2048");
    assert_eq!(limit(&["--pids-limit", "77"]), "77");
    assert_eq!(limit(&["--pids-limit", "-1"]), "max");
}

//! What the kernel says of a command at the moment of its execve(2), put down so that two starts can be compared.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

/// Of a container's command, which is the process whose environment has its hostname in it; `None` of others.
pub fn of(pid: i32) -> Option<String> {
    let process = format!("/proc/{pid}");
    let read = |file: &str| {
        let bytes = fs::read(format!("{process}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', "\n")
    };
    let environment = read("environ");
    if !environment.contains("HOSTNAME=") {
        return None;
    }
    let mut picture = String::new();
    let mut tell = |what: &str, text: String| {
        picture += &format!("== {what}\n{text}\n");
    };
    tell("environment", environment);
    tell("status", status(&read("status")));
    tell("limits", read("limits"));
    tell("oom_score_adj", read("oom_score_adj"));
    tell("mounts", mounts(&read("mountinfo")));
    tell("namespaces", namespaces(&process));
    tell("cgroups", cgroups(&read("cgroup")));
    tell("descriptors", names(&format!("{process}/fd")));
    tell("session", (read("stat").split(' ').nth(5) == Some(&pid.to_string())).to_string());
    for link in ["cwd", "exe"] {
        tell(link, format!("{:?}", fs::read_link(format!("{process}/{link}"))));
    }
    for file in ["hosts", "hostname", "resolv.conf"] {
        tell(file, read(&format!("root/etc/{file}")));
    }
    tell("/dev", devices(&format!("{process}/root/dev")));
    let keys = read("attr/apparmor/current");
    tell("confined", keys);
    Some(without_id(&picture))
}

fn status(text: &str) -> String {
    let told = ["Umask", "Uid", "Gid", "Groups", "Sig", "Shd", "Cap", "NoNewPrivs", "Seccomp"];
    let lines = text.lines().filter(|line| told.iter().any(|name| line.starts_with(name)));
    // SigQ counts all of the user's.
    lines.filter(|line| !line.starts_with("SigQ")).collect::<Vec<_>>().join("\n")
}

/// Without the numbers that are new each time.
fn mounts(text: &str) -> String {
    let line = |line: &str| {
        let (mount, kind) = line.split_once(" - ").unwrap_or((line, ""));
        format!("{} - {kind}", mount.splitn(4, ' ').nth(3).unwrap_or_default())
    };
    // Peers of the host have a number, too.
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn namespaces(process: &str) -> String {
    let whose = |name: &str| {
        let of = |process: &str| fs::read_link(format!("{process}/ns/{name}")).ok();
        let word = if of(process) == of("/proc/self") { "host" } else { "own" };
        format!("{name} {word}")
    };
    ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"].map(whose).join("\n")
}

/// Where it is, and what it may use there.
fn cgroups(text: &str) -> String {
    const FILES: &[&str] =
        &["memory.limit_in_bytes", "memory.max", "pids.max", "cpu.cfs_quota_us", "cpu.max", "devices.list"];
    let line = |line: &str| {
        let mut words = line.splitn(3, ':').skip(1);
        let (controllers, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let tree = Path::new("/sys/fs/cgroup").join(controllers);
        let dir = tree.join(path.trim_start_matches('/'));
        let value = |file: &&str| fs::read_to_string(dir.join(file)).map(|text| format!("  {file} {text}"));
        let values = match path.contains("rubber-") {
            true => FILES.iter().flat_map(value).collect(),
            false => String::new(),
        };
        format!("{controllers} {path}\n{values}")
    };
    text.lines().map(line).collect()
}

fn names(dir: &str) -> String {
    let mut names: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().collect::<Vec<_>>();
    names.sort_by_key(|entry| entry.file_name());
    names.iter().map(|entry| format!("{:?} ", entry.file_name())).collect()
}

fn devices(dir: &str) -> String {
    let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().collect::<Vec<_>>();
    entries.sort_by_key(|entry| entry.file_name());
    let line = |entry: &fs::DirEntry| {
        let about = entry.metadata().ok()?;
        let number = if about.file_type().is_char_device() { about.rdev() } else { 0 };
        Some(format!("{:?} {:o} {number:x}", entry.file_name(), about.mode()))
    };
    entries.iter().filter_map(line).collect::<Vec<_>>().join("\n")
}

/// Its id is another each time: twelve digits, everywhere.
fn without_id(text: &str) -> String {
    let Some(at) = text.find("HOSTNAME=") else { return text.into() };
    let is_id = |word: &str| word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hostname = text[at + 9..].lines().next().unwrap_or_default();
    let id = match is_id(hostname) {
        true => Some(hostname),
        false => text.split(|letter: char| !letter.is_ascii_alphanumeric()).find(|word| is_id(word)),
    };
    id.map_or(text.into(), |id| text.replace(id, "ID"))
}

//! The kernel's numbers by name.

use super::Rlimit;
use nix::sys::signal::Signal;
use std::sync::LazyLock;

/// The eight kinds of namespace, as /proc/PID/ns names them, and the inode number of the one
/// the machine booted with. These numbers are fixed in the kernel (linux/nsfs.h; the first
/// two since 6.18 only). Namespaces made later are numbered from 0xF0000000 up, so no other
/// can ever have one of these.
pub const NAMESPACES: &[(&str, u64)] = &[
    ("mnt", 0xEFFF_FFF8),
    ("net", 0xEFFF_FFF9),
    ("uts", 0xEFFF_FFFE),
    ("ipc", 0xEFFF_FFFF),
    ("pid", 0xEFFF_FFFC),
    ("cgroup", 0xEFFF_FFFB),
    ("user", 0xEFFF_FFFD),
    ("time", 0xEFFF_FFFA),
];

/// Our name of each capability set and the kernel's in /proc/PID/status.
pub const CAPABILITY_SETS: &[(&str, &str)] = &[
    ("effective", "CapEff"),
    ("permitted", "CapPrm"),
    ("inheritable", "CapInh"),
    ("bounding", "CapBnd"),
    ("ambient", "CapAmb"),
];

/// By number, which is also their order in /proc/PID/limits.
pub const RLIMITS: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];

static CAPABILITIES: LazyLock<Vec<(u8, String)>> = LazyLock::new(|| {
    let mut names: Vec<_> = caps::all().iter().map(|cap| (cap.index(), cap.to_string())).collect();
    names.sort();
    names
});

/// The capabilities in a set by name; one newer than rubber by its number.
pub fn capabilities(set: u64) -> Vec<String> {
    let name = |bit: u8| match CAPABILITIES.binary_search_by_key(&bit, |(index, _)| *index) {
        Ok(found) => CAPABILITIES[found].1.clone(),
        Err(_) => format!("CAP_{bit}"),
    };
    (0..64).filter(|bit| set >> bit & 1 == 1).map(name).collect()
}

/// The signals in a mask, where bit 0 is signal 1.
pub fn signals(mask: u64) -> Vec<String> {
    (1..=64).filter(|number| mask >> (number - 1) & 1 == 1).map(signal).collect()
}

fn signal(number: i32) -> String {
    match (number, Signal::try_from(number)) {
        (_, Ok(signal)) => signal.as_str().to_owned(),
        // The C library keeps 32 and 33 for itself and begins to count at 34.
        (34, _) => "SIGRTMIN".to_owned(),
        (35.., _) => format!("SIGRTMIN+{}", number - 34),
        _ => format!("SIG{number}"),
    }
}

/// `/proc/PID/limits` in the order of `RLIMITS`. Each line begins with words of its own, so
/// the two values are found from the end of the label, which is 26 columns wide.
pub fn rlimits(limits: &str) -> std::collections::BTreeMap<String, Rlimit> {
    let value = |word: Option<&str>| word.and_then(|word| word.parse().ok());
    let rows = limits.lines().skip(1).map(|line| {
        let mut words = line.get(25..).unwrap_or_default().split_whitespace();
        Rlimit { soft: value(words.next()), hard: value(words.next()) }
    });
    RLIMITS.iter().map(|name| name.to_string()).zip(rows).collect()
}

pub fn seccomp(mode: u32) -> String {
    match mode {
        0 => "disabled".to_owned(),
        1 => "strict".to_owned(),
        2 => "filter".to_owned(),
        other => format!("mode {other}"),
    }
}

pub fn state(letter: &str) -> String {
    let word = match letter {
        "R" => "running",
        "S" => "sleeping",
        "D" => "waiting, not interruptible",
        "T" => "stopped",
        "t" => "traced",
        "Z" => "zombie",
        "X" => "dead",
        "I" => "idle",
        other => other,
    };
    word.to_owned()
}

/// The terminal with this number of proc_pid_stat(5), field 7; none is 0.
pub fn tty(number: i32) -> Option<String> {
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    match (major, minor) {
        (0, _) => None,
        (136..=143, _) => Some(format!("/dev/pts/{}", (major - 136) * 256 + minor)),
        (4, 0..64) => Some(format!("/dev/tty{minor}")),
        (4, _) => Some(format!("/dev/ttyS{}", minor - 64)),
        (5, 1) => Some("/dev/console".to_owned()),
        _ => Some(format!("device {major}:{minor}")),
    }
}

//! The eight namespaces, and which of them are the host's.

use super::{
    Facts, calls, names,
    proc::{Proc, because},
};
use std::{fs, io, path::Path};

const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

pub fn read(proc: &Proc, facts: &mut Facts) {
    facts.kernel = facts.note("kernel", calls::release());
    for &(kind, fixed) in names::NAMESPACES {
        let found = facts.note(&format!("ns.{kind}"), inode(&proc.path("ns").join(kind)));
        let host = found.and_then(|inode| is_host(facts, kind, inode, fixed));
        if found.is_some() && host.is_none() {
            let reason = "this kernel gives it no fixed number, and pid 1 cannot be compared with";
            facts.unreadable.insert(format!("ns_host.{kind}"), reason.to_owned());
        }
        facts.ns.insert(kind.to_owned(), found);
        facts.ns_host.insert(kind.to_owned(), host);
    }
    for kind in ["pid", "time"] {
        read_for_children(proc, facts, kind);
    }
    let offsets = proc.text("timens_offsets").map(|text| text.lines().filter_map(offset).collect());
    facts.time_offsets = facts.note("time_offsets", offsets);
}

/// A clock, whole seconds, and nanoseconds on top.
fn offset(line: &str) -> Option<(String, f64)> {
    let [clock, seconds, nanoseconds] = line.split_whitespace().collect::<Vec<_>>().try_into().ok()?;
    let offset = seconds.parse::<f64>().ok()? + nanoseconds.parse::<f64>().ok()? / 1e9;
    Some((clock.to_owned(), offset))
}

/// A process can have unshared a namespace it is not itself in: only its children will be.
fn read_for_children(proc: &Proc, facts: &mut Facts, kind: &str) {
    let name = format!("{kind}_for_children");
    let Some(of_itself) = facts.ns(kind) else { return };
    let found = match inode(&proc.path("ns").join(&name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && kind == "pid" => {
            Err(because("unshared, but no process is in it yet"))
        }
        found => found,
    };
    match found {
        Ok(inode) if inode == of_itself => (),
        found => {
            let found = facts.note(&format!("ns.{name}"), found);
            facts.ns.insert(name, found);
        }
    }
}

/// The number in a link such as `uts:[4026531838]`.
pub fn inode(link: &Path) -> io::Result<u64> {
    let target = fs::read_link(link)?;
    let number = target.to_str().and_then(|text| text.split_once(":[")?.1.strip_suffix(']')?.parse().ok());
    number.ok_or_else(|| because(format!("not a namespace: {}", target.display())))
}

fn is_host(facts: &Facts, kind: &str, inode: u64, fixed: u64) -> Option<bool> {
    let always_fixed = !matches!(kind, "mnt" | "net");
    if inode == fixed || always_fixed || release_at_least(facts.kernel.as_deref()?, (6, 18)) {
        return Some(inode == fixed);
    }
    // Older kernels number these two like any other. Then pid 1's are the host's, if the
    // pid 1 we see is the machine's and we may look.
    let ours = self::inode(Path::new("/proc/self/ns/pid")).ok()?;
    let first = self::inode(&Path::new("/proc/1/ns").join(kind)).ok()?;
    (ours == INITIAL_PID_NAMESPACE).then_some(inode == first)
}

fn release_at_least(release: &str, least: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_compared_by_number() {
        assert!(release_at_least("6.18.44-fc", (6, 18)));
        assert!(release_at_least("7.0-rc1", (6, 18)));
        assert!(!release_at_least("6.9.1", (6, 18)));
        assert!(!release_at_least("nonsense", (6, 18)));
    }
}

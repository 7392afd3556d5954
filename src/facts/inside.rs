//! Hostname and interfaces: what the kernel tells only to those who are in the namespace.
//!
//! For a process in other namespaces than ours, a child goes in, looks, tells and ends.

use super::{Facts, Interface, calls, namespaces, proc::Proc};
use std::{fs::File, io, path::Path};

pub fn read(proc: &Proc, facts: &mut Facts) {
    let names = match same(proc, facts, "uts") {
        true => calls::uname(),
        false => doors(proc, "uts").and_then(|doors| calls::after_entering(&doors, calls::uname)),
    };
    let names = facts.note("hostname", names);
    (facts.hostname, facts.domainname) = names.unzip();

    let interfaces = match same(proc, facts, "net") {
        true => calls::interfaces(),
        false => doors(proc, "net").and_then(|doors| calls::after_entering(&doors, calls::interfaces)),
    };
    // Without a way in there are still the names.
    let interfaces = interfaces.or_else(|error| {
        let named = named(&proc.text("net/dev")?);
        facts.note::<()>("interfaces.up", Err(error));
        Ok(named)
    });
    facts.interfaces = facts.note("interfaces", interfaces);
}

fn same(proc: &Proc, facts: &Facts, kind: &str) -> bool {
    let ours = || namespaces::inode(&Path::new("/proc/self/ns").join(kind)).ok();
    proc.is_own() || (facts.ns(kind).is_some() && facts.ns(kind) == ours())
}

/// What to enter, in order: an ordinary user is allowed into the namespace only from
/// within the user namespace that owns it.
fn doors(proc: &Proc, kind: &str) -> io::Result<Vec<File>> {
    ["user", kind].iter().map(|name| File::open(proc.path("ns").join(name))).collect()
}

/// The names in the first column of /proc/net/dev, below two lines of heading.
fn named(table: &str) -> Vec<Interface> {
    let names = table.lines().skip(2).filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| Interface { name: name.trim().to_owned(), up: None, addresses: vec![] }).collect()
}

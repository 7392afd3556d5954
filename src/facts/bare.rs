//! Where there is no /proc, as in a root of one file: what a process learns by asking
//! with system calls alone.

use super::{
    Facts, Ids, Rlimit, calls, mounts, names,
    proc::{because, text},
};
use nix::{
    sys::{prctl, stat},
    unistd::{self, ResGid, ResUid},
};
use std::{env, ffi::OsString, os::unix::ffi::OsStringExt, path::Path};

/// Everything these would tell stands in /proc only.
const ONLY_IN_PROC: &[&str] = &[
    "pids",
    "started",
    "state",
    "exe",
    "tty",
    "ns",
    "mounts",
    "cgroup",
    "uid_map",
    "gid_map",
    "setgroups",
    "oom_score_adj",
    "count.processes",
    "root.path",
];

/// What can be told of ourselves without /proc; `why` there is none.
pub fn read(why: &str) -> Facts {
    let mut facts = Facts::default();
    for field in ONLY_IN_PROC {
        facts.unreadable.insert(field.to_string(), why.to_owned());
    }
    facts.pid = Some(unistd::getpid().as_raw());
    facts.parent = Some(unistd::getppid().as_raw());
    facts.session = unistd::getsid(None).ok().map(|session| session.as_raw());
    facts.name = facts.note("name", prctl::get_name().map_err(Into::into)).map(|name| text(name.as_bytes()));
    facts.command = Some(env::args_os().map(lossless).collect());
    facts.env = Some(env::vars_os().map(|(name, value)| (lossless(name), lossless(value))).collect());
    facts.cwd = facts.note("cwd", env::current_dir()).map(lossless);
    facts.root = facts.note("root", mounts::root(Path::new("/")));
    facts.count.devices = facts.note("count.devices", mounts::devices(Path::new("/dev")));
    let uname = facts.note("hostname", calls::uname());
    (facts.hostname, facts.domainname) = uname.unzip();
    facts.kernel = facts.note("kernel", calls::release());
    facts.interfaces = facts.note("interfaces", calls::interfaces());
    facts.fds = Some(calls::open_fds());
    facts.cpus_allowed = facts.note("cpus_allowed", calls::cpus_allowed());
    read_credentials(&mut facts, why);
    read_masks(&mut facts);
    facts.tally();
    facts
}

fn lossless(string: impl Into<OsString>) -> String {
    text(&string.into().into_vec())
}

fn read_credentials(facts: &mut Facts, why: &str) {
    let (uid_fs, gid_fs) = calls::fs_ids();
    let uid = facts.note("uid", unistd::getresuid().map_err(Into::into));
    facts.uid = uid.map(|ResUid { real, effective, saved }| Ids {
        real: real.as_raw(),
        effective: effective.as_raw(),
        saved: saved.as_raw(),
        fs: uid_fs,
    });
    let gid = facts.note("gid", unistd::getresgid().map_err(Into::into));
    facts.gid = gid.map(|ResGid { real, effective, saved }| Ids {
        real: real.as_raw(),
        effective: effective.as_raw(),
        saved: saved.as_raw(),
        fs: gid_fs,
    });
    let groups = facts.note("groups", unistd::getgroups().map_err(Into::into));
    facts.groups = groups.map(|groups| groups.into_iter().map(|group| group.as_raw()).collect());
    for (set, _) in names::CAPABILITY_SETS {
        let bits = calls::capabilities(set);
        if let Some(bits) = facts.note(&format!("caps.{set}"), bits) {
            facts.capabilities(set, bits);
        }
    }
    facts.no_new_privs = facts.note("no_new_privs", prctl::get_no_new_privs().map_err(Into::into));
    facts.seccomp = facts.note("seccomp", calls::seccomp()).map(names::seccomp);
    // Only that there are filters can be asked here, not how many.
    let filters = if facts.seccomp.as_deref() == Some("disabled") { Ok(0) } else { Err(because(why)) };
    facts.seccomp_filters = facts.note("seccomp_filters", filters);
}

fn read_masks(facts: &mut Facts) {
    // umask(2) can only be asked by setting it. Nobody else runs in this process meanwhile.
    let mask = stat::umask(stat::Mode::empty());
    stat::umask(mask);
    facts.umask = Some(format!("{:04o}", mask.bits()));

    facts.signals.blocked = facts.note("signals.blocked", calls::blocked_signals()).map(names::signals);
    let (ignored, caught) = calls::signal_dispositions();
    facts.signals.ignored = Some(names::signals(ignored));
    facts.signals.caught = Some(names::signals(caught));
    facts.forget_what_the_runtime_ignores();

    let limits =
        names::RLIMITS.iter().zip(0..).map(|(name, number)| (name.to_string(), calls::rlimit(number)));
    facts.rlimits = Some(limits.map(|(name, (soft, hard))| (name, Rlimit { soft, hard })).collect());
}

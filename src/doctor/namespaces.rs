//! The namespaces other than the user namespace, and what is done inside them.

use super::{
    Finding,
    host::{Here, Power, read_number},
    limited, no, ok, powerless,
    probe::{self, Attempt, Refusal, call},
};
use nix::{
    errno::Errno,
    sched::CloneFlags,
    sys::stat::{Mode, SFlag, makedev, mknod},
};
use std::fs;

/// Tries to make a namespace of one type.
pub fn new(here: &Here, flag: CloneFlags, kind: &str) -> Finding {
    let name = match kind {
        "mnt" => "CLONE_NEWNS".into(),
        kind => format!("CLONE_NEW{}", kind.to_uppercase()),
    };
    try_it(
        here,
        || probe::unshare_one(flag, &name),
        &format!("unshare({name})"),
        |refusal| {
            let finding = unavailable(here, refusal, kind);
            // Nothing but one exploration of chapter 14 uses it.
            if kind == "time" { limited(finding.found, finding.fix.unwrap_or_default()) } else { finding }
        },
    )
}

fn unavailable(here: &Here, refusal: &Refusal, kind: &str) -> Finding {
    let setting = format!("user.max_{kind}_namespaces");
    let limit = read_number(format!("/proc/sys/user/max_{kind}_namespaces"));
    match refusal.errno {
        Errno::ENOSPC => {
            let more = limit.unwrap_or(0).saturating_mul(2).max(15000);
            let found = format!("{setting} is {}; {refusal}", limit.unwrap_or(0));
            no(found, format!("{}sysctl -w {setting}={more}", here.sudo()))
        }
        Errno::EINVAL => no(format!("not built into this kernel; {refusal}"), upgrade(here)),
        _ => forbidden(here, refusal),
    }
}

/// The kernel of the distribution has everything; a hand-made or old one may not.
pub fn upgrade(here: &Here) -> String {
    match here.distribution.packages {
        Some(packages) => format!("{0}{1} && {0}reboot", here.sudo(), packages.upgrade_kernel),
        None => "# boot a kernel of version 5.12 or later".into(),
    }
}

/// Something above us says no, and it is not a setting: almost always an outer container.
pub fn forbidden(here: &Here, refusal: &Refusal) -> Finding {
    match (&here.container, &here.power) {
        (Some(container), _) => no(
            format!("the outer container forbids it; {refusal}"),
            format!("{} --privileged …", container.engine),
        ),
        (None, Power::Admin) => {
            no(refusal.to_string(), "exec su -   # a root shell with all its capabilities")
        }
        (None, _) => no(refusal.to_string(), "sudo rubber doctor   # what root can run"),
    }
}

/// A new /proc: it needs the pid namespace, and in a user namespace also that nothing hides part
/// of the old one (mount_namespaces(7)), as engines do.
pub fn own_proc(here: &Here) -> Finding {
    let mount_proc = || {
        probe::leave_mounts()?;
        probe::unshare_one(CloneFlags::CLONE_NEWPID, "CLONE_NEWPID")?;
        probe::attempt(|| probe::mount_at("proc", "/proc", None)) // pid 1 of the new namespace
    };
    try_it(here, mount_proc, "mounted in a new pid namespace", |refusal| {
        match (refusal.errno, &here.container) {
            (Errno::EPERM, Some(container)) => no(
                format!("the outer container hides parts of its own /proc; {refusal}"),
                format!("{} --security-opt systempaths=unconfined …", container.engine),
            ),
            _ => forbidden(here, refusal),
        }
    })
}

pub fn chroot(here: &Here) -> Finding {
    let change_root = || call("chroot(\"/\")", nix::unistd::chroot("/"));
    try_it(here, change_root, "chroot(\"/\")", |refusal| forbidden(here, refusal))
}

pub fn pivot_root(here: &Here) -> Finding {
    let pivot = || {
        probe::leave_mounts()?;
        probe::mount_tmpfs()?;
        probe::pivot()
    };
    try_it(here, pivot, "a tmpfs became the root", |refusal| match refusal.errno {
        Errno::EINVAL => no(
            format!("the root is the initramfs, which cannot be left this way; {refusal}"),
            "exec switch_root DIR /sbin/init   # boot into a real root filesystem",
        ),
        _ => forbidden(here, refusal),
    })
}

/// Makes a node and opens it: a mount may allow the first and not the second.
pub fn devices(here: &Here) -> Finding {
    let make_null = || {
        probe::leave_mounts()?;
        probe::mount_tmpfs()?;
        let mode = Mode::from_bits_truncate(0o666);
        call("mknod(\"null\", 1:3)", mknod("null", SFlag::S_IFCHR, mode, makedev(1, 3)))?;
        call("open(\"null\")", fs::read("null")).map(drop)
    };
    try_it(here, make_null, "mknod works", |refusal| match (&here.power, &here.container) {
        (Power::Admin, Some(container)) if here.first_user_namespace => limited(
            format!("rubber binds the host's nodes; {refusal}"),
            format!("{} --cap-add MKNOD …", container.engine),
        ),
        // In a user namespace this is the rule, and binding is all that a container needs.
        _ => ok(format!("rubber binds the host's nodes; {refusal}")),
    })
}

/// Tries `what` in a child that may make namespaces, and has `explain` put a refusal in words.
pub fn try_it(
    here: &Here,
    what: impl Fn() -> Attempt,
    found: &str,
    explain: impl Fn(&Refusal) -> Finding,
) -> Finding {
    if let Some(finding) = powerless(here) {
        return finding;
    }
    let tried = probe::attempt(|| {
        if let Power::UserNamespace = here.power {
            probe::enter_user_namespace(here.uid, here.gid)?;
        }
        what()
    });
    tried.map_or_else(|refusal| explain(&refusal), |()| ok(found))
}

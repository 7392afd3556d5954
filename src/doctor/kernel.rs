//! The kernel itself: its version, our capabilities, and seccomp.

use super::{
    Finding,
    host::{Here, Power, read, status_field},
    limited,
    namespaces::{forbidden, try_it, upgrade},
    no, ok,
    probe::call,
};
use caps::{CapSet, Capability};
use nix::{errno::Errno, libc, sys::prctl::set_no_new_privs};

/// A system call younger than some kernels in use.
struct Young {
    name: &'static str,
    since: (u32, u32),
    without: &'static str,
    number: libc::c_long,
    arguments: [libc::c_long; 4],
}

/// Each is called in a way that changes nothing: one that exists answers anything but ENOSYS.
#[rustfmt::skip]
const YOUNG: &[Young] = &[
    Young { name: "pidfd_open",  since: (5, 3), without: "a process cannot be held by a descriptor", number: libc::SYS_pidfd_open, arguments: [-1, 0, 0, 0] },
    Young { name: "openat2",     since: (5, 6), without: "no path below a root is safe",             number: libc::SYS_openat2, arguments: [-1, 0, 0, 0] },
    Young { name: "move_mount",  since: (5, 2), without: "nothing can be shared with a container",    number: libc::SYS_move_mount, arguments: [-1, 0, -1, 0] },
    Young { name: "close_range", since: (5, 9), without: "descriptors are closed one by one",        number: libc::SYS_close_range, arguments: [libc::c_long::MAX, 0, -1, 0] },
    Young { name: "mount_setattr", since: (5, 12), without: "what is shared cannot be made read-only", number: libc::SYS_mount_setattr, arguments: [-1, 0, -1, 0] },
];

/// The version, and the calls: a distribution may have brought new calls to an old kernel, and a
/// seccomp filter may hide those of a new one.
pub fn version(here: &Here) -> Finding {
    let version = number(&here.kernel).unwrap_or_default();
    let missing: Vec<&Young> = YOUNG.iter().filter(|young| !exists(young)).collect();
    if let Some(young) = missing.first() {
        let (major, minor) = young.since;
        let found =
            format!("{} has no {}: {}; it came with {major}.{minor}", here.kernel, young.name, young.without);
        let hidden = version >= young.since;
        let fix = match (&here.container, hidden) {
            (Some(container), true) => format!("{} --security-opt seccomp=unconfined …", container.engine),
            _ => upgrade(here),
        };
        return if young.since != (5, 9) { no(found, fix) } else { limited(found, fix) };
    }
    if version < (5, 11) && !matches!(here.power, Power::Admin) {
        let found = format!("{} is older than 5.11; overlay in a user namespace needs that", here.kernel);
        return limited(found, upgrade(here));
    }
    ok(format!("{}; 5.12 or later has everything rubber uses", here.kernel))
}

fn exists(young: &Young) -> bool {
    let [a, b, c, d] = young.arguments;
    // SAFETY: the arguments name no memory but address 0, which the kernel checks, and no
    // descriptor that is open.
    let result = unsafe { libc::syscall(young.number, a, b, c, d) };
    result != -1 || Errno::last() != Errno::ENOSYS
}

/// Major and minor of a release such as "5.10.0-23-amd64".
fn number(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// What root must be able to do, and what for.
#[rustfmt::skip]
const NEEDED: &[(Capability, &str)] = &[
    (Capability::CAP_SYS_ADMIN,  "namespaces and mounts"),
    (Capability::CAP_SYS_CHROOT, "chroot"),
    (Capability::CAP_SETUID,     "--user"),
    (Capability::CAP_SETGID,     "--user"),
    (Capability::CAP_SETPCAP,    "dropping capabilities"),
    (Capability::CAP_MKNOD,      "device nodes"),
    (Capability::CAP_NET_ADMIN,  "the network"),
];

pub fn capabilities(here: &Here) -> Finding {
    match here.power {
        Power::UserNamespace => return ok("all, within a user namespace"),
        Power::Nothing(_) => return super::powerless(here).unwrap_or_else(|| ok("")),
        Power::Admin => {}
    }
    let have = caps::read(None, CapSet::Effective).unwrap_or_default();
    let missing: Vec<_> = NEEDED.iter().filter(|(capability, _)| !have.contains(capability)).collect();
    if missing.is_empty() {
        return ok("all that rubber uses");
    }
    let names = missing.iter().map(|(capability, what)| format!("{capability} ({what})")).collect::<Vec<_>>();
    let fix = match &here.container {
        Some(container) => {
            let flags =
                missing.iter().map(|(c, _)| format!(" --cap-add {}", c.to_string().replace("CAP_", "")));
            format!("{}{} …", container.engine, flags.collect::<String>())
        }
        None => "exec su -   # a root shell with all its capabilities".into(),
    };
    let found = format!("missing {}", names.join(", "));
    if missing.iter().any(|(c, _)| *c == Capability::CAP_SETPCAP) {
        no(found, fix)
    } else {
        limited(found, fix)
    }
}

/// Installs a filter that allows everything; in a child, for it could not be taken off again.
pub fn seccomp(here: &Here) -> Finding {
    let outer = status_field(&read("/proc/self/status"), "Seccomp").is_some_and(|mode| mode == "2");
    let found =
        if outer { "a filter can be added to the one we are under" } else { "a filter can be installed" };
    let filter = || {
        call("prctl(PR_SET_NO_NEW_PRIVS)", set_no_new_privs())?;
        let mut allow = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
        let program = libc::sock_fprog { len: 1, filter: &mut allow };
        // SAFETY: `program` and the one instruction it points to outlive the call.
        let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program) };
        call("prctl(PR_SET_SECCOMP)", Errno::result(result)).map(drop)
    };
    try_it(here, filter, found, |refusal| match refusal.errno {
        Errno::EINVAL | Errno::ENOSYS => no(format!("not built into this kernel; {refusal}"), upgrade(here)),
        _ => forbidden(here, refusal),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_has_two_numbers_that_matter() {
        assert_eq!(number("5.10.0-23-amd64"), Some((5, 10)));
        assert_eq!(number("6.18-rc1"), Some((6, 18)));
        assert_eq!(number("unknown"), None);
    }

    #[test]
    fn a_system_call_that_no_kernel_has_is_missing() {
        let never = Young { name: "", since: (99, 0), without: "", number: 100_000, arguments: [0; 4] };
        assert!(!exists(&never));
        assert!(YOUNG.iter().all(exists));
    }
}

//! User namespaces: whether an ordinary user may have one, and what stands in the way.

use super::{
    Finding,
    host::{Here, Power, read, read_number, status_field},
    limited, no, ok,
    probe::{self, Attempt, Refusal, call},
};
use nix::{
    errno::Errno,
    sched::CloneFlags,
    unistd::{Gid, Uid, setgid, setgroups, sethostname, setuid},
};

/// The one line to print when unshare(CLONE_NEWUSER) failed with `errno`: why, and the fix.
pub fn why_no_user_namespace(errno: Errno) -> String {
    let advice = advise(errno, &Limits::read());
    super::printable(&format!("{}; fix: {}", advice.why, advice.fix))
}

/// A user namespace with the power that makes it worth having: with AppArmor's restriction
/// (Ubuntu 24.04) it can be made, and then every use of a capability in it is refused.
pub fn own(uid: u32, gid: u32) -> Attempt {
    probe::enter_user_namespace(uid, gid)?;
    probe::unshare_one(CloneFlags::CLONE_NEWUTS, "CLONE_NEWUTS")?;
    call("sethostname(\"rubber\")", sethostname("rubber"))
}

/// For the caller, as they are.
pub fn mine(here: &Here) -> Finding {
    match (probe::attempt(|| own(here.uid, here.gid)), &here.power) {
        (Ok(()), _) => ok("one was made, with power in it"),
        (Err(refusal), Power::Admin) => {
            let finding = refused(&refusal);
            limited(format!("{}; not needed to run as root", finding.found), finding.fix.unwrap_or_default())
        }
        (Err(refusal), _) => refused(&refusal),
    }
}

/// For an ordinary user, when root asks: some settings stop only them.
pub fn ordinary(here: &Here) -> Finding {
    if !here.is_host_root() {
        return mine(here);
    }
    const NOBODY: u32 = 65534;
    let tried = probe::attempt(|| {
        call("setgroups([])", setgroups(&[]))?;
        call("setgid(65534)", setgid(Gid::from_raw(NOBODY)))?;
        call("setuid(65534)", setuid(Uid::from_raw(NOBODY)))?;
        // Having changed its ids a process no longer owns its own /proc files: take them back.
        call("prctl(PR_SET_DUMPABLE)", nix::sys::prctl::set_dumpable(true))?;
        own(NOBODY, NOBODY)
    });
    match tried {
        Ok(()) => ok("uid 65534 made one"),
        Err(refusal) if refusal.call.starts_with("set") => {
            limited(format!("cannot be tried here; {refusal}"), "su -s /bin/sh nobody -c 'rubber doctor'")
        }
        Err(refusal) => {
            let finding = refused(&refusal);
            limited(finding.found, finding.fix.unwrap_or_default())
        }
    }
}

pub fn refused(refusal: &Refusal) -> Finding {
    let limits = Limits::read();
    // Since Linux 5.12 whoever maps uid 0 of the outer user namespace needs CAP_SETFCAP there, for
    // its files could otherwise be given capabilities: see user_namespaces(7).
    if refusal.call.contains("uid_map") && limits.root {
        let fix = "docker run --cap-add SETFCAP …   # or start rubber as a user other than root";
        return no(format!("root without CAP_SETFCAP may not map itself; {refusal}"), fix);
    }
    let advice = advise(refusal.errno, &limits);
    no(format!("{}; {refusal}", advice.why), advice.fix)
}

struct Advice {
    why: String,
    fix: String,
}

/// The settings that can forbid a user namespace.
struct Limits {
    /// user.max_user_namespaces, of the user namespace we are in.
    max: Option<u64>,
    /// kernel.unprivileged_userns_clone: Debian's and Arch's switch.
    clone: Option<u64>,
    /// kernel.apparmor_restrict_unprivileged_userns: Ubuntu's.
    apparmor: Option<u64>,
    /// A seccomp filter is on us, so an engine or a sandbox put us here.
    filtered: bool,
    chrooted: bool,
    nested: bool,
    root: bool,
    program: String,
}

impl Limits {
    fn read() -> Limits {
        let sysctl = |name: &str| read_number(format!("/proc/sys/{name}"));
        let program = std::env::current_exe().unwrap_or("/usr/local/bin/rubber".into());
        Limits {
            max: sysctl("user/max_user_namespaces"),
            clone: sysctl("kernel/unprivileged_userns_clone"),
            apparmor: sysctl("kernel/apparmor_restrict_unprivileged_userns"),
            filtered: status_field(&read("/proc/self/status"), "Seccomp").is_some_and(|mode| mode == "2"),
            chrooted: !read("/proc/self/mountinfo").lines().any(|line| line.split(' ').nth(4) == Some("/")),
            nested: !read("/proc/self/uid_map").split_whitespace().eq(["0", "0", "4294967295"]),
            root: Uid::effective().is_root(),
            program: program.display().to_string(),
        }
    }
}

/// Which of the settings it was. The same errno has several causes, so the settings decide.
fn advise(errno: Errno, limits: &Limits) -> Advice {
    let sudo = if limits.root { "" } else { "sudo " };
    let sysctl = |setting: &str| format!("{sudo}sysctl -w {setting}");
    let because = |why: &str, fix: String| Advice { why: why.into(), fix };
    let unconfined = "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined …";
    match errno {
        Errno::ENOSPC | Errno::EUSERS if limits.max == Some(0) => {
            because("user.max_user_namespaces is 0", sysctl("user.max_user_namespaces=15000"))
        }
        Errno::ENOSPC | Errno::EUSERS if limits.nested => because(
            "an outer user namespace's limit is reached, or 32 are nested already",
            "sudo sysctl -w user.max_user_namespaces=15000   # on the host, outside".into(),
        ),
        Errno::ENOSPC | Errno::EUSERS => because(
            "all that user.max_user_namespaces allows are in use",
            sysctl(&format!("user.max_user_namespaces={}", limits.max.unwrap_or(7500).saturating_mul(2))),
        ),
        Errno::EPERM if limits.clone == Some(0) => {
            because("kernel.unprivileged_userns_clone is 0", sysctl("kernel.unprivileged_userns_clone=1"))
        }
        Errno::EPERM | Errno::EACCES if limits.apparmor == Some(1) => because(
            "AppArmor allows user namespaces only to programs it has a profile for",
            profile(sudo, limits),
        ),
        Errno::EPERM | Errno::EACCES | Errno::ENOSYS if limits.filtered => {
            because("a seccomp filter forbids them, as in a container", unconfined.into())
        }
        Errno::EPERM if limits.chrooted => because(
            "inside a chroot no user namespace can be made",
            "exit   # leave the chroot, then again".into(),
        ),
        Errno::EPERM if limits.nested => {
            because("the user namespace we are in does not allow another", "docker run --privileged …".into())
        }
        Errno::EINVAL | Errno::ENOSYS => because(
            "this kernel is built without CONFIG_USER_NS",
            "sudo rubber run …   # as root it needs none".into(),
        ),
        // A chroot into a mount point cannot be told from the real root by an ordinary user.
        _ => because(
            "a security module or a chroot forbids them",
            match limits.root {
                true => "exit   # if this is a chroot, leave it".into(),
                false => "sudo rubber run …   # as root it needs none".into(),
            },
        ),
    }
}

/// A profile that confines nothing and allows just this, for just this program.
fn profile(sudo: &str, limits: &Limits) -> String {
    format!(
        "printf '%s\\n' 'abi <abi/4.0>,' 'include <tunables/global>' 'profile rubber \"{}\" flags=(unconfined) {{' \
         'userns,' '}}' | {sudo}tee /etc/apparmor.d/rubber && {sudo}apparmor_parser -r /etc/apparmor.d/rubber",
        limits.program
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Limits = Limits {
        max: Some(100),
        clone: Some(1),
        apparmor: Some(0),
        filtered: false,
        chrooted: false,
        nested: false,
        root: false,
        program: String::new(),
    };

    fn fix(errno: Errno, limits: Limits) -> String {
        advise(errno, &limits).fix
    }

    #[test]
    fn each_setting_has_its_own_fix() {
        let zero = Limits { max: Some(0), ..FREE };
        assert_eq!(fix(Errno::ENOSPC, zero), "sudo sysctl -w user.max_user_namespaces=15000");
        assert_eq!(fix(Errno::ENOSPC, FREE), "sudo sysctl -w user.max_user_namespaces=200");
        let debian = Limits { clone: Some(0), root: true, ..FREE };
        assert_eq!(fix(Errno::EPERM, debian), "sysctl -w kernel.unprivileged_userns_clone=1");
        let ubuntu = Limits { apparmor: Some(1), program: "/opt/rubber".into(), ..FREE };
        assert!(fix(Errno::EACCES, ubuntu).contains("'profile rubber \"/opt/rubber\" flags=(unconfined) {'"));
        let docker = Limits { filtered: true, ..FREE };
        assert!(fix(Errno::EPERM, docker).starts_with("docker run --security-opt seccomp=unconfined"));
        assert!(fix(Errno::EPERM, Limits { chrooted: true, ..FREE }).starts_with("exit"));
    }
}

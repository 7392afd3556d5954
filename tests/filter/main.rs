//! The seccomp filter, asked by the kernel about every system call: what a container is answered by default, held
//! against podman's default profile, and what becomes of profiles in files.

#[path = "../lab/i386.rs"]
mod i386;
#[path = "../lab/mod.rs"]
mod lab;

mod files;
mod judge;
mod probe;
mod width;

use judge::Profile;
use lab::{is_root, rubber, run, say, text};
use nix::libc;
use probe::{ALLOWED, Answers, KILLED, answers, plain};
use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt,
    path::Path,
};

const PODMANS: &str = "/usr/share/containers/seccomp.json";

/// Where our default and podman's differ, and why. Docker's own default is like ours here, but for what says so.
/// docs/seccomp.md tells the same, and is held to it.
#[rustfmt::skip]
const DIFFERENCES: &[(&str, &str)] = &[
    ("mount umount2 fsopen fsconfig fsmount fspick open_tree move_mount mount_setattr",
        "the kernel refuses them without CAP_SYS_ADMIN, but in a new user namespace everybody has that; docker's as ours"),
    ("unshare", "makes that user namespace, in which more of the kernel can be reached; docker's as ours"),
    ("clone", "the same, by its flags, which podman's does not look at; docker's as ours"),
    ("clone3", "its flags are in memory, which no filter sees: ENOSYS, and programs use clone; docker's as ours"),
    ("keyctl", "keys are in no namespace; docker's as ours, and it is EPERM there, too"),
    ("add_key request_key", "EPERM as docker's, where podman's says ENOSYS"),
    ("pivot_root", "takes CAP_SYS_ADMIN anyhow; docker's as ours"),
    ("reboot", "left to CAP_SYS_BOOT; docker's as ours"),
    ("syslog", "the kernel's log is the host's: left to CAP_SYSLOG; docker's as ours"),
    ("pidfd_getfd", "takes a descriptor out of another process: left to CAP_SYS_PTRACE; docker's as ours"),
    ("get_mempolicy set_mempolicy mbind", "left to CAP_SYS_NICE; docker's as ours"),
    ("socket", "podman's keeps audit's from who lacks CAP_AUDIT_WRITE; ours the hypervisor's (AF_VSOCK) from all; docker's as ours"),
    ("io_uring_setup io_uring_enter io_uring_register",
        "EPERM, as of docker's since version 25, where podman's says ENOSYS"),
    ("open_tree_attr quotactl_fd", "newer than podman's profile, and like open_tree and quotactl: EPERM; docker's has quotactl_fd as ours"),
    ("set_mempolicy_home_node", "newer than podman's profile, and like mbind: EPERM; docker's as ours"),
    ("io_pgetevents", "waits for events, as io_getevents does, which podman's allows; docker's as ours"),
    ("vmsplice", "copies into a pipe, as splice does; docker's as ours"),
    ("cachestat fchmodat2 futex_waitv futex_wake futex_wait futex_requeue getxattrat listxattrat setxattrat removexattrat \
      file_getattr file_setattr mseal map_shadow_stack",
        "newer than podman's profile, and each does what an older call that is allowed does; docker's has the first ones"),
    ("epoll_ctl_old epoll_wait_old", "no kernel has them: ENOSYS from us or from the kernel, it is the same"),
    ("query_module nfsservctl", "gone from the kernel: ENOSYS, as it says itself"),
    ("setns", "podman's profile has it in two lists, once as allowed; docker's as ours"),
];

/// And those that only 32-bit programs have, under the numbers of i386.
#[rustfmt::skip]
const DIFFERENCES_OF_I386: &[(&str, &str)] = &[
    ("umount", "as umount2; docker's as ours"),
    ("signal sigaction sigpending sigsuspend readdir", "older than those that programs make today; docker's as ours"),
    ("io_pgetevents_time64", "as io_pgetevents; docker's as ours"),
];

/// Every number there could be on this machine, by name where it has one.
fn named() -> BTreeMap<u32, String> {
    all_numbers(judge::numbers())
}

fn all_numbers(names: BTreeMap<u32, String>) -> BTreeMap<u32, String> {
    // The kernel makes two of them whatever a filter says, and they end a program that is not traced.
    let kept = |number: &u32| !names.get(number).is_some_and(|name| name.ends_with("probe"));
    (0..600)
        .filter(kept)
        .map(|number| (number, names.get(&number).cloned().unwrap_or(format!("#{number}"))))
        .collect()
}

fn default_answers(flags: &[&str]) -> Option<Answers> {
    answers(flags, &plain(named().into_keys()))
}

#[test]
fn seccomp_numbers_are_the_kernels() {
    for (file, ours) in [("unistd_64.h", judge::numbers()), ("unistd_32.h", judge::numbers_of_i386())] {
        let headers = ["/usr/include/x86_64-linux-gnu/asm", "/usr/include/asm"];
        let header = headers.iter().find_map(|dir| std::fs::read_to_string(Path::new(dir).join(file)).ok());
        let Some(header) = header else {
            return lab::skip_this("the kernel's header is missing: apt-get install linux-libc-dev");
        };
        let ours: BTreeMap<_, _> = ours.into_iter().map(|(number, name)| (name, number)).collect();
        for line in header.lines() {
            let mut words = line.split_whitespace().skip(1);
            let (Some(name), Some(Ok(number))) = (words.next(), words.next().map(str::parse::<u32>)) else {
                continue;
            };
            let Some(name) = name.strip_prefix("__NR_") else { continue };
            assert_eq!(ours.get(name), Some(&number), "{file} {name}");
        }
    }
}

/// Where it says something else than podman's, by name.
fn differing(names: &BTreeMap<u32, String>, ours: &Answers) -> BTreeMap<String, String> {
    let podmans = Profile::read(PODMANS);
    let mut differ = BTreeMap::new();
    for (number, name) in names {
        let (ours, theirs) =
            (ours[&(*number, [0; 5])], podmans.answer(name, &[0; 6], probe::DEFAULT_CAPABILITIES));
        if ours != theirs {
            differ.insert(name.clone(), format!("ours {ours}, podman's {theirs}"));
        }
    }
    differ
}

fn listed(differences: &[(&'static str, &str)]) -> BTreeSet<&'static str> {
    differences.iter().flat_map(|(names, _)| names.split_whitespace()).collect()
}

#[test]
fn seccomp_default_is_podmans_but_for_what_is_listed() {
    if !Path::new(PODMANS).exists() {
        return lab::skip_this(
            "podman's profile is missing: apt-get install golang-github-containers-common",
        );
    }
    let Some(ours) = default_answers(&[]) else { return };
    let mut differ = differing(&named(), &ours);
    let same: Vec<_> =
        listed(DIFFERENCES).into_iter().filter(|name| differ.remove(*name).is_none()).collect();
    assert!(differ.is_empty(), "nobody says why: {differ:?}");
    // Those with arguments: clone for a namespace, a socket to the hypervisor.
    let looks_at = ["clone", "socket"];
    assert!(same.iter().all(|name| looks_at.contains(name)), "they do not differ: {same:?}");
}

#[test]
fn seccomp_default_for_32_bit_programs_is_podmans_but_for_what_is_listed() {
    if !Path::new(PODMANS).exists() {
        return lab::skip_this(
            "podman's profile is missing: apt-get install golang-github-containers-common",
        );
    }
    let names = all_numbers(judge::numbers_of_i386());
    let Some(ours) = probe::answers_to_i386(&[], &plain(names.keys().copied())) else { return };
    let mut differ = differing(&names, &ours);
    let same: Vec<_> =
        listed(DIFFERENCES_OF_I386).into_iter().filter(|name| differ.remove(*name).is_none()).collect();
    differ.retain(|name, _| !listed(DIFFERENCES).contains(name.as_str()));
    assert!(differ.is_empty(), "nobody says why: {differ:?}");
    assert!(same.is_empty(), "they do not differ: {same:?}");
}

#[test]
fn seccomp_arguments_are_looked_at() {
    let number = |name: &str| judge::number(name);
    let asked = [
        (number("clone"), [libc::SIGCHLD as u64, 0, 0, 0, 0], ALLOWED),
        (number("clone"), [libc::CLONE_NEWUSER as u64 | libc::SIGCHLD as u64, 0, 0, 0, 0], libc::EPERM),
        (number("clone"), [libc::CLONE_NEWNS as u64, 0, 0, 0, 0], libc::EPERM),
        (number("clone"), [libc::CLONE_NEWNET as u64, 0, 0, 0, 0], libc::EPERM),
        (number("clone"), [libc::CLONE_NEWCGROUP as u64, 0, 0, 0, 0], libc::EPERM),
        // Threads, as the C library makes them.
        (number("clone"), [0x3d0f00, 0, 0, 0, 0], ALLOWED),
        (number("clone"), [0x1_0000_0000, 0, 0, 0, 0], ALLOWED),
        (number("personality"), [0, 0, 0, 0, 0], ALLOWED),
        (number("personality"), [0xffff_ffff, 0, 0, 0, 0], ALLOWED),
        (number("personality"), [0x2_0008, 0, 0, 0, 0], ALLOWED),
        // ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC, and the same with an upper half, which the kernel does not look at.
        (number("personality"), [0x4_0000, 0, 0, 0, 0], libc::EPERM),
        (number("personality"), [0x40_0000, 0, 0, 0, 0], libc::EPERM),
        (number("personality"), [0x1_0004_0000, 0, 0, 0, 0], libc::EPERM),
        (number("personality"), [0x1_0000_0000, 0, 0, 0, 0], ALLOWED),
        (number("socket"), [libc::AF_INET as u64, 1, 0, 0, 0], ALLOWED),
        (number("socket"), [libc::AF_VSOCK as u64, 1, 0, 0, 0], libc::EPERM),
        (number("socket"), [libc::AF_VSOCK as u64 | 1 << 32, 1, 0, 0, 0], libc::EPERM),
        (number("socket"), [libc::AF_UNIX as u64, 1, 0, 0, 0], ALLOWED),
    ];
    let questions: Vec<_> = asked.iter().map(|(number, arguments, _)| (*number, *arguments)).collect();
    let Some(answers) = answers(&[], &questions) else { return };
    for (number, arguments, expected) in asked {
        assert_eq!(answers[&(number, arguments)], expected, "{} {arguments:x?}", named()[&number]);
    }
}

/// A capability opens the calls it is for; what else the kernel wants to know is its business.
#[test]
fn seccomp_default_heeds_capabilities() {
    let cases = [
        ("SYS_ADMIN", "mount umount2 unshare setns clone3 bpf perf_event_open syslog sethostname fsopen"),
        ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise"),
        ("SYS_TIME", "settimeofday clock_settime"),
        ("DAC_READ_SEARCH", "open_by_handle_at"),
        ("SYSLOG", "syslog"),
        ("ALL", "reboot init_module acct iopl vhangup mbind"),
    ];
    for (capability, names) in cases {
        let numbers: Vec<_> = names.split(' ').filter_map(judge::number_here).collect();
        let questions = plain(numbers.iter().copied());
        let Some(without) = answers(&[], &questions) else { return };
        let with = answers(&["--cap-add", capability], &questions).unwrap();
        for number in numbers {
            let key = (number, [0; 5]);
            assert_ne!(without[&key], ALLOWED, "{capability} {}", named()[&number]);
            assert_eq!(with[&key], ALLOWED, "{capability} {}", named()[&number]);
        }
    }
    let chroot = plain([judge::number("chroot")]);
    assert_eq!(answers(&["--cap-drop", "SYS_CHROOT"], &chroot).unwrap()[&chroot[0]], libc::EPERM);
    // Never, whatever it has.
    let never = plain(["kexec_load", "keyctl", "userfaultfd"].map(judge::number));
    let with_all = answers(&["--cap-add", "ALL"], &never).unwrap();
    assert!(with_all.values().all(|answer| *answer == libc::EPERM), "{with_all:?}");
}

/// In an image that is made for them, and by their own numbers.
#[test]
fn seccomp_default_lets_32_bit_programs_run_in_their_images() {
    let Some(image) = i386::image() else { return };
    let runs = |flags: &[&str], image: &str| {
        let words = [&["run"], flags, &[image, "sh", "-c", "/bin/i386; echo $?"]].concat();
        text(&rubber(words).output().unwrap().stdout)
    };
    let ends = |code: i32| format!("{}{code}\n", i386::SAYS);
    assert_eq!(runs(&[], image), ends(libc::EPERM));
    assert_eq!(runs(&["--cap-add", "SYS_ADMIN"], image), ends(i386::UNFILTERED));
    assert_eq!(runs(&["--security-opt", "seccomp=unconfined"], image), ends(i386::UNFILTERED));
    assert_eq!(runs(&["--security-opt", "no-new-privileges"], image), ends(libc::EPERM));
    assert_eq!(runs(&["--privileged", "--security-opt", "seccomp=builtin"], image), ends(i386::UNFILTERED));
    // In any other the first call is the end.
    let dir = tempfile::tempdir().unwrap();
    i386::program(&dir.path().join("i386"));
    let volume = format!("{}:/bin/i386:ro", dir.path().join("i386").display());
    assert_eq!(runs(&["-v", &volume], "busybox"), "159\n");
}

/// Whoever joins such a container is under the same filter.
#[test]
fn seccomp_is_the_same_for_32_bit_programs_that_join_later() {
    let Some(image) = i386::image() else { return };
    let name = format!("filtered-386-{}", std::process::id());
    let started = rubber(["run", "-d", "--name", &name, image, "busybox", "sleep", "100"]).output().unwrap();
    assert!(started.status.success(), "{started:?}");
    let joined = rubber(["exec", &name, "/bin/i386"]).output().unwrap();
    let removed = rubber(["rm", "-f", &name]).output().unwrap();
    assert!(removed.status.success(), "{removed:?}");
    assert_eq!((text(&joined.stdout).as_str(), joined.status.code()), (i386::SAYS, Some(libc::EPERM)));
}

/// What a 32-bit call asks for is seen where its arguments are, and not where they are in memory.
#[test]
fn seccomp_arguments_of_32_bit_programs_are_looked_at() {
    let number = judge::number_of_i386;
    let (vsock, new_user) = (libc::AF_VSOCK as u64, libc::CLONE_NEWUSER as u64);
    let asked = [
        (number("clone"), [libc::SIGCHLD as u64, 0, 0, 0, 0], ALLOWED),
        (number("clone"), [new_user, 0, 0, 0, 0], libc::EPERM),
        (number("clone3"), [0; 5], libc::ENOSYS),
        (number("personality"), [0xffff_ffff, 0, 0, 0, 0], ALLOWED),
        (number("personality"), [0x4_0000, 0, 0, 0, 0], libc::EPERM),
        (number("socket"), [libc::AF_INET as u64, 1, 0, 0, 0], ALLOWED),
        (number("socket"), [vsock, 1, 0, 0, 0], libc::EPERM),
        (number("socketcall"), [1, 0, 0, 0, 0], ALLOWED),
        (number("ipc"), [23, 0, 0, 0, 0], ALLOWED),
    ];
    let questions: Vec<_> = asked.iter().map(|(number, arguments, _)| (*number, *arguments)).collect();
    let Some(answers) = probe::answers_to_i386(&[], &questions) else { return };
    for (number, arguments, expected) in asked {
        assert_eq!(answers[&(number, arguments)], expected, "{number} {arguments:x?}");
    }
}

#[test]
fn seccomp_refuses_other_machines_calls() {
    let Some(outcomes) = probe::foreign(&[]) else { return };
    assert_eq!(outcomes["x32"], libc::ENOSYS);
    assert_eq!(outcomes["beyond"], libc::ENOSYS);
    assert_eq!(outcomes["minus one"], libc::ENOSYS);
    // A profile that names no other machine: a 32-bit call is the end.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("profile.json");
    std::fs::write(&file, r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#).unwrap();
    let old = |option: &str| probe::foreign(&["--security-opt", option]).unwrap().get("int80").copied();
    if old("seccomp=unconfined").is_none_or(|open| open == KILLED) {
        return lab::skip_this("this kernel does not run 32-bit x86 programs");
    }
    assert_eq!(old(&format!("seccomp={}", file.display())), Some(KILLED), "a 32-bit call was answered");
}

/// Seccomp and no_new_privs as /proc has them: mode, filters of ours, and the promise.
fn status(flags: &[&str]) -> (i32, i32, i32) {
    let script = "grep -E '^(NoNewPrivs|Seccomp|Seccomp_filters):' /proc/self/status";
    let said = say(flags, script);
    let field = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or("0");
        line.trim().parse::<i32>().unwrap()
    };
    (field("Seccomp"), field("Seccomp_filters"), field("NoNewPrivs"))
}

#[test]
fn seccomp_can_be_left_out_and_is_told_apart_from_the_promise() {
    let (mode, hosts, promised) = status(&["--without", "seccomp"]);
    let plain = status(&[]);
    assert_eq!(plain, (2, hosts + 1, promised));
    assert_eq!(status(&["--security-opt", "no-new-privileges"]), (2, hosts + 1, 1));
    assert_eq!(status(&["--security-opt", "no-new-privileges:true"]).2, 1);
    assert_eq!(status(&["--security-opt", "seccomp=unconfined"]), (mode, hosts, promised));
    assert_eq!(status(&["--privileged"]), (mode, hosts, promised));
    let both = ["--security-opt", "seccomp=unconfined", "--security-opt", "no-new-privileges"];
    assert_eq!(status(&both), (mode, hosts, 1));
    // An order of its own: --privileged takes the default away, not what was asked for.
    assert_eq!(status(&["--privileged", "--security-opt", "seccomp=builtin"]).0, 2);
    let output = run(&["--without", "seccomp", "--security-opt", "no-new-privileges"], "true");
    assert!(text(&output.stderr).contains("the seccomp layer is off"), "{output:?}");
}

/// A user who is not root has no right to load a filter; rubber has, as long as it is root.
#[test]
fn seccomp_is_there_for_every_user() {
    if !is_root() {
        return lab::skip_this("an ordinary user has only one id to give");
    }
    assert_eq!(status(&["-u", "1234:1234"]).0, 2);
    assert_eq!(status(&["-u", "1234", "--security-opt", "no-new-privileges"]).0, 2);
    assert_eq!(status(&["--cap-drop", "ALL"]).0, 2);
    assert_eq!(status(&["--init"]).0, 2);
}

#[test]
fn seccomp_is_on_whoever_joins_later() {
    let name = format!("filtered-{}", std::process::id());
    let started = rubber(["run", "-d", "--name", &name, "busybox", "sleep", "100"]).output().unwrap();
    assert!(started.status.success(), "{started:?}");
    let joined = rubber(["exec", &name, "grep", "^Seccomp:", "/proc/self/status"]).output().unwrap();
    let refused = rubber(["exec", &name, "unshare", "-m", "true"]).output().unwrap();
    let removed = rubber(["rm", "-f", &name]).output().unwrap();
    assert!(removed.status.success(), "{removed:?}");
    assert_eq!(text(&joined.stdout).trim(), "Seccomp:\t2", "{joined:?}");
    assert!(text(&refused.stderr).contains("not permitted"), "{refused:?}");
}

/// Whoever holds the caller's session keyring can read and change what is in it.
#[test]
fn process_has_a_keyring_of_its_own_and_so_has_who_joins() {
    let ours = probe::session_keyring();
    if ours < 0 {
        return lab::skip_this("the kernel keeps no keys, or not for us");
    }
    let [theirs, joined] = probe::session_keyrings();
    assert!(theirs > 0 && joined > 0, "{theirs} {joined}");
    assert!(theirs != ours && joined != ours && joined != theirs, "{ours} {theirs} {joined}");
}

#[test]
fn setuid_programs_are_what_they_were_unless_it_is_promised_away() {
    if !is_root() {
        return lab::skip_this("an ordinary user has only one id to give");
    }
    let dir = tempfile::tempdir_in("/var/tmp").unwrap();
    let disk = nix::sys::statvfs::statvfs(dir.path()).unwrap();
    if disk.flags().contains(nix::sys::statvfs::FsFlags::ST_NOSUID) {
        return lab::skip_this("/var/tmp is mounted nosuid");
    }
    let program = dir.path().join("probe");
    lab::copy_program(std::env::current_exe().unwrap(), &program);
    let open = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    open(&program, 0o4755);
    open(dir.path(), 0o755);
    assert_eq!(probe::effective_user(&program, &["-u", "1234"]), "0");
    assert_eq!(
        probe::effective_user(&program, &["-u", "1234", "--security-opt", "no-new-privileges"]),
        "1234"
    );
}

#[test]
fn seccomp_differences_are_in_the_docs() {
    let docs =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/seccomp.md")).unwrap();
    for (names, why) in [DIFFERENCES, DIFFERENCES_OF_I386].concat() {
        let row = format!(
            "| {} | {why} |",
            names.split_whitespace().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ")
        );
        assert!(docs.contains(&row), "docs/seccomp.md lacks:\n{row}");
    }
}

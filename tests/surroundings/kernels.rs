//! An old kernel, or a filter of somebody else's: a call that answers ENOSYS is done without, or named.

use super::*;
use std::os::unix::process::CommandExt;

/// What an older kernel does not have. (With none of the others there would be no program at all.)
#[rustfmt::skip]
const YOUNG: &[(&str, i64)] = &[
    ("openat2", libc::SYS_openat2), ("mount_setattr", libc::SYS_mount_setattr), ("open_tree", libc::SYS_open_tree),
    ("move_mount", libc::SYS_move_mount), ("fsopen", libc::SYS_fsopen), ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount), ("clone3", libc::SYS_clone3), ("close_range", libc::SYS_close_range),
    ("pidfd_open", libc::SYS_pidfd_open), ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("seccomp", libc::SYS_seccomp), ("statx", libc::SYS_statx), ("faccessat2", libc::SYS_faccessat2),
    ("getrandom", libc::SYS_getrandom), ("memfd_create", libc::SYS_memfd_create), ("keyctl", libc::SYS_keyctl),
    ("renameat2", libc::SYS_renameat2), ("copy_file_range", libc::SYS_copy_file_range), ("bpf", libc::SYS_bpf),
    ("rseq", libc::SYS_rseq), ("prlimit64", libc::SYS_prlimit64), ("setns", libc::SYS_setns),
];

/// Those that a usual start does not do without: it has to name them.
const NEEDED: &[&str] = &[
    "openat2",
    "mount_setattr",
    "open_tree",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "pidfd_open",
    "seccomp",
    "prlimit64",
    "getrandom",
];

/// From here on the kernel answers ENOSYS to `number`, whoever asks.
fn take_away(number: i64) -> std::io::Result<()> {
    // Load the number; is it this one? An errno; else as ever.
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let about = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program.
    let answers = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &about) };
    if answers == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn without(number: i64, words: &[&str]) -> std::process::Output {
    let mut command = rubber(words);
    // SAFETY: only system calls are made between fork and exec.
    unsafe { command.pre_exec(move || take_away(number)) };
    command.output().unwrap()
}

#[test]
fn kernels_without_a_call_are_told_which_or_do_without() {
    if !lab::is_root() {
        return lab::skip_this(NOT_THEIRS);
    }
    let shared = lab::scratch().to_str().unwrap();
    let volume = format!("{shared}:/v:ro");
    for (name, number) in YOUNG {
        let words = [
            "run",
            "-v",
            &volume,
            "--tmpfs",
            "/t",
            "--ulimit",
            "nofile=100",
            "busybox",
            "sh",
            "-c",
            "exit 7",
        ];
        let output = without(*number, &words);
        let said = text(&output.stderr);
        match lab::code(&output) {
            7 => assert!(said.is_empty() && !NEEDED.contains(name), "{name}: {output:?}"),
            _ => assert_told(&output, &[name, "ENOSYS"], name),
        }
        assert!(NEEDED.contains(name) || lab::code(&output) == 7, "{name} is needed now: {output:?}");
    }
}

#[test]
fn kernels_without_close_range_leave_no_descriptor_open() {
    if !lab::is_root() {
        return lab::skip_this(NOT_THEIRS);
    }
    let output = without(libc::SYS_close_range, &["run", "busybox", "ls", "/proc/self/fd"]);
    // ls has the directory itself open.
    assert_eq!(text(&output.stdout), "0\n1\n2\n3\n", "{output:?}");
    let mut command = rubber(["run", "busybox", "ls", "/proc/self/fd"]);
    let prepare = || {
        // SAFETY: a descriptor that is left open across exec.
        unsafe { libc::dup2(libc::open(c"/etc/passwd".as_ptr(), libc::O_RDONLY), 40) };
        take_away(libc::SYS_close_range)
    };
    // SAFETY: only system calls are made between fork and exec.
    unsafe { command.pre_exec(prepare) };
    assert_eq!(text(&command.output().unwrap().stdout), "0\n1\n2\n3\n");
}

/// A program that is seen inside is a copy in memory, and sealed: where something of the kernel's holds a page of it for a
/// moment, that is refused, and works a moment later.
#[test]
fn kernels_that_hold_a_page_for_a_moment_are_waited_for() {
    if !lab::is_root() || !lab::has("strace") {
        return lab::skip_this("it takes strace, and root");
    }
    let trace = tempfile::NamedTempFile::new().unwrap();
    let traced = |faults: &[&str]| {
        let rubber = rubber(["run", "--init", "busybox", "echo", "hi"]);
        let mut strace = Command::new("strace");
        // A mount of the program would do without a copy.
        strace.args(["-qq", "-e", "trace=fcntl,open_tree", "-e", "inject=open_tree:error=EPERM:when=1"]);
        strace.args(faults.iter().flat_map(|fault| ["-e", *fault])).arg("-o").arg(trace.path());
        let output = strace.arg(rubber.get_program()).args(rubber.get_args()).output().unwrap();
        (output, fs::read_to_string(trace.path()).unwrap_or_default())
    };
    let (output, calls) = traced(&[]);
    if text(&output.stderr).contains("ptrace") {
        return lab::skip_this("strace may not trace here");
    }
    let is_seal = |line: &&str| line.contains("F_ADD_SEALS");
    let first =
        calls.lines().filter(|line| line.starts_with("fcntl(")).position(|line| is_seal(&line)).unwrap() + 1;
    let (output, calls) = traced(&[&format!("inject=fcntl:error=EBUSY:when={first}..{}", first + 2)]);
    assert_eq!(text(&output.stdout), "hi\n", "{output:?}");
    assert_eq!(calls.lines().filter(is_seal).count(), 4, "{calls}");
}

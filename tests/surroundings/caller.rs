//! Whoever calls rubber may have been left in odd surroundings by somebody else.

use super::*;
use std::{
    ffi::CString,
    io::{Error, Result},
    os::unix::process::CommandExt,
};

/// Runs it with `prepare` done in the process that is about to become rubber.
fn after(prepare: impl FnMut() -> Result<()> + Send + Sync + 'static, words: &[&str]) -> Output {
    let mut command = rubber(words);
    // SAFETY: only system calls are made between fork and exec.
    unsafe { command.pre_exec(prepare) };
    command.output().unwrap()
}

fn limit(resource: libc::__rlimit_resource_t, most: u64) -> impl FnMut() -> Result<()> {
    move || {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: the limit is ours.
        if unsafe { libc::setrlimit(resource, &limit) } == 0 { Ok(()) } else { Err(Error::last_os_error()) }
    }
}

const SEVEN: &[&str] = &["run", "busybox", "sh", "-c", "exit 7"];

/// It works, or there is one error. Nothing is left in either case, which the last test looks at.
fn assert_works_or_says_why(output: &Output, what: &str) {
    if lab::code(output) != 7 {
        assert_told(output, &[], what);
    }
}

#[test]
fn caller_may_have_any_of_the_streams_closed() {
    let ways: &[&[&str]] =
        &[&[], &["-i"], &["--init"], &["-t"], &["--rm", "-d"], &["--rm", "--name", "closed"], &["--explain"]];
    for closed in 0..8 {
        for flags in ways {
            let close = move || {
                for fd in (0..3).filter(|fd| closed & 1 << fd != 0) {
                    // SAFETY: no pointers.
                    unsafe { libc::close(fd) };
                }
                Ok(())
            };
            // A terminal that nobody types at has no end.
            let script =
                if flags.contains(&"-t") { "echo hi; exit 7" } else { "echo hi; cat; echo hi >&2; exit 7" };
            let words = [&["run"], *flags, &["busybox", "sh", "-c", script]].concat();
            let output = after(close, &words);
            let expected = if flags.contains(&"-d") { 0 } else { 7 };
            assert_eq!(lab::code(&output), expected, "{closed:03b} {flags:?}: {output:?}");
        }
    }
}

#[test]
fn caller_may_have_no_environment() {
    // The image is there: without a PATH it could not be made.
    lab::say(&[], "true");
    let mut command = rubber(SEVEN);
    assert_eq!(command.env_clear().status().unwrap().code(), Some(7));
    // Where the store would be is to be found out, or said.
    for home in [None, Some(""), Some("relative"), Some("\u{1b}[2J"), Some("/nowhere/at/all")] {
        let mut command = Command::new(RUBBER);
        command.args(["images"]).env_clear().stdin(Stdio::null());
        if let Some(home) = home {
            command.env("HOME", home).env("XDG_DATA_HOME", home);
        }
        if lab::is_root() {
            command.gid(65534).uid(65534);
        }
        let output = command.output().unwrap();
        match home {
            Some("/nowhere/at/all") => assert_told(&output, &["/nowhere"], "a HOME that cannot be made"),
            _ => assert_told(&output, &["HOME is not set", "--root"], &format!("{home:?}")),
        }
    }
}

#[test]
fn caller_may_have_any_umask() {
    let store = lab::scratch().join(format!("umask-{}", std::process::id()));
    for umask in [0o000, 0o777] {
        let made = |words: &[&str]| {
            let mut command = Command::new(RUBBER);
            command.arg("--root").arg(&store).args(words).stdin(Stdio::null());
            let prepare = move || {
                // SAFETY: no pointers.
                unsafe { libc::umask(umask) };
                Ok(())
            };
            // SAFETY: umask(2) is all that is called between fork and exec.
            unsafe { command.pre_exec(prepare) };
            command.output().unwrap()
        };
        let script = "echo x >/data/f; umask; stat -c %a / /data/f; exit 7";
        let output = made(&["run", "-v", "data:/data", "busybox", "sh", "-c", script]);
        assert_eq!(
            (lab::code(&output), text(&output.stdout).as_str()),
            (7, "0022\n755\n644\n"),
            "{output:?}"
        );
        for words in [&["images"][..], &["volume", "rm", "data"], &["rmi", "busybox"], &["clean"]] {
            let output = made(words);
            assert!(output.status.success(), "{umask:o} {words:?}: {output:?}");
        }
        fs::remove_dir_all(&store).unwrap();
    }
}

#[test]
fn caller_may_have_a_directory_that_is_gone() {
    let gone = lab::scratch().join(format!("gone-{}", std::process::id()));
    fs::create_dir_all(&gone).unwrap();
    let leave = |words: &[&str]| {
        let place = CString::new(gone.to_str().unwrap()).unwrap();
        let prepare = move || {
            // SAFETY: the path is ours. Later ones find it gone already, and stay where they are.
            unsafe {
                libc::mkdir(place.as_ptr(), 0o700);
                libc::chdir(place.as_ptr());
                libc::rmdir(place.as_ptr());
            }
            Ok(())
        };
        after(prepare, words)
    };
    assert_eq!(lab::code(&leave(SEVEN)), 7);
    assert_eq!(lab::code(&leave(&["run", "--rm", "-d", "busybox", "true"])), 0);
    assert_eq!(lab::code(&leave(&["clean"])), 0);
    let output = leave(&["run", "-v", "./x:/x", "busybox", "sh", "-c", "exit 7"]);
    assert_told(&output, &["./x"], "a volume of a directory that is gone");
    let output = leave(&["run", "--rootfs", "x", "sh", "-c", "exit 7"]);
    assert_told(&output, &["--rootfs"], "a root in a directory that is gone");
}

#[test]
fn caller_may_be_limited_to_little() {
    let kib = 1 << 10;
    for most in [0, 1, 100, kib, 8 * kib, 64 * kib] {
        let output = after(limit(libc::RLIMIT_FSIZE, most), SEVEN);
        assert_works_or_says_why(&output, &format!("fsize {most}"));
        assert!(most > 1 || lab::code(&output) == 125, "a record in {most} bytes: {output:?}");
    }
    for most in [256 * kib, 512 * kib, kib * kib, 8 * kib * kib] {
        let output = after(limit(libc::RLIMIT_STACK, most), SEVEN);
        assert_works_or_says_why(&output, &format!("stack {most}"));
        assert_eq!(lab::code(&output), if most < kib * kib { 125 } else { 7 }, "{most}: {output:?}");
    }
    for most in 0..8 {
        let output = after(limit(libc::RLIMIT_NPROC, most), SEVEN);
        assert_works_or_says_why(&output, &format!("nproc {most}"));
    }
    for resource in [libc::RLIMIT_CORE, libc::RLIMIT_MEMLOCK, libc::RLIMIT_MSGQUEUE, libc::RLIMIT_SIGPENDING]
    {
        let output = after(limit(resource, 0), SEVEN);
        assert_works_or_says_why(&output, &format!("limit {resource}"));
    }
    // What does not fit into memory the kernel or the language ends, with a word of theirs and not of ours.
    for most in [32 << 20, 40 << 20, 64 << 20] {
        let output = after(limit(libc::RLIMIT_AS, most), SEVEN);
        let said = text(&output.stderr);
        assert!(lab::code(&output) == 7 || said.contains("memory"), "as {most}: {output:?}");
        assert!(!said.contains("panicked"), "as {most}: {said}");
    }
}

#[test]
fn caller_may_call_it_anything() {
    let long = "x".repeat(100_000);
    for name in ["", "-", "-rubber", "--help", "/nowhere/rubber", "a\n\u{1b}[2J", "run", &long] {
        let mut command = rubber(SEVEN);
        let output = command.arg0(name).output().unwrap();
        assert_eq!(lab::code(&output), 7, "{name:?}: {output:?}");
        let output = rubber(["run", "nosuch:image:name", "true"]).arg0(name).output().unwrap();
        assert_told(&output, &["nosuch"], name);
    }
    // Nothing at all: the kernel makes an empty name of it.
    // SAFETY: only execve(2) is called between fork and exec, with lists that end.
    let code = unsafe {
        let (program, none) = (CString::new(RUBBER).unwrap(), [std::ptr::null::<libc::c_char>()]);
        match libc::fork() {
            0 => {
                libc::close(1);
                libc::close(2);
                libc::execve(program.as_ptr(), none.as_ptr(), none.as_ptr());
                libc::_exit(99)
            }
            child => {
                let mut status = 0;
                libc::waitpid(child, &mut status, 0);
                libc::WEXITSTATUS(status)
            }
        }
    };
    assert_eq!(code, 125);
}

#[test]
fn caller_may_be_everybodys_foster_parent() {
    // The subreaper gets what is left in the background, and may never look after it.
    let script = format!(
        "{RUBBER} --root {store} run -d --name fostered busybox sh -c 'sleep 1; exit 7' && {RUBBER} --root {store} wait fostered && {RUBBER} --root {store} rm fostered",
        store = lab::store().display()
    );
    lab::say(&[], "true");
    let mut command = Command::new("sh");
    command.args(["-c", &script]).stdin(Stdio::null());
    let prepare = || {
        // SAFETY: no pointers.
        unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
        Ok(())
    };
    // SAFETY: prctl(2) is all that is called between fork and exec.
    unsafe { command.pre_exec(prepare) };
    let output = command.output().unwrap();
    assert!(output.status.success() && text(&output.stdout).contains("\n7\n"), "{output:?}");
}

/// A shell that becomes rubber may have children: they are rubber's then, and end when they like.
#[test]
fn caller_may_leave_it_children() {
    let store = lab::store();
    lab::say(&[], "true");
    let ids: &[&str] = if lab::is_root() { &["", "--uidmap 0:100000:65536"] } else { &[""] };
    for flags in ids {
        for sooner in ["(exit 5) & sleep 0.1", "sleep 0.01 & sleep 0.02 & sleep 0.03 &", "sleep 3 &"] {
            let script = format!(
                "{sooner}; exec {RUBBER} --root {} run {flags} busybox sh -c 'exit 7'",
                store.display()
            );
            let script = script.replace("&;", "&");
            let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
            assert_eq!(lab::code(&output), 7, "{script}: {output:?}");
        }
    }
}

#[test]
fn caller_may_have_signals_blocked_and_ignored_everywhere() {
    let ignore_all = || {
        let ignore = [libc::SIG_IGN as u64, 0, 0, 0];
        for signal in 1..=64 {
            // SAFETY: the kernel's own sigaction: SIG_IGN, and nothing else set.
            unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, ignore.as_ptr(), 0, 8) };
        }
        // SAFETY: the set is ours.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigfillset(&mut set);
            libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut());
        }
        Ok(())
    };
    let name = format!("deaf-{}", std::process::id());
    let masks = "grep -E 'Sig(Blk|Ign)' /proc/self/status; trap 'exit 9' TERM; sleep 100 & wait";
    assert_eq!(
        lab::code(&after(ignore_all, &["run", "-d", "--name", &name, "busybox", "sh", "-c", masks])),
        0
    );
    let inside = after(ignore_all, &["exec", &name, "grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"]);
    let none = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    assert_eq!(text(&inside.stdout), none, "{inside:?}");
    assert_eq!(lab::code(&after(ignore_all, &["stop", &name])), 0);
    let logs = rubber(["logs", &name]).output().unwrap();
    assert_eq!(text(&logs.stdout), none, "{logs:?}");
    assert_eq!(text(&after(ignore_all, &["wait", &name]).stdout), "9\n");
    assert!(after(ignore_all, &["rm", &name]).status.success());
}

//! What goes in and comes out of a run: exit codes, signals, the standard streams, and nothing else
//! of the caller's.

mod lab;

use lab::{RUBBER, code, rubber, run, say, store, text};
use std::{
    fs,
    io::{Read, Write},
    os::{
        fd::AsRawFd,
        unix::{fs::PermissionsExt, process::CommandExt, process::ExitStatusExt},
    },
    path::PathBuf,
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

/// The layers with and without which these things hold all the same.
const WAYS: &[&[&str]] = &[&[], &["--init"], &["--without", "pid"]];

// ---- exit codes --------------------------------------------------------------

#[test]
fn the_exit_code_is_the_commands_own() {
    for wanted in (0..=255).step_by(if slow() { 15 } else { 1 }) {
        assert_eq!(code(&run(&[], &format!("exit {wanted}"))), wanted);
    }
    for flags in WAYS {
        for wanted in [0, 1, 42, 125, 126, 127, 128, 137, 255] {
            assert_eq!(code(&run(flags, &format!("exit {wanted}"))), wanted, "{flags:?}");
        }
    }
}

/// Whether this machine takes very long for a container (it may be an emulated one).
fn slow() -> bool {
    let begin = Instant::now();
    run(&[], "true");
    run(&[], "true");
    begin.elapsed() > Duration::from_millis(400)
}

#[test]
fn a_command_ended_by_signal_n_is_128_and_n() {
    // No SIGQUIT: the shell ignores it. 34 and 64 are the first and the last of the real-time signals that programs use.
    for signal in [1, 2, 4, 6, 7, 8, 9, 10, 11, 13, 14, 15, 24, 31, 34, 40, 64] {
        // Pid 1 of a namespace cannot end itself with a signal, so it is a child of init's or has no namespace.
        for flags in &WAYS[1..] {
            let output = run(flags, &format!("kill -{signal} $$; sleep 1; exit 0"));
            assert_eq!(code(&output), 128 + signal, "{flags:?}: {output:?}");
        }
    }
    // From pid 1's own child, by way of the shell.
    assert_eq!(code(&run(&[], "sh -c 'kill -9 $$'; exit $?")), 137);
}

/// A root filesystem with programs that cannot be run, each in its own way.
fn broken_programs() -> PathBuf {
    let dir = lab::scratch().join(format!("broken-{}", std::process::id()));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("bin")).unwrap();
    let busybox = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|place| place.join("busybox"))
        .find(|file| file.is_file())
        .expect("busybox");
    fs::copy(busybox, dir.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", dir.join("bin/sh")).unwrap();
    let file = |name: &str, mode, content: &[u8]| {
        fs::write(dir.join("bin").join(name), content).unwrap();
        fs::set_permissions(dir.join("bin").join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    file("script", 0o755, b"#!/bin/sh\necho the script ran\n");
    file("plain", 0o644, b"#!/bin/sh\n");
    file("garbage", 0o755, b"\x00\x01\x02\x03 neither this nor that");
    file("empty", 0o755, b"");
    file("orphan", 0o755, b"#!/nosuch/interpreter -x\n");
    file("crlf", 0o755, b"#!/bin/sh\r\necho hi\r\n");
    file("loaderless", 0o755, &elf_without_loader());
    std::os::unix::fs::symlink("loop", dir.join("bin/loop")).unwrap();
    std::os::unix::fs::symlink("nowhere", dir.join("bin/dangling")).unwrap();
    dir
}

/// The start of a 64-bit program whose loader is not there: a header and one PT_INTERP.
fn elf_without_loader() -> Vec<u8> {
    let loader = b"/lib/nosuch-loader.so.1\0";
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend([2_u16, machine].map(u16::to_le_bytes).concat());
    elf.extend(1_u32.to_le_bytes());
    elf.extend([0x40_0078_u64, 64, 0].map(u64::to_le_bytes).concat());
    elf.extend(0_u32.to_le_bytes());
    elf.extend([64_u16, 56, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    elf.extend([3_u32, 4].map(u32::to_le_bytes).concat());
    let length = loader.len() as u64;
    elf.extend([120, 0x40_0078, 0x40_0078, length, length, 1].map(u64::to_le_bytes).concat());
    elf.extend(loader);
    elf
}

#[test]
fn ways_not_to_run_are_told_apart() {
    if !lab::has("busybox") {
        return lab::skip("ways_not_to_run_are_told_apart", "no busybox on this machine");
    }
    let dir = broken_programs();
    let cases: &[(&str, i32, &str)] = &[
        ("nosuch", 127, "not found in PATH"),
        ("/bin/nosuch", 127, "not found"),
        ("/bin/dangling", 127, "not found"),
        ("/bin/busybox/x", 127, "not a directory"),
        ("/bin", 126, "directory"),
        ("/bin/plain", 126, "not executable"),
        ("plain", 126, "not executable"),
        ("/bin/garbage", 126, "exec format"),
        ("/bin/empty", 126, "exec format"),
        ("/bin/loop", 126, "ELOOP"),
        ("/bin/orphan", 127, "interpreter \"/nosuch/interpreter\" is missing"),
        ("/bin/loaderless", 127, "interpreter \"/lib/nosuch-loader.so.1\" is missing"),
        ("", 127, "cannot run \"\""),
    ];
    for flags in WAYS {
        for (command, expected, words) in cases {
            let output = with_root(flags, &dir, &[command]);
            let said = text(&output.stderr);
            assert_eq!(code(&output), *expected, "{command:?} {flags:?}: {output:?}");
            assert!(said.starts_with("rubber: cannot run ") && said.contains(words), "{command:?}: {said}");
            assert_eq!(said.lines().count(), 1, "{command:?}: {said}");
        }
    }
    // The carriage return is part of the name, and nothing that a terminal obeys may be printed.
    let output = with_root(&[], &dir, &["/bin/crlf"]);
    assert_eq!(code(&output), 127, "{output:?}");
    assert!(
        text(&output.stderr).contains("interpreter") && !text(&output.stderr).contains('\r'),
        "{output:?}"
    );
    let output = with_root(&[], &dir, &["script"]);
    assert_eq!((code(&output), text(&output.stdout)), (0, "the script ran\n".into()), "{output:?}");
    fs::remove_dir_all(dir).unwrap();
}

fn with_root(flags: &[&str], dir: &std::path::Path, command: &[&str]) -> Output {
    let words = [&["run"], flags, &["--rootfs", dir.to_str().unwrap()], command].concat();
    rubber(words).output().unwrap()
}

// ---- signals -----------------------------------------------------------------

/// A container that has said "ready" and still runs.
struct Running {
    child: Child,
    output: ChildStdout,
}

impl Running {
    fn start(flags: &[&str], script: &str) -> Running {
        let words = [&["run"], flags, &["busybox", "sh", "-c", script]].concat();
        let mut command = rubber(words);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut ready = [0; 6];
        output.read_exact(&mut ready).unwrap();
        assert_eq!(&ready, b"ready\n");
        Running { child, output }
    }

    fn signal(&self, signal: i32) {
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// What it still said on stdout and stderr, and how it ended.
    fn end(mut self) -> (String, String, ExitStatus) {
        let begin = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begin.elapsed() < Duration::from_secs(20), "rubber does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
        let (mut said, mut told) = (String::new(), String::new());
        self.output.read_to_string(&mut said).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        (said, told, self.child.wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn signals_reach_the_command() {
    let signals = ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "WINCH", "CONT", "ALRM", "URG", "34", "64"];
    for flags in WAYS {
        for name in signals {
            let number = name
                .parse()
                .unwrap_or_else(|_| format!("SIG{name}").parse::<nix_signal::Signal>().unwrap().0);
            let script =
                format!("trap 'echo got {name}; exit 42' {name}; echo ready; while :; do usleep 10000; done");
            let running = Running::start(flags, &script);
            running.signal(number);
            let (said, told, status) = running.end();
            assert_eq!(
                (said.as_str(), status.code()),
                (format!("got {name}\n").as_str(), Some(42)),
                "{flags:?} {name}: {told}"
            );
        }
    }
}

/// Signals by name, without a crate for it.
mod nix_signal {
    pub struct Signal(pub i32);

    impl std::str::FromStr for Signal {
        type Err = String;
        fn from_str(name: &str) -> Result<Signal, String> {
            let known = [
                ("SIGTERM", libc::SIGTERM),
                ("SIGINT", libc::SIGINT),
                ("SIGHUP", libc::SIGHUP),
                ("SIGQUIT", libc::SIGQUIT),
                ("SIGUSR1", libc::SIGUSR1),
                ("SIGUSR2", libc::SIGUSR2),
                ("SIGWINCH", libc::SIGWINCH),
                ("SIGCONT", libc::SIGCONT),
                ("SIGALRM", libc::SIGALRM),
                ("SIGURG", libc::SIGURG),
            ];
            known
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, number)| Signal(*number))
                .ok_or(name.into())
        }
    }
}

#[test]
fn a_deaf_pid_1_is_explained_and_the_second_signal_ends_it() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let mut running = Running::start(&[], "echo ready; exec sleep 300");
        // The shell before it has a handler for SIGINT.
        lab::wait_for_descendant(running.child.id(), "sleep");
        running.signal(signal);
        let mut told = vec![0; 8];
        running.child.stderr.as_mut().unwrap().read_exact(&mut told).unwrap();
        assert!(running.child.try_wait().unwrap().is_none(), "the first one ends nothing");
        running.signal(signal);
        let (_, rest, status) = running.end();
        let told = text(&told) + &rest;
        assert_eq!(status.code(), Some(137), "{told}");
        assert!(told.starts_with("rubber: ") && told.contains("--init") && told.contains("pid 1"), "{told}");
        assert_eq!(told.lines().count(), 2, "{told}");
    }
    // With an init, and without a namespace, the first one does.
    for flags in &WAYS[1..] {
        let running = Running::start(flags, "echo ready; exec sleep 300");
        lab::wait_for_descendant(running.child.id(), "sleep");
        running.signal(libc::SIGTERM);
        let (_, told, status) = running.end();
        assert_eq!((status.code(), told.as_str()), (Some(143), ""), "{flags:?}");
    }
}

#[test]
fn timeout_ends_a_container() {
    let rubber = format!("'{RUBBER}' --root '{}' run", store().display());
    // timeout sends its signal twice, to the process and to its group: as somebody does who insists.
    for (command, expected) in [
        (format!("timeout 1 {rubber} --init busybox sleep 100"), &[124][..]),
        (format!("timeout -s KILL 1 {rubber} busybox sleep 100"), &[137]),
        (format!("timeout -k 1 1 {rubber} busybox sleep 100"), &[124, 137]),
    ] {
        let begin = Instant::now();
        let output = Command::new("sh").args(["-c", &format!("{command}; exit $?")]).output().unwrap();
        assert!(expected.contains(&code(&output)), "{command}: {output:?}");
        assert!(begin.elapsed() < Duration::from_secs(20), "{command}");
    }
    // What was killed without a chance has left something to sweep.
    std::thread::sleep(Duration::from_millis(100));
    assert!(lab::rubber(["clean"]).status().unwrap().success());
}

#[test]
fn stop_and_continue_do_not_lose_the_end() {
    let running = Running::start(&[], "echo ready; usleep 100000; exit 7");
    running.signal(libc::SIGSTOP);
    std::thread::sleep(Duration::from_millis(300));
    running.signal(libc::SIGCONT);
    assert_eq!(running.end().2.code(), Some(7));
}

// ---- what the caller does not hand down ----------------------------------------

/// Does `prepare` in the process that is about to become rubber.
fn after(
    prepare: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
    flags: &[&str],
    script: &str,
) -> Output {
    let mut command = rubber([&["run"], flags, &["busybox", "sh", "-c", script]].concat());
    // SAFETY: only system calls are made between fork and exec.
    unsafe { command.pre_exec(prepare) };
    command.output().unwrap()
}

#[test]
fn ignored_and_blocked_signals_of_the_caller_are_not_the_commands() {
    let ignore_all = || {
        // SAFETY: the kernel's own sigaction: SIG_IGN, and nothing else set. By hand, because the C library
        // hides two of the signals; those that cannot be ignored stay.
        let ignore = [libc::SIG_IGN as u64, 0, 0, 0];
        for signal in 1..=64 {
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
    for flags in WAYS {
        let output = after(ignore_all, flags, "grep -E 'Sig(Blk|Ign|Pnd)' /proc/self/status; exit 5");
        assert_eq!(code(&output), 5, "{flags:?}: {output:?}");
        let masks: Vec<_> = text(&output.stdout)
            .lines()
            .map(|line| line.split_whitespace().nth(1).unwrap().to_owned())
            .collect();
        assert_eq!(masks, ["0000000000000000"; 3], "{flags:?}: {output:?}");
    }
}

#[test]
fn a_pipe_that_closes_ends_a_program() {
    for flags in WAYS {
        // With SIGPIPE ignored, yes(1) would complain and end with 1.
        let said = say(flags, "{ yes; echo $? >/tmp/code; } | head -1; cat /tmp/code");
        assert_eq!(said, "y\n141", "{flags:?}");
    }
}

#[test]
fn no_descriptor_of_the_callers_comes_along() {
    let open_many = || {
        for _ in 0..20 {
            // SAFETY: a descriptor that is left open across exec.
            unsafe { libc::open(c"/etc/passwd".as_ptr(), libc::O_RDONLY) };
        }
        Ok(())
    };
    for flags in WAYS {
        let output = after(open_many, flags, "ls /proc/$$/fd; true");
        let fds = text(&output.stdout);
        assert_eq!(fds, "0\n1\n2\n", "{flags:?}: {output:?}");
    }
}

#[test]
fn no_environment_directory_or_umask_of_the_callers_comes_along() {
    let gone = lab::scratch().join(format!("gone-{}", std::process::id()));
    for umask in [0o000, 0o022, 0o077, 0o777] {
        fs::create_dir_all(&gone).unwrap();
        let place = gone.clone();
        let prepare = move || {
            // SAFETY: no pointers.
            unsafe { libc::umask(umask) };
            std::env::set_current_dir(&place)?;
            fs::remove_dir(&place)
        };
        let mut command = rubber(["run", "busybox", "sh", "-c", "umask; pwd; env"]);
        command
            .env("SECRET", "of the host")
            .env("LD_PRELOAD", "x")
            .env("HOME", "/host")
            .env("XDG_RUNTIME_DIR", "/host");
        // SAFETY: only system calls are made between fork and exec.
        unsafe { command.pre_exec(prepare) };
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let said = text(&output.stdout);
        let mut lines = said.lines();
        assert_eq!((lines.next(), lines.next()), (Some("0022"), Some("/")), "{said}");
        let mut names: Vec<_> = lines.map(|line| line.split('=').next().unwrap()).collect();
        names.sort();
        // SHLVL and PWD are the shell's own.
        names.retain(|name| !["SHLVL", "PWD", "OLDPWD"].contains(name));
        assert_eq!(names, ["HOME", "HOSTNAME", "PATH"], "{said}");
        assert!(!said.contains("host") || !said.contains("/host"), "{said}");
    }
}

#[test]
fn the_callers_umask_does_not_shut_the_root_directory() {
    for umask in [0o077, 0o777] {
        for flags in [&[][..], &["--until", "pivot_root"], &["--without", "overlay"]] {
            let prepare = move || {
                // SAFETY: no pointers.
                unsafe { libc::umask(umask) };
                Ok(())
            };
            let output = after(prepare, flags, "stat -c %a / /etc /dev; touch /f; stat -c %a /f");
            assert_eq!(text(&output.stdout), "755\n755\n755\n644\n", "{umask:o} {flags:?}: {output:?}");
        }
    }
}

#[test]
fn the_command_has_a_session_of_its_own() {
    for flags in WAYS {
        // Fields 1, 5, 6 and 7 of stat: pid, process group, session, terminal (proc_pid_stat(5)).
        let said = say(flags, "cut -d' ' -f1,5,6,7 /proc/$$/stat");
        let fields: Vec<i32> = said.split(' ').map(|field| field.parse().unwrap()).collect();
        assert_eq!((fields[2] > 0, fields[3]), (true, 0), "{flags:?}: {said}");
        let caller = unsafe { libc::getsid(0) };
        assert_ne!(fields[2], caller, "{flags:?}");
    }
}

// ---- streams -----------------------------------------------------------------

#[test]
fn binary_data_passes_both_ways_untouched() {
    let mut data = vec![0_u8; 10 << 20];
    let mut state = 1_u32;
    for byte in &mut data {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    let mut command = rubber(["run", "-i", "busybox", "sh", "-c", "tee /dev/stderr"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut input, mut errors) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
    let sent = data.clone();
    let writer = std::thread::spawn(move || input.write_all(&sent).unwrap());
    let reader = std::thread::spawn(move || {
        let mut read = Vec::new();
        errors.read_to_end(&mut read).unwrap();
        read
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    assert!(output.stdout == data, "stdout: {} bytes", output.stdout.len());
    assert!(reader.join().unwrap() == data, "stderr");
}

#[test]
fn closed_streams_are_no_reason_to_fail() {
    for (closed, script) in [
        (&[0][..], "cat; exit 3"),
        (&[1], "echo hi; exit 3"),
        (&[2], "echo hi >&2; exit 3"),
        (&[0, 1, 2], "echo hi; cat; echo hi >&2; exit 3"),
    ] {
        for flags in WAYS {
            let close = move || {
                for fd in closed {
                    // SAFETY: no pointers.
                    unsafe { libc::close(*fd) };
                }
                Ok(())
            };
            let output = after(close, flags, script);
            assert_eq!(code(&output), 3, "{closed:?} {flags:?}: {output:?}");
        }
    }
    // Errors have nowhere to go, but a code they have.
    let close = || {
        for fd in 0..3 {
            // SAFETY: no pointers.
            unsafe { libc::close(fd) };
        }
        Ok(())
    };
    assert_eq!(code(&after(close, &["--user", "nosuch"], "true")), 125);
    assert_eq!(code(&after(close, &["--explain"], "exit 6")), 6);
}

/// What the shell makes of `script`, in which RUBBER stands for the binary and its store.
fn shell(script: &str) -> Output {
    let script = script.replace("RUBBER", &format!("'{RUBBER}' --root '{}'", store().display()));
    // `facts` shows the environment, and a backtrace is asked for by name there.
    Command::new("bash")
        .args(["-c", &script])
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    say(&[], "true");
    for command in [
        "images",
        "images --format json",
        "layers",
        "facts",
        "--help",
        "run --help",
        "run --dry-run busybox true",
        "run --explain busybox true",
        "run busybox dd if=/dev/zero bs=1000 count=1000",
        "clean",
        "run",
    ] {
        for script in [format!("RUBBER {command} 2>&3 | true"), format!("RUBBER {command} 2>&1 >&3 | true")] {
            let output = shell(&format!("{{ {script}; echo ${{PIPESTATUS[0]}} >&2; }} 3>&2"));
            assert_no_panic(&format!("{script}: {output:?}"), &output);
        }
    }
    let output = shell("RUBBER run --init busybox yes | head -1; echo ${PIPESTATUS[0]}");
    assert_eq!((text(&output.stdout).as_str(), text(&output.stderr).as_str()), ("y\n141\n", ""));
    // SIGPIPE too does nothing to a pid 1 without a handler: it is yes(1) that complains and ends.
    let output = shell("RUBBER run busybox yes | head -1; echo ${PIPESTATUS[0]}");
    assert_eq!(text(&output.stdout), "y\n1\n", "{output:?}");
}

fn assert_no_panic(what: &str, output: &Output) {
    let all = text(&output.stdout) + &text(&output.stderr);
    assert!(
        !all.contains("panicked")
            && !all.contains("RUST_BACKTRACE")
            && !all.lines().any(|line| line == "101"),
        "{what}"
    );
    assert!(output.status.signal().is_none() && output.status.code() != Some(101), "{what}");
}

#[test]
fn a_full_disk_behind_stdout_or_stderr_is_no_panic() {
    say(&[], "true");
    for command in [
        "images",
        "layers",
        "facts",
        "doctor",
        "--help",
        "run --help",
        "run --dry-run busybox true",
        "run",
        "run busybox echo hi",
        "run --explain busybox true",
        "run --explain=json busybox true",
        "run --without memory -m 64m busybox true",
        "run nosuch",
        "run busybox nosuch",
        "run --nosuch",
        "clean",
    ] {
        for script in [format!("RUBBER {command} >/dev/full"), format!("RUBBER {command} 2>/dev/full")] {
            let output = shell(&format!("{script}; echo $?"));
            assert_no_panic(&format!("{script}: {output:?}"), &output);
        }
    }
    // What cannot be said is no reason to do something else.
    let output = shell("RUBBER run --explain busybox sh -c 'exit 9' 2>/dev/full; echo $?");
    assert_eq!(text(&output.stdout), "9\n", "{output:?}");
    let output = shell("RUBBER images >/dev/full; echo code $?");
    assert_eq!(text(&output.stdout), "code 125\n", "{output:?}");
}

#[test]
fn a_deaf_pid_1_without_stderr_is_no_panic() {
    let words = ["run", "busybox", "sh", "-c", "echo ready; exec sleep 300"];
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = rubber(words).stdout(Stdio::piped()).stderr(full).spawn().unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 6]).unwrap();
    lab::wait_for_descendant(child.id(), "sleep");
    for _ in 0..2 {
        // SAFETY: no pointers.
        unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(child.wait().unwrap().code(), Some(137));
}

#[test]
fn few_descriptors_are_enough_or_it_says_so() {
    // A store of its own: what is left in it is of these runs.
    let store = lab::scratch().join("few");
    let make = || {
        let mut command = Command::new(RUBBER);
        command.arg("--root").arg(&store).args(["run", "busybox", "sh", "-c", "exit 8"]).stdin(Stdio::null());
        command
    };
    assert_eq!(make().status().unwrap().code(), Some(8));
    let mut worked = 0;
    for most in 3..=40 {
        let limit = move || {
            let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
            // SAFETY: the limit is ours.
            unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
            Ok(())
        };
        let mut command = make();
        // SAFETY: setrlimit(2) is all that is called between fork and exec.
        unsafe { command.pre_exec(limit) };
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_no_panic(&format!("{most}: {output:?}"), &output);
        match code(&output) {
            8 => worked += 1,
            125 => assert!(
                said.starts_with("rubber: ") && said.contains("Too many open files"),
                "{most}: {said}"
            ),
            other => panic!("{most} descriptors: {other}: {output:?}"),
        }
    }
    assert!(worked >= 24, "only with {worked} of the 38 limits from 3 to 40");
    let left: Vec<_> =
        fs::read_dir(store.join("containers")).unwrap().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_caller_that_waits_for_nobody_is_no_trouble() {
    // SIGCHLD ignored: the kernel would collect rubber's children before rubber can.
    let ignore = || {
        // SAFETY: SIG_IGN is no handler of ours.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        Ok(())
    };
    for flags in WAYS {
        let output = after(ignore, flags, "(exit 4); echo $?; sh -c 'exit 5'; exit $?");
        assert_eq!((code(&output), text(&output.stdout)), (5, "4\n".into()), "{flags:?}: {output:?}");
    }
}

#[test]
fn the_streams_are_the_callers_own_files() {
    let file = lab::scratch().join(format!("streams-{}", std::process::id()));
    let open = || fs::OpenOptions::new().create(true).append(true).open(&file).unwrap();
    let (out, err) = (open(), open());
    assert!(out.as_raw_fd() > 2 && err.as_raw_fd() > 2);
    let status = rubber(["run", "busybox", "sh", "-c", "echo out; echo err >&2"])
        .stdout(out)
        .stderr(err)
        .status()
        .unwrap();
    assert!(status.success());
    let mut lines: Vec<_> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    fs::remove_file(&file).unwrap();
    assert_eq!(lines, ["err", "out"]);
}

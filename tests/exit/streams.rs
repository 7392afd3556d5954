//! Standard streams: whole, closed, full, and gone.

use super::*;

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
    for most in (3..=12).chain([16, 24, 40]) {
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
    assert!(worked >= 5, "only with {worked} of the 13 limits from 3 to 40");
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
    // Nor where an image is made first, by a child.
    let place = lab::scratch().join(format!("nobody-waits-{}", std::process::id()));
    let mut command = Command::new(RUBBER);
    command.arg("--root").arg(&place).args(["run", "busybox", "true"]).stdin(Stdio::null());
    // SAFETY: signal(2) is all that is called between fork and exec.
    unsafe { command.pre_exec(ignore) };
    let output = command.output().unwrap();
    assert_eq!(code(&output), 0, "{output:?}");
    fs::remove_dir_all(place).unwrap();
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

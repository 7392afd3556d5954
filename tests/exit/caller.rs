//! What the caller has and the command must not get.

use super::*;

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

//! Signals sent to rubber reach the command, or it is said why not.

use super::*;

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
        for name in part(&signals, 3) {
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
    assert!(lab::rubber(["clean"]).output().unwrap().status.success());
}

#[test]
fn stop_and_continue_do_not_lose_the_end() {
    let running = Running::start(&[], "echo ready; usleep 100000; exit 7");
    running.signal(libc::SIGSTOP);
    std::thread::sleep(Duration::from_millis(300));
    running.signal(libc::SIGCONT);
    assert_eq!(running.end().2.code(), Some(7));
}

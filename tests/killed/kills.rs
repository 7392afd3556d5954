//! Kill -9 at any moment, at every step, of whoever there is.

use super::*;

/// How often: a slow machine may be asked for less.
fn count() -> usize {
    std::env::var("RUBBER_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

#[test]
fn killed_at_any_moment_it_leaves_nothing_that_is_not_swept() {
    let _turn = alone();
    let count = count();
    let ways = ways();
    let before = lab::ledger();
    for (number, (name, flags)) in ways.iter().enumerate() {
        // The usual way gets all the kills that were asked for, and the others some more.
        let kills = if number == 0 { count } else { count.div_ceil(8) };
        // Without a pid namespace nobody ends what the command leaves running but its cgroup.
        let script = match flags.contains(&"pid") || flags.contains(&"--until") {
            true => "mkdir -p /a/b; echo x > /a/b/c; usleep 2000",
            false => "sleep 300 & sleep 300 & mkdir -p /a/b; echo x > /a/b/c; usleep 2000",
        };
        let length = (0..5).map(|_| time(flags, script)).max().unwrap();
        for kill in 0..kills {
            let delay = length * kill as u32 / kills as u32;
            let what = format!("{name}, killed after {delay:?} of {length:?}");
            // Every other one would run for ever: nothing but the kill can end it.
            let endless = format!("{script}; exec sleep 300");
            let host = Host::start(&mut run(flags, if kill % 4 < 2 { script } else { &endless }));
            std::thread::sleep(delay);
            host.kill();
            assert_gone(&what);
            sweep(kill, &what);
        }
    }
    assert_balanced(&before);
}

fn time(flags: &[&str], script: &str) -> Duration {
    let begin = Instant::now();
    let output = run(flags, script).output().unwrap();
    assert!(output.status.success(), "{flags:?}: {output:?}");
    begin.elapsed()
}

/// A run with `--step`, waiting at one of its prompts.
struct Stepping {
    host: Host,
    input: std::process::ChildStdin,
    told: std::process::ChildStderr,
}

impl Stepping {
    fn start(flags: &[&str]) -> Stepping {
        let mut command = run(&[flags, &["--step"]].concat(), "exec sleep 300");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, told) = (child.stdin.take().unwrap(), child.stderr.take().unwrap());
        Stepping { host: Host(child), input, told }
    }

    /// Who asks at the next prompt; `None` when there is none any more.
    fn next(&mut self) -> Option<String> {
        let (mut text, mut byte) = (String::new(), [0]);
        while self.told.read(&mut byte).unwrap() == 1 {
            text.push(byte[0] as char);
            if text.ends_with("[q] stop here ") {
                let end = text.rfind(")\n").unwrap();
                return Some(text[text[..end].rfind('(').unwrap() + 1..end].to_owned());
            }
            if text.contains("execve(") {
                return None;
            }
        }
        panic!("it ended before its command began: {text}");
    }

    fn go_on(&mut self) {
        self.input.write_all(b"\n").unwrap();
    }
}

#[test]
fn killed_at_each_step_whoever_is_killed() {
    let _turn = alone();
    let before = lab::ledger();
    let stride = if count() < 100 { 4 } else { 1 };
    for (name, flags) in [ways().remove(0), ways().remove(1)] {
        for victim in ["host", "rubber:pid 1"] {
            let mut reached = 0;
            // As many rounds as there are prompts: each ends at a later one.
            for stop in (1..).step_by(stride) {
                let mut stepping = Stepping::start(&flags);
                let mut who = stepping.next();
                for _ in 1..stop {
                    stepping.go_on();
                    who = stepping.next();
                    if who.is_none() {
                        break;
                    }
                }
                let Some(who) = who else {
                    stepping.host.kill();
                    assert_gone("killed when all steps were done");
                    sweep(stop, "killed when all steps were done");
                    break;
                };
                let what = format!("{name}: {victim} killed at step {stop}, of {who}");
                match victim {
                    "host" => stepping.host.kill(),
                    // It is not there before the host has forked it.
                    victim => match stepping.host.descendant(victim) {
                        Some(pid) => {
                            signal(pid, libc::SIGKILL);
                            assert_eq!(ended(&mut stepping.host.0, &what).signal().unwrap_or(0), 0, "{what}");
                            assert_nothing(&what);
                        }
                        None => continue,
                    },
                }
                reached += 1;
                assert_gone(&what);
                sweep(stop, &what);
            }
            assert!(reached > 10 / stride, "{name}: {victim}: only {reached} steps");
        }
    }
    assert_balanced(&before);
}

/// Waits for it to end by itself.
fn ended(child: &mut Child, what: &str) -> std::process::ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}: rubber does not end");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn when_pid_1_or_the_command_is_killed_rubber_ends_and_leaves_nothing() {
    let _turn = alone();
    let before = lab::ledger();
    for (name, flags) in ways() {
        // The command is pid 1 itself, but for where an init is.
        let victims: &[&str] = if name == "--init" { &["rubber:pid 1", "sleep"] } else { &["sleep"] };
        for &victim in victims {
            let mut host = Host::start(&mut run(&flags, "exec sleep 300"));
            host.wait_for("sleep");
            signal(host.wait_for(victim), libc::SIGKILL);
            let what = format!("{name}: {victim} killed while the command runs");
            assert_eq!(ended(&mut host.0, &what).code(), Some(137), "{what}");
            assert_nothing(&what);
        }
    }
    assert_balanced(&before);
}

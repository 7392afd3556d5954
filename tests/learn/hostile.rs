//! Exercises that would do harm, or cheat: nothing of the host's may notice, and no cheat may pass.

use crate::{
    bench::{Bench, Chapter, assert_balanced, ledger},
    lab,
};
use nix::{sys::signal, unistd::Pid};
use std::{
    fs,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

fn chapter(bench: &Bench, layer: &str) -> Chapter {
    bench.chapters().into_iter().find(|chapter| chapter.layer == layer).unwrap()
}

fn pid_exercise(body: &str) -> String {
    format!(
        "use crate::{{config::Config, sys}};\nuse anyhow::Result;\n\n\
         pub fn unshare(_: &Config) -> Result<()> {{\n{body}\n}}\n"
    )
}

#[test]
fn learn_lets_no_exercise_touch_the_host() {
    let Some(bench) = Bench::lock() else { return };
    // Where the arena can see it: not in /tmp, over which it has a disk of its own.
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let canary = place.path().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("file"), "alive").unwrap();
    let before = ledger();
    let pid = chapter(&bench, "pid");
    let attacks = [
        // As if `rm -rf /` had been run in a chroot that failed, then umount of all there is, then kill -9 -1.
        (
            "run.failed",
            format!(
                "let _ = std::fs::remove_dir_all({canary:?});
                 for mount in crate::facts::own().mounts.into_iter().flatten().rev() {{
                     let _ = sys::umount2(&mount.target, nix::mount::MntFlags::MNT_DETACH);
                 }}
                 sys::kill(nix::unistd::Pid::from_raw(-1), 9)?;
                 anyhow::bail!(\"enough\")"
            ),
        ),
        ("run.timeout", "while sys::fork(\"bomb\", || loop {}).is_ok() {}\n loop {}".into()),
        (
            "run.timeout",
            "// SAFETY: no handler.
             let _ = unsafe { nix::sys::signal::signal(nix::sys::signal::SIGTERM, nix::sys::signal::SigHandler::SigIgn) };
             loop { std::thread::sleep(std::time::Duration::from_secs(1)) }"
                .into(),
        ),
        ("run.flood", "let much = [b'x'; 1 << 16];\n for _ in 0..(1 << 15) {\n use std::io::Write;\n std::io::stdout().write_all(&much)?;\n}\nOk(())".into()),
    ];
    for (diagnosis, body) in attacks {
        bench.solve(&pid, &pid_exercise(&body));
        let found = bench.check(&pid);
        assert_eq!(found["result"]["diagnosis"], diagnosis, "{body}: {}", found["result"]);
        assert_balanced(&before);
        assert_eq!(fs::read_to_string(canary.join("file")).unwrap(), "alive", "{body}");
    }
    a_killed_check_leaves_nothing(&bench, &pid, &before);
    bench.solve(&pid, &bench.shipped(&pid));
}

/// Killed in the middle it can only leave empty cgroups, and the next check removes them.
fn a_killed_check_leaves_nothing(bench: &Bench, pid: &Chapter, before: &lab::Ledger) {
    bench.solve(pid, &pid_exercise("loop {}"));
    let mut check = Command::new(lab::RUBBER);
    check.args(["learn", "check", "pid"]).current_dir(&bench.root);
    let mut check = check.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    while lab::descendant(check.id(), "rubber:warden").is_none() {
        assert!(begin.elapsed().as_secs() < 60, "no warden came to be");
        sleep(Duration::from_millis(20));
    }
    sleep(Duration::from_millis(200));
    signal::kill(Pid::from_raw(check.id() as i32), signal::SIGKILL).unwrap();
    check.wait().unwrap();
    let begin = Instant::now();
    while ledger().processes != before.processes {
        assert!(begin.elapsed().as_secs() < 5, "{:#?}", ledger().processes);
        sleep(Duration::from_millis(20));
    }
    bench.solve(pid, &bench.shipped(pid));
    assert_eq!(bench.check(pid)["result"]["outcome"], "pass");
    assert_balanced(before);
}

/// It answers in the probe's place, and all its answers are right.
#[test]
fn learn_does_not_believe_who_only_says_the_right_things() {
    let Some(bench) = Bench::lock() else { return };
    let uts = chapter(&bench, "uts");
    bench.solve(
        &uts,
        r#"use crate::config::Config;
use anyhow::Result;

pub fn unshare(config: &Config) -> Result<()> {
    use nix::sys::socket::{MsgFlags, recv, send};
    send(0, b"hello", MsgFlags::empty())?;
    let mut question = [0; 4096];
    let length = recv(0, &mut question, MsgFlags::empty())?;
    let question: serde_json::Value = serde_json::from_slice(&question[..length])?;
    let inside = serde_json::json!({"hostname": config.hostname.to_str()});
    let answer = serde_json::json!({"nonce": question["nonce"], "inside": inside});
    send(0, answer.to_string().as_bytes(), MsgFlags::empty())?;
    let code = question["code"].as_u64().unwrap_or_default() as u8;
    Err(crate::Exit(code, String::new()).into())
}
"#,
    );
    let found = bench.check(&uts);
    assert_eq!(found["result"]["diagnosis"], "run.forged", "{}", found["result"]);
    bench.solve(&uts, &bench.shipped(&uts));
}

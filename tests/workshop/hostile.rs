//! Exercises that would do harm: nothing of the host's may notice.

use crate::{chapters::*, lab, variants::Variants};
use nix::{sys::signal, unistd::Pid};
use std::{
    fs,
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

/// What they are and what is said of them. How far the removal of everything comes in time depends on how
/// much there is; and an ordinary user's mounts cannot travel.
const HOSTILE: &[(&str, &str, &[&str])] = &[
    ("process", "endless", &["run.timeout"]),
    ("chroot", "rm-rf", &["run.failed", "run.timeout"]),
    ("mount", "no-private", &["mount.travels", "mount.slave"]),
    ("pid", "fork-bomb", &["run.timeout"]),
    ("pid", "ignores-sigterm", &["run.timeout"]),
    ("pid", "two-gibibytes", &["run.flood"]),
    ("pid", "umount-and-kill", &["run.failed"]),
];

#[test]
fn workshop_lets_no_exercise_touch_the_host() {
    let Some(variants) = Variants::lock() else { return };
    // Where the arena can see it: not in /tmp, over which it has a disk of its own.
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let canary = place.path().join("canary");
    fs::create_dir(&canary).unwrap();
    fs::write(canary.join("file"), "alive").unwrap();
    let before = ledger();
    for (layer, version, diagnoses) in HOSTILE {
        let found = &variants.check(of(layer), version)["result"];
        let diagnosis = found["diagnosis"].as_str().unwrap_or_default();
        let is_open = found.to_string().contains("the arena is open");
        assert!(diagnoses.contains(&diagnosis) && !is_open, "{layer} {version}: {found}");
        assert_balanced(&before);
        assert_eq!(fs::read_to_string(canary.join("file")).unwrap(), "alive", "{layer} {version}");
    }
}

/// What no check asks for, an attack finds.
#[test]
fn workshop_attacks_what_passes_all_checks() {
    let Some(variants) = Variants::lock() else { return };
    let found = variants.check(of("mount"), "no-dev");
    assert_eq!(found["result"]["diagnosis"], "attack.null", "{}", found["result"]);
    assert!(found["screen"].as_str().unwrap().lines().count() <= 12, "{}", found["screen"]);
}

/// Killed in the middle it can only leave empty cgroups, and the next check removes them.
#[test]
fn workshop_leaves_nothing_when_a_check_is_killed() {
    let Some(variants) = Variants::lock() else { return };
    let before = ledger();
    let pid = of("pid");
    variants.choose(pid, "ignores-sigterm");
    let mut check = variants.command(pid);
    check.arg("--with").arg(variants.program()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut check = check.spawn().unwrap();
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
    assert_eq!(variants.check(pid, "shipped")["result"]["outcome"], "pass");
    assert_balanced(&before);
}

//! Any command may be killed at any moment: what is then left can be read, and removed.

use super::*;

/// Commands that change what there is, and one that starts something.
const WAYS: &[&[&str]] = &[
    &["run", "-d", "--name", "NEW", "busybox", "sleep", "1000"],
    &["run", "-d", "--rm", "--name", "NEW", "--init", "busybox", "sleep", "1000"],
    &["run", "--name", "NEW", "busybox", "true"],
    &["exec", "box", "sleep", "0.02"],
    &["exec", "-d", "box", "sleep", "0.02"],
    &["stop", "-t", "0", "box"],
    &["rm", "-f", "box"],
    &["kill", "box"],
    &["commit", "box", "NEW"],
    &["cp", "box:/bin", "OUT"],
    &["cp", "/etc/os-release", "box:/NEW"],
    &["cp", "OUT", "box:/NEW"],
];

#[test]
fn a_command_killed_at_any_moment_leaves_a_world_that_can_be_read() {
    let place = Place::new("killed");
    let out = lab::scratch().join("life").join("killed-out");
    let _ = std::fs::remove_dir_all(&out);
    std::fs::create_dir(&out).unwrap();
    let mounts = || {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().filter(|line| line.contains(place.root.to_str().unwrap())).count()
    };
    let mounted = mounts();
    let times = std::env::var("RUBBER_TEST_KILLS").ok().and_then(|times| times.parse().ok()).unwrap_or(120);
    let mut ids = Vec::new();
    for turn in 0..times {
        place.run(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
        let new = format!("new{turn}");
        let real = |word: &&str| word.replace("NEW", &new).replace("OUT", out.to_str().unwrap());
        let words: Vec<_> = WAYS[turn % WAYS.len()].iter().map(real).collect();
        // Not timeout(1), which would be killed in its place.
        let mut command = Command::new(lab::RUBBER);
        command.arg("--root").arg(&place.root).args(&words);
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        // Spread over the time a start takes, in no order.
        sleep(Duration::from_micros(turn as u64 * 7919 % 40_000));
        let _ = child.kill();
        child.wait().unwrap();
        // Who copies it keeps it still, and lets it go when they are killed.
        wait_until("going on", || place.list().iter().all(|about| about["state"] != "paused"));
        for about in place.list() {
            ids.push(about["id"].as_str().unwrap().to_owned());
            assert!(
                ["created", "running", "exited"].contains(&about["state"].as_str().unwrap()),
                "{words:?}: {about}"
            );
        }
        is_whole_or_not_there(&place, &new);
        if turn % 8 == 7 {
            sweep(&place);
        }
    }
    sweep(&place);
    assert_eq!(mounts(), mounted);
    std::fs::remove_dir_all(&out).unwrap();
    for tree in ["", "cpu", "memory", "pids"] {
        for id in &ids {
            assert!(!PathBuf::from(format!("/sys/fs/cgroup/{tree}/rubber-{id}")).exists(), "{tree} {id}");
        }
    }
    assert_eq!(running(&place), [""; 0]);
}

/// An image that was just being made.
fn is_whole_or_not_there(place: &Place, image: &str) {
    if place.say(&["images"]).contains(&format!("{image} ")) {
        place.say(&["run", image, "true"]);
        place.say(&["rmi", image]);
    }
}

/// All that is left can be removed. A process that is just ending holds its record for one more moment.
fn sweep(place: &Place) {
    let begin = Instant::now();
    loop {
        place.remove_all();
        place.run(&["clean"]);
        let store = |dir| std::fs::read_dir(place.root.join(dir)).map_or(0, |entries| entries.count());
        // One layer is that of busybox.
        if place.left().is_empty() && store("tmp") == 0 && store("layers") == 1 {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{:?} {}", place.left(), store("layers"));
        sleep(Duration::from_millis(50));
    }
}

/// The processes of this place's rubbers.
fn running(place: &Place) -> Vec<String> {
    let begin = Instant::now();
    let mark = format!("\0{}\0", place.root.display());
    loop {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let command = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("cmdline")).ok();
        let left: Vec<_> = entries.filter_map(command).filter(|words| words.contains(&mark)).collect();
        if left.is_empty() || begin.elapsed() > Duration::from_secs(10) {
            return left;
        }
        sleep(Duration::from_millis(20));
    }
}

//! What is left when somebody is killed: nothing that runs, and a world that the next command can read.

use super::*;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

#[test]
fn a_container_ends_with_its_rubber_and_says_so() {
    let place = Place::new("lost");
    let id = place.say(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let pid = place.list()[0]["pid"].as_i64().unwrap() as i32;
    kill(Pid::from_raw(supervisor(pid)), Signal::SIGKILL).unwrap();
    wait_until("its end", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
    wait_until("the end of its rubber", || place.list()[0]["state"] == "exited");
    assert!(place.say(&["ps", "-a"]).contains("lost"));
    // The next run sweeps its groups, and leaves what it wrote.
    place.say(&["run", "busybox", "true"]);
    assert!(place.file(&id).is_dir());
    for tree in ["cpu", "memory", "pids", ""] {
        assert!(!PathBuf::from(format!("/sys/fs/cgroup/{tree}/rubber-{id}")).exists(), "{tree}");
    }
    assert_eq!(place.say(&["rm", "box"]), "box");
    assert_eq!(place.left(), [""; 0]);
}

/// A number that was written down and is somebody else's now is not the container's.
#[test]
fn a_pid_of_another_is_not_taken_for_the_containers() {
    let place = Place::new("pid");
    let id = place.say(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let file = place.file(&format!("{id}.pid"));
    let as_it_was = std::fs::read_to_string(&file).unwrap();
    let began = as_it_was.trim().split(' ').nth(1).unwrap();
    std::fs::write(&file, format!("{} {began}\n", std::process::id())).unwrap();
    assert_eq!(place.list()[0]["state"], "created");
    assert!(place.fails(&["kill", "box"], 125).contains("not running"));
    std::fs::write(&file, as_it_was).unwrap();
    assert_eq!(place.list()[0]["state"], "running");
}

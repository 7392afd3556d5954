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

/// A machine that went down: all processes, mounts and groups are gone, and so is what was in memory. The store is not.
#[test]
fn after_the_machine_went_down_the_list_is_right_and_names_are_free() {
    let place = Place::new("reboot");
    let sleeps = |words: &[&str]| {
        place.say(&[&["run", "-d"], words, &["busybox", "sh", "-c"], &["echo x >/x; sleep 1000"]].concat())
    };
    let ids = [sleeps(&["--name", "box"]), sleeps(&["--name", "gone", "--rm"]), sleeps(&[])];
    place.fails(&["run", "--name", "old", "busybox", "sh", "-c", "exit 3"], 3);
    let pids: Vec<_> =
        place.list().iter().filter_map(|about| about["pid"].as_i64()).map(|pid| pid as i32).collect();
    assert_eq!(pids.len(), 3);
    for pid in pids.iter().map(|pid| supervisor(*pid)).chain(pids.clone()).collect::<Vec<_>>() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    wait_until("their end", || pids.iter().all(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()));
    for (tree, id) in
        ["cpu", "memory", "pids", ""].iter().flat_map(|tree| ids.iter().map(move |id| (tree, id)))
    {
        let _ = std::fs::remove_dir(format!("/sys/fs/cgroup/{tree}/rubber-{id}"));
    }
    // As a file system may leave them: one is empty, one was just being written; and a number is another's by now.
    std::fs::write(place.file("0123456789ab.json"), "").unwrap();
    std::fs::write(place.file(&format!("{}.ended.new", ids[0])), "{\"code\"").unwrap();
    std::fs::write(place.file(&format!("{}.pid", ids[2])), format!("{} 1\n", std::process::id())).unwrap();

    wait_until("the list", || place.list().iter().all(|about| about["state"] == "exited"));
    let told = place.say(&["ps", "-a"]);
    assert_eq!(told.matches("lost").count(), 3, "{told}");
    assert!(place.list().iter().any(|about| about["name"] == "old" && about["exit_code"] == 3), "{told}");
    assert!(place.fails(&["exec", "box", "true"], 125).contains("not running"));
    // Its files are there, and the next start takes away the one that was not to stay.
    assert_eq!(place.say(&["diff", "box"]), "A /x");
    place.say(&["run", "--name", "gone", "busybox", "true"]);
    assert_eq!(place.say(&["ps", "-aq"]).lines().count(), 4);
    assert!(place.fails(&["run", "--name", "box", "busybox", "true"], 125).contains("in use"));
    place.say(&["rm", "box", "gone", "old", &ids[2]]);
    assert_eq!(place.left(), [""; 0]);
    place.say(&["run", "--rm", "--name", "box", "busybox", "true"]);
}

/// What a container that is kept asks to have on the disk gets there.
#[test]
fn what_is_kept_is_not_volatile() {
    let place = Place::new("synced");
    let root = |flags: &[&str]| {
        place.say(&[&["run"], flags, &["busybox", "sh", "-c", "grep ' / / ' /proc/self/mountinfo"]].concat())
    };
    if lab::on_overlay() {
        return lab::skip_this("the store is on an overlay: what is written is in memory");
    }
    assert!(root(&[]).contains("volatile"));
    assert!(root(&["--rm", "--name", "box"]).contains("volatile"));
    assert!(!root(&["--name", "box"]).contains("volatile"));
}

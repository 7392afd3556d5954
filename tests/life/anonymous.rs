//! Volumes without a name: an image asks for them, and they go with the container they were made for.

use super::*;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A place whose busybox wants volumes at `places`.
fn wanting(name: &str, places: &[&str]) -> Place {
    // What an earlier run left may be what is tried here: an image that does not run.
    let _ = std::fs::remove_dir_all(lab::scratch().join("life").join(name));
    let place = Place::new(name);
    let file = place.root.join("images/busybox.json");
    let mut image: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let places: serde_json::Map<_, _> =
        places.iter().map(|place| (place.to_string(), serde_json::json!({}))).collect();
    image["config"]["Volumes"] = places.into();
    std::fs::write(&file, serde_json::to_vec(&image).unwrap()).unwrap();
    for volume in volumes(&place) {
        place.say(&["volume", "rm", &volume]);
    }
    place
}

fn volumes(place: &Place) -> Vec<String> {
    place.say(&["volume", "ls", "-q"]).lines().map(str::to_owned).collect()
}

const MOUNTED: &str = "grep -c ' /etc ' /proc/self/mountinfo; cat /etc/passwd | head -1";

#[test]
fn an_image_gets_the_volumes_it_asks_for() {
    let place = wanting("asked", &["/etc", "/new/place"]);
    let said = place.say(&["run", "--name", "box", "busybox", "sh", "-c", MOUNTED]);
    assert!(said.starts_with("1\nroot:"), "it has what the image has there: {said}");
    let made = volumes(&place);
    assert_eq!(made.len(), 2);
    let mounts = place.inspect("box")["config"]["mounts"].as_array().unwrap().clone();
    assert!(mounts.iter().all(|mount| made.contains(&mount["name"].as_str().unwrap().to_owned())));
    // As docker: they outlive it, unless they are asked to go.
    place.say(&["rm", "box"]);
    assert_eq!(volumes(&place), made);
    place.say(&["volume", "rm", &made[0]]);
    place.say(&["volume", "rm", &made[1]]);
    place.say(&["run", "-d", "--name", "box", "-v", "/third", "busybox", "sleep", "1000"]);
    assert_eq!(volumes(&place).len(), 3);
    place.say(&["rm", "-f", "-v", "box"]);
    assert_eq!(volumes(&place), [""; 0]);
    for flags in [&[][..], &["--rm", "--name", "box"]] {
        place.say(&[&["run"], flags, &["busybox", "touch", "/new/place/x"]].concat());
        assert_eq!(volumes(&place), [""; 0], "{flags:?}");
    }
    // What is asked for comes in its place, and is nobody's to take away.
    place.say(&["run", "--rm", "-v", "named:/etc", "-v", "other:/new/place", "busybox", "true"]);
    assert_eq!(volumes(&place), ["named", "other"]);
    place.say(&["volume", "rm", "named", "other"]);
}

#[test]
fn a_volume_that_two_have_stays() {
    let place = wanting("two", &["/data"]);
    place.say(&["run", "--name", "one", "busybox", "touch", "/data/x"]);
    let name = volumes(&place).remove(0);
    place.say(&["run", "--name", "two", "-v", &format!("{name}:/data"), "busybox", "ls", "/data/x"]);
    place.say(&["rm", "-v", "one"]);
    assert_eq!(volumes(&place), [&name[..]]);
    place.say(&["rm", "-v", "two"]);
    place.say(&["volume", "rm", &name]);
}

/// Its rubber is killed: the next one takes them away, as they are in the record.
#[test]
fn a_killed_container_leaves_no_volume() {
    let place = wanting("orphan", &["/data"]);
    place.say(&["run", "-d", "--rm", "--name", "box", "busybox", "sleep", "1000"]);
    assert_eq!(volumes(&place).len(), 1);
    let first = place.list()[0]["pid"].as_i64().unwrap() as i32;
    kill(Pid::from_raw(supervisor(first)), Signal::SIGKILL).unwrap();
    wait_until("the sweep", || {
        place.run(&["clean"]);
        place.left().is_empty()
    });
    assert_eq!(volumes(&place), [""; 0]);
}

#[test]
fn places_that_are_none_are_told() {
    for bad in ["relative", "/", "/proc/self", "/a/../.."] {
        let place = wanting("bad", &[bad]);
        let said = place.fails(&["run", "busybox", "true"], 125);
        assert!(said.contains("the image wants a volume at") && said.lines().count() == 1, "{said}");
    }
}

/// The user's number stands in a file of the image's. While the host's root is still there, a link with enough ".."
/// would lead to the host's own file.
#[test]
fn the_users_file_is_not_the_hosts() {
    let place = Place::new("whose");
    let root = place.root.join("rootfs");
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(root.join("etc")).unwrap();
    let hosts = place.root.join("passwd");
    std::fs::write(&hosts, "spy:x:4242:4242::/:/bin/sh\n").unwrap();
    let up = "../".repeat(12) + hosts.strip_prefix("/").unwrap().to_str().unwrap();
    std::os::unix::fs::symlink(up, root.join("etc/passwd")).unwrap();
    let output =
        place.run(&["run", "--explain", "-t", "-u", "spy", "--rootfs", root.to_str().unwrap(), "/x"]);
    assert!(!text(&output.stderr).contains("4242"), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("no user \"spy\""), "{}", text(&output.stderr));
}

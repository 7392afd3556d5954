//! The store: what it refuses, what it survives, what it shares.

use super::{
    lab::skip,
    place::{Place, entries},
    tars::Tar,
};
use nix::unistd::geteuid;
use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Stdio,
    time::{Duration, Instant},
};

#[test]
fn rmi_removes_a_layer_with_the_last_image_that_uses_it() {
    let place = Place::new();
    fs::write(place.path("a.tar"), Tar::new().file("a", "").bytes()).unwrap();
    for name in ["one", "two:latest", "library/three:v1"] {
        place.rubber(&["import", "a.tar", name]).good();
    }
    let listed = place.rubber(&["images"]).good().out;
    let names: Vec<_> = listed.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, ["NAME", "one", "three:v1", "two"]);
    place.rubber(&["rmi", "one", "two"]).good();
    assert_eq!(place.layers().len(), 1);
    place.rubber(&["rmi", "library/three:v2"]).refused("did you mean three:v1?");
    place.rubber(&["rmi", "library/three:v1"]).good();
    place.assert_empty_store();
    place.rubber(&["rmi", "one"]).refused("rubber images lists");
}

#[test]
fn a_name_that_means_something_new_drops_the_old_layer() {
    let place = Place::new();
    place.import(&Tar::new().file("a", "old").bytes()).good();
    place.import(&Tar::new().file("a", "new").bytes()).good();
    assert_eq!(fs::read_to_string(place.layer().join("a")).unwrap(), "new");
}

#[test]
fn bad_names_and_sources_are_refused() {
    let place = Place::new();
    fs::write(place.path("a.tar"), Tar::new().file("a", "").bytes()).unwrap();
    for bad in ["", "..", "../x", "/x", "A", "x:y:z", "a b", "x\u{1b}[2J"] {
        place.rubber(&["import", "a.tar", bad]).refused("bad image name");
    }
    place.rubber(&["import", "a.tar", "rubber"]).refused("taken");
    place.rubber(&["import", "missing.tar", "it"]).refused("\"missing.tar\": No such file");
    place.assert_empty_store();
}

#[test]
fn a_killed_import_leaves_no_image_and_the_next_one_clears_up() {
    let place = Place::new();
    let tar = Tar::new().file("a", &"x".repeat(100_000)).bytes();
    let mut command = place.command(&["import", "-", "it"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(&tar[..80_000]).unwrap();
    let began = Instant::now();
    while entries(&place.store().join("tmp")).is_empty() && began.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(entries(&place.store().join("tmp")).len(), 1, "the kill came in the middle");
    assert_eq!(entries(&place.store().join("images")).len() + place.layers().len(), 0);
    place.import(&tar).good();
    assert_eq!(entries(&place.store().join("tmp")).len(), 0);
}

#[test]
fn a_second_import_waits_for_the_first() {
    let place = Place::new();
    let tar = Tar::new().file("a", &"x".repeat(100_000)).bytes();
    let mut first = place.command(&["import", "-", "first"]);
    let mut first = first.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    first.stdin.as_mut().unwrap().write_all(&tar[..80_000]).unwrap();
    while entries(&place.store().join("tmp")).is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::write(place.path("a.tar"), &tar).unwrap();
    let mut command = place.command(&["import", "a.tar", "second"]);
    let second = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(1300));
    assert_eq!(entries(&place.store().join("images")).len(), 0);
    first.stdin.take().unwrap().write_all(&tar[80_000..]).unwrap();
    assert!(first.wait().unwrap().success());
    let second = second.wait_with_output().unwrap();
    assert!(second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("waiting for another rubber"));
    assert_eq!((entries(&place.store().join("images")).len(), place.layers().len()), (2, 1));
}

#[test]
fn a_store_that_cannot_be_one_is_refused() {
    let place = Place::of_ordinary_user().with_store("file");
    fs::write(place.store(), "").unwrap();
    place.rubber(&["images"]).refused("is not a directory: name one with --root DIR");

    let place = Place::of_ordinary_user().with_store("closed/store");
    fs::create_dir(place.path("closed")).unwrap();
    fs::set_permissions(place.path("closed"), Permissions::from_mode(0o555)).unwrap();
    place.rubber(&["images"]).refused("no permission to use the store");

    let place = Place::new().with_store("open");
    fs::create_dir(place.store()).unwrap();
    fs::set_permissions(place.store(), Permissions::from_mode(0o777)).unwrap();
    place.rubber(&["images"]).refused("can be changed by others");

    let place = Place::of_ordinary_user().with_store("theirs");
    fs::create_dir(place.store()).unwrap();
    match geteuid().is_root() {
        true => place.rubber(&["images"]).refused("belongs to user 0: name one of your own"),
        false => skip("a_store_that_cannot_be_one_is_refused", "only root can make another's directory"),
    }
}

#[test]
fn a_new_store_is_private() {
    let place = Place::new();
    place.import(&Tar::new().file("a", "").bytes()).good();
    for directory in ["", "images", "layers", "tmp"] {
        let mode = fs::metadata(place.store().join(directory)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700, "{directory:?}");
    }
}

#[test]
fn a_full_store_says_so_and_keeps_nothing() {
    let place = Place::new();
    fs::create_dir(place.store()).unwrap();
    fs::write(place.path("big.tar"), Tar::new().file("big", &"x".repeat(3 << 20)).bytes()).unwrap();
    let script = r#"mount -t tmpfs -o size=1m,mode=700 tmpfs "$STORE"
        "$RUBBER" --root "$STORE" import big.tar it || echo "code $?"
        ls "$STORE/images" "$STORE/layers" "$STORE/tmp" | grep -v : || true"#;
    let Some(ended) = place.in_mount_namespace("a_full_store_says_so_and_keeps_nothing", script) else {
        return;
    };
    assert!(ended.err.contains("is full: make room there"), "{}", ended.err);
    assert_eq!((ended.err.lines().count(), ended.out.trim()), (1, "code 125"));
}

#[test]
fn a_read_only_store_can_be_read_and_says_why_it_takes_nothing() {
    let place = Place::new();
    place.import(&Tar::new().file("a", "").bytes()).good();
    fs::write(place.path("b.tar"), Tar::new().file("b", "").bytes()).unwrap();
    let script = r#"mount --bind "$STORE" "$STORE"; mount -o remount,ro,bind "$STORE"
        "$RUBBER" --root "$STORE" images
        "$RUBBER" --root "$STORE" import b.tar it2 || echo "code $?""#;
    let Some(ended) =
        place.in_mount_namespace("a_read_only_store_can_be_read_and_says_why_it_takes_nothing", script)
    else {
        return;
    };
    assert!(ended.err.contains("on a read-only filesystem: name another"), "{}", ended.err);
    assert!(ended.out.contains("\nit ") && ended.out.ends_with("code 125\n"), "{}", ended.out);
}

#[test]
fn clearing_up_does_not_cross_a_mount() {
    let place = Place::new();
    place.import(&Tar::new().file("a", "").bytes()).good();
    fs::create_dir(place.path("precious")).unwrap();
    fs::write(place.path("precious/file"), "alive").unwrap();
    fs::write(place.path("b.tar"), Tar::new().file("b", "").bytes()).unwrap();
    // A bind mount of the same filesystem: the device number does not tell it from a plain directory.
    let script = r#"mkdir -p "$STORE/tmp/new-x/mnt"; mount --bind precious "$STORE/tmp/new-x/mnt"
        "$RUBBER" --root "$STORE" import b.tar it2 || echo "code $?""#;
    let Some(ended) = place.in_mount_namespace("clearing_up_does_not_cross_a_mount", script) else { return };
    assert!(ended.err.contains("is a mount point: unmount it first"), "{}", ended.err);
    assert_eq!(ended.out, "code 125\n");
    assert_eq!(fs::read_to_string(place.path("precious/file")).unwrap(), "alive");
}

#[test]
fn a_damaged_image_is_named_and_can_be_removed() {
    let place = Place::new();
    place.import(&Tar::new().file("a", "").bytes()).good();
    let json = place.store().join("images/it.json");
    for damage in
        ["{", "", r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["../.."]}}"#]
    {
        fs::write(&json, damage).unwrap();
        place.rubber(&["images"]).refused("damaged");
    }
    place.rubber(&["rmi", "it"]).good();
    place.assert_empty_store();
}

//! Images that are made on this machine.

use super::{
    lab::skip,
    place::{Place, entries},
};
use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::{Command, Stdio},
    time::Instant,
};

/// The busybox image needs a static busybox, which a laptop may not have.
fn busybox_is_here(test: &str) -> bool {
    let here =
        Command::new("sh").args(["-c", "command -v busybox tar && ! ldd $(command -v busybox)"]).output();
    let here = here.is_ok_and(|output| output.status.success());
    if !here {
        skip(test, "no static busybox in PATH (apt-get install busybox-static)");
    }
    here
}

#[test]
fn busybox_and_workshop_are_made_once_and_then_found() {
    if !busybox_is_here("busybox_and_workshop_are_made_once_and_then_found") {
        return;
    }
    let place = Place::of_ordinary_user();
    for name in ["busybox", "workshop"] {
        let made = place.rubber(&["import", "--recipe", name]).good();
        assert!(
            made.err.starts_with(&format!("rubber: no image \"{name}\" yet: making it from /")),
            "{}",
            made.err
        );
        let found = place.rubber(&["import", "--recipe", name]).good();
        assert_eq!((found.err.as_str(), found.out), ("", made.out));
    }
    assert_eq!(place.layers().len(), 2);
    for layer in place.layers() {
        // Each name is the same file, whether by links or by names for it.
        let file = |name: &str| fs::metadata(layer.join(name)).unwrap().ino();
        assert_eq!(file("bin/sh"), file("bin/ls"));
        assert_eq!(fs::metadata(layer.join("tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
        assert!(fs::read_to_string(layer.join("etc/passwd")).unwrap().contains("guest:x:1000:"));
    }
    assert_eq!(entries(&place.store().join("tmp")).len(), 0);
}

#[test]
fn twenty_at_once_unpack_it_once() {
    if !busybox_is_here("twenty_at_once_unpack_it_once") {
        return;
    }
    let place = Place::new();
    let start = |_| {
        let mut command = place.command(&["import", "--recipe", "busybox"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..20).map(start).collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(outputs.iter().all(|output| output.status.success()), "{}", said(&outputs[0]));
    assert_eq!(outputs.iter().filter(|output| said(output).contains("making it")).count(), 1);
    assert!(outputs.iter().all(|output| output.stdout == outputs[0].stdout));
    assert_eq!((place.layers().len(), entries(&place.store().join("tmp")).len()), (1, 0));
}

#[test]
fn killed_at_any_moment_it_leaves_all_or_nothing() {
    if !busybox_is_here("killed_at_any_moment_it_leaves_all_or_nothing") {
        return;
    }
    let place = Place::new();
    let began = Instant::now();
    place.rubber(&["import", "--recipe", "busybox"]).good();
    let whole = began.elapsed();
    place.rubber(&["rmi", "busybox"]).good();
    let mut made = 0;
    for part in 0..20 {
        let mut command = place.command(&["import", "--recipe", "busybox"]);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole * part / 16);
        child.kill().unwrap();
        child.wait().unwrap();
        if entries(&place.store().join("images")).len() == 1 {
            made += 1;
            assert!(fs::metadata(place.layer().join("bin/busybox")).unwrap().len() > 100_000);
            place.rubber(&["rmi", "busybox"]).good();
        }
        // A layer without an image may have been left, whole: then the next one finds it there.
        assert!(place.layers().len() <= 1);
    }
    place.rubber(&["import", "--recipe", "busybox"]).good();
    place.rubber(&["rmi", "busybox"]).good();
    place.assert_empty_store();
    eprintln!("{made} of 20 were quicker than the kill");
}

#[test]
fn what_is_missing_is_named_with_the_command_that_gets_it() {
    let place = Place::new();
    let mut command = place.command(&["import", "--recipe", "busybox"]);
    let said = String::from_utf8(command.env("PATH", "/nonexistent").output().unwrap().stderr).unwrap();
    assert!(said.contains("no busybox in PATH; apt-get install busybox-static"), "{said}");
    // A dynamic busybox would not run in the image.
    fs::create_dir(place.path("bin")).unwrap();
    fs::copy("/bin/ls", place.path("bin/busybox")).unwrap();
    fs::set_permissions(place.path("bin/busybox"), Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", place.path("bin").display(), std::env::var("PATH").unwrap());
    let mut command = place.command(&["import", "--recipe", "busybox"]);
    let said = String::from_utf8(command.env("PATH", path).output().unwrap().stderr).unwrap();
    assert!(said.contains("linked dynamically") && said.contains("apt-get install"), "{said}");
    place.assert_empty_store();
    place.rubber(&["import", "--recipe", "windows"]).refused("there are borrowed, busybox, debian, workshop");
}

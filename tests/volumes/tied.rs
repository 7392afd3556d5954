//! Mounts that come later on one side, and are seen on the other or not.

use super::*;

/// In a mount table of its own, where `src` is shared: runs a container with `share`, and `host` once it is up.
fn tied(place: &Place, share: &str, inside: &str, host: &str) -> String {
    let src = place.path("data").display().to_string();
    let script = format!(
        "mount --bind {src} {src} && mount --make-rshared {src} && cd {src} || exit 1
        \"$@\" & rubber=$!
        for n in $(seq 500); do [ -e up ] && break; sleep 0.01; done
        {host}
        touch go; wait $rubber; umount -l {src}"
    );
    let inside =
        format!("touch /x/up; for n in $(seq 500); do [ -e /x/go ] && break; sleep 0.01; done; {inside}");
    let share = place.at("data", share);
    let words = ["run", "--cap-add", "SYS_ADMIN", "-v", &share, "busybox", "sh", "-c", &inside];
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &script, "sh", lab::RUBBER, "--root"]).arg(store()).args(words);
    let output = command.output().unwrap();
    for name in ["up", "go"] {
        let _ = fs::remove_file(place.path("data").join(name));
    }
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

#[test]
fn tied_mounts_are_told_of_the_other_sides_as_asked() {
    if !is_root() {
        return skip_this("only root can make a mount shared here");
    }
    if cannot() {
        return;
    }
    let place = Place::new();
    let to_us = |share: &str| {
        tied(&place, share, "ls /x/sub", "mount -t tmpfs t sub; touch sub/later").trim().to_owned()
    };
    assert_eq!(to_us("/x"), "");
    assert_eq!(to_us("/x:rprivate"), "");
    assert_eq!(to_us("/x:rslave"), "later");
    assert_eq!(to_us("/x:rshared"), "later");
    // And back: the container mounts, and the host looks.
    let back = |share: &str| {
        let inside = "mount -t tmpfs t /x/sub; touch /x/sub/ours";
        let src = place.path("data").display().to_string();
        let script = format!(
            "mount --bind {src} {src} && mount --make-rshared {src} || exit 1; \"$@\"; ls {src}/sub; umount -l {src}"
        );
        let share = place.at("data", share);
        let words = ["run", "--cap-add", "SYS_ADMIN", "-v", &share, "busybox", "sh", "-c", inside];
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script, "sh", lab::RUBBER, "--root"]).arg(store()).args(words);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout).trim().to_owned()
    };
    assert_eq!(back("/x"), "");
    assert_eq!(back("/x:rslave"), "");
    assert_eq!(back("/x:rshared"), "ours");
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(place.0.path().to_str().unwrap()));
}

#[test]
fn tied_to_what_tells_nothing_is_refused() {
    let place = Place::new();
    // Private, whatever the host's own table is like.
    let unshare: &[&str] = if is_root() { &["-m"] } else { &["-rm"] };
    let mut command = Command::new("unshare");
    let share = place.at("data", "/x:rshared");
    command
        .args(unshare)
        .args([lab::RUBBER, "--root"])
        .arg(store())
        .args(["run", "-v", &share, "busybox", "true"]);
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert!(
        code(&output) == 125 && (said.contains("--make-rshared") || said.contains("only root")),
        "{output:?}"
    );
}

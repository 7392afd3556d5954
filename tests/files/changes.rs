//! diff, commit and export: what a container has become.

use super::*;
use std::io::Write;

const CHANGES: &str = "echo new >/new; rm /etc/group; echo x >>/etc/passwd; rm -r /var; mkdir -p /var/fresh; \
                       mkdir -p /deep/er; ln -s new /soft; ln /new /hard; chmod 750 /deep; rm -r /home; echo f >/home; \
                       echo gone >/gone; rm /gone; ";

#[test]
fn diff_tells_what_was_added_changed_and_deleted() {
    if !upper_is_on_disk() {
        return;
    }
    let place = Place::of_this_test();
    place.start("it", &[], CHANGES);
    let expected = "A /deep\nA /deep/er\nC /etc\nD /etc/group\nC /etc/passwd\nA /hard\nC /home\nA /new\nA /soft\nC /var\n\
                    A /var/fresh\nD /var/log";
    assert_eq!(place.say(&["diff", "it"]), expected);
    place.end("it");
    assert_eq!(place.say(&["diff", "it"]), expected);
    let json: serde_json::Value =
        serde_json::from_str(&place.say(&["diff", "--format", "json", "it"])).unwrap();
    assert_eq!(json[3], serde_json::json!({"kind": "deleted", "path": "/etc/group"}));
    place.start("same", &[], "");
    assert_eq!(place.say(&["diff", "same"]), "");
    place.balance();
}

/// What a shell in a container of `image` sees of the changes.
fn look(place: &Place, flags: &[&str], image: &str) -> String {
    let script = "cat /new /home; ls /etc/group /gone /var; tail -n 1 /etc/passwd; stat -c %a /deep; readlink /soft; \
                  stat -c %h /hard";
    let words = [&["run"], flags, &[image, "sh", "-c", script]].concat();
    let output = place.output(&words);
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn a_commit_is_an_image_of_what_the_container_has_become() {
    let place = Place::of_this_test();
    place.start("it", &["-e", "COLOUR=blue", "-w", "/etc", "--label", "who=me"], CHANGES);
    place.say(&["commit", "it", "first"]);
    assert_eq!(place.state("it"), "running");
    let seen = look(&place, &[], "first");
    for part in
        ["new\nf\n", "fresh\n", "\nx\n750\nnew\n2\n", "/etc/group: No such file", "/gone: No such file"]
    {
        assert!(seen.contains(part), "{part:?} in {seen}");
    }
    assert!(!seen.contains("log"), "{seen}");
    assert_eq!(look(&place, &["--until", "chroot"], "first"), seen);
    // Words of its own replace the command; the environment and the directory come with the image.
    assert_eq!(place.say(&["run", "first", "sh", "-c", "echo $COLOUR; pwd"]), "blue\n/etc");
    // And on top of that one.
    place.start("again", &[], "");
    place.end("again");
    place.say(&[
        "run",
        "--name",
        "second",
        "first",
        "sh",
        "-c",
        "rm /new; mkdir /etc/dir; rm -r /var; mkdir /var",
    ]);
    if !lab::on_overlay() {
        place.say(&["commit", "second", "second"]);
        let said =
            place.say(&["run", "second", "sh", "-c", "ls -d /new /etc/dir 2>/dev/null; ls /var; cat /hard"]);
        assert_eq!(said, "/etc/dir\nnew");
        assert_eq!(place.say(&["diff", "second"]), "C /etc\nA /etc/dir\nD /new\nC /var\nD /var/fresh");
    }
    place.balance();
}

#[test]
fn a_commit_adds_a_layer_and_keeps_those_below() {
    if !upper_is_on_disk() {
        return;
    }
    let place = Place::of_this_test();
    place.start("it", &[], "echo new >/new");
    let said = place.say(&["commit", "it", "with-new:1"]);
    assert!(said.starts_with("with-new:1  ") && said.contains(" new)"), "{said}");
    let image = fs::read(place.store.join("store/images/with-new%3a1.json")).unwrap();
    let image: serde_json::Value = serde_json::from_slice(&image).unwrap();
    let layers = image["rootfs"]["diff_ids"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    let layer = place.store.join("store/layers").join(&layers[1].as_str().unwrap()["sha256:".len()..]);
    let names: Vec<_> = fs::read_dir(layer).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["new"]);
    assert_eq!(image["history"].as_array().unwrap().len(), 2);
    place.balance();
}

#[test]
fn owners_and_modes_survive_a_commit() {
    let place = Place::of_this_test();
    if !place.has_users() {
        lab::skip_this("there is nobody inside but root");
        return place.balance();
    }
    place.start(
        "it",
        &[],
        "mkdir /mine; echo s >/mine/s; chown -R 5:6 /mine; chmod 700 /mine; chmod 4711 /mine/s",
    );
    place.say(&["commit", "it", "owned"]);
    let look = |flags: &[&str]| {
        place.say(&[&["run"], flags, &["owned", "stat", "-c", "%a %u:%g", "/mine", "/mine/s"]].concat())
    };
    assert_eq!(look(&[]), "700 5:6\n4711 5:6");
    assert_eq!(look(&["--until", "chroot"]), "700 5:6\n4711 5:6");
    place.say(&["rm", "-f", "it"]);
    place.say(&["rmi", "owned"]);
    place.balance();
}

#[test]
fn an_export_is_the_whole_root_and_imports_again() {
    let place = Place::of_this_test();
    place.start("it", &[], CHANGES);
    for when in ["running", "ended"] {
        if when == "ended" {
            place.end("it");
            if lab::on_overlay() {
                break;
            }
        }
        place.say(&["export", "it", "-o", "whole.tar"]);
        place.say(&["import", "whole.tar", when]);
        let seen = look(&place, &[], when);
        assert!(seen.contains("new\nf\n") && seen.contains("/etc/group: No such file"), "{when}: {seen}");
        let archive = place.output(&["export", "it"]).stdout;
        let mut import = place
            .rubber(["import", "-", "piped"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        import.stdin.take().unwrap().write_all(&archive).unwrap();
        assert!(import.wait().unwrap().success());
        assert_eq!(look(&place, &[], "piped"), seen);
    }
    place.balance();
}

#[test]
fn a_commit_of_a_paused_container_leaves_it_paused_and_a_killed_one_leaves_it_running() {
    let place = Place::of_this_test();
    place.start("it", &[], "dd if=/dev/zero of=/large bs=1M count=50 2>/dev/null");
    if !place.output(&["pause", "it"]).status.success() {
        lab::skip_this("pausing takes a cgroup, and none is to be had");
        return place.balance();
    }
    place.say(&["commit", "it", "still"]);
    assert_eq!(place.state("it"), "paused");
    place.say(&["unpause", "it"]);
    for delay in [5, 20, 40, 80, 120] {
        let mut commit = place.rubber(["commit", "it", "killed"]).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        commit.kill().unwrap();
        commit.wait().unwrap();
        let begin = Instant::now();
        while place.state("it") != "running" {
            assert!(
                begin.elapsed().as_secs() < 5,
                "killed after {delay} ms, and it is {}",
                place.state("it")
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    place.say(&["clean"]);
    place.balance();
}

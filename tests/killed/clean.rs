//! `rubber clean`, and the sweep of every run.

use super::*;

#[test]
fn clean_says_what_it_removed_and_leaves_alone_what_no_record_names() {
    let _turn = alone();
    let id = dead_container("mkdir /made");
    let strangers = ["stranger", "notes.txt"].map(|name| containers().join(name));
    fs::create_dir_all(&strangers[0]).unwrap();
    fs::write(&strangers[1], "not a record").unwrap();
    let output = clean();
    assert_eq!((code(&output), text(&output.stdout)), (0, format!("removed container {id}\n")), "{output:?}");
    assert!(strangers.iter().all(|path| path.exists()), "{:?}", left());
    let again = clean();
    assert_eq!((code(&again), text(&again.stdout)), (0, String::new()));
    fs::remove_dir(&strangers[0]).unwrap();
    fs::remove_file(&strangers[1]).unwrap();
}

#[test]
fn clean_crosses_no_mount() {
    let _turn = alone();
    let unshare = if is_root() { "-m" } else { "-rm" };
    if !Command::new("unshare").args([unshare, "true"]).status().is_ok_and(|status| status.success()) {
        return lab::skip("clean_crosses_no_mount", "no mount namespace for the test itself");
    }
    let treasure = lab::scratch().join("treasure");
    fs::create_dir_all(&treasure).unwrap();
    // A bind mount of the same disk has the same device number as what it lies on.
    for mount in ["-t tmpfs tmpfs", &format!("--bind '{}'", treasure.display())] {
        let id = dead_container("mkdir /made");
        let place = containers().join(id).join("upper/made");
        let script = format!(
            "mount {mount} '{place}' && echo kept > '{place}/file' || exit 99
             '{RUBBER}' --root '{store}' clean; echo code $?; cat '{place}/file'",
            place = place.display(),
            store = store().display()
        );
        let output = Command::new("unshare").args([unshare, "sh", "-c", &script]).output().unwrap();
        assert_eq!(text(&output.stdout), "code 125\nkept\n", "{mount}: {output:?}");
        let said = text(&output.stderr);
        assert!(said.starts_with("rubber: ") && said.contains("mount") && said.contains("made"), "{said}");
        assert!(clean().status.success());
        assert_nothing(mount);
    }
    fs::remove_dir_all(treasure).unwrap();
}

#[test]
fn a_damaged_record_is_named_and_stops_nobody_else() {
    let _turn = alone();
    let file = containers().join("0123456789ab.json");
    let foreign =
        format!(r#"{{"version":1,"id":"0123456789ab","cgroups":["{}"]}}"#, lab::scratch().display());
    for damage in ["{\"version\":1,\"id\":0123}", "[]", "\0\0\0\0", &foreign] {
        fs::write(&file, damage).unwrap();
        let output = clean();
        let said = text(&output.stderr);
        assert_eq!(code(&output), 125, "{damage:?}: {output:?}");
        assert!(said.contains("0123456789ab.json") && said.contains("damaged"), "{said}");
        assert!(file.exists(), "{damage:?}: somebody may want to look at it");
        let output = run(&[], "true").output().unwrap();
        assert!(output.status.success(), "{damage:?} keeps others from running: {output:?}");
        // The dead beside it are swept all the same.
        fs::remove_file(&file).unwrap();
        let id = dead_container("true");
        fs::write(&file, damage).unwrap();
        assert_eq!(text(&clean().stdout), format!("removed container {id}\n"));
        fs::remove_file(&file).unwrap();
    }
    assert!(lab::scratch().exists());
    // What a kill leaves that came before a record was written, or all of it, names nothing, so it can go.
    for begun in ["", "{\"version\":2,\"name\":\"box\",\"image\":\"busy"] {
        fs::write(&file, begun).unwrap();
        assert!(run(&[], "true").output().unwrap().status.success());
        assert_nothing("a record that was not finished");
    }
}

#[test]
fn clean_leaves_a_running_container_alone_and_two_cleans_do_not_collide() {
    let _turn = alone();
    let mut command = run(limits(), "echo ready; read line; exit 1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0; 6]).unwrap();
    let running = left();
    let out = clean();
    assert_eq!((code(&out), text(&out.stdout), left()), (0, String::new(), running.clone()), "{out:?}");
    // Beside it a few dead ones, for two to fight over.
    for _ in 0..4 {
        Host::start(&mut run(limits(), "exec sleep 300")).kill();
        let host = Host::start(&mut run(limits(), "exec sleep 300"));
        host.wait_for("sleep");
        host.kill();
    }
    let cleans: Vec<_> = (0..4).map(|_| rubber(["clean"]).stdout(Stdio::piped()).spawn().unwrap()).collect();
    for clean in cleans {
        let out = clean.wait_with_output().unwrap();
        assert!(out.status.success(), "{out:?}");
    }
    assert_eq!(left(), running);
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_nothing("the running one has ended too");
}

#[test]
fn a_store_that_was_made_unreadable_is_told_in_words() {
    let _turn = alone();
    if is_root() {
        return lab::skip("a_store_that_was_made_unreadable_is_told_in_words", "root may read everything");
    }
    dead_container("true");
    fs::set_permissions(containers(), fs::Permissions::from_mode(0o000)).unwrap();
    let output = clean();
    fs::set_permissions(containers(), fs::Permissions::from_mode(0o700)).unwrap();
    let said = text(&output.stderr);
    assert_eq!(code(&output), 125);
    assert!(said.contains("containers") && said.lines().count() <= 2, "{said}");
    assert!(clean().status.success());
}

/// A mount in it, as this command alone sees it, keeps one of two from being removed: whichever comes first.
#[test]
fn one_that_cannot_be_removed_keeps_no_other() {
    let _turn = alone();
    let unshare = if is_root() { "-m" } else { "-rm" };
    if !Command::new("unshare").args([unshare, "true"]).status().is_ok_and(|status| status.success()) {
        return lab::skip_this("no mount namespace for the test itself");
    }
    let places = ["volumes", "tmp"].map(|dir| store().join(dir));
    let doomed = |place: &Path| ["a", "b"].map(|name| place.join(format!(".removed-{name}")));
    for place in &places {
        for stuck in doomed(place) {
            for dir in places.iter().flat_map(|place| doomed(place)) {
                fs::create_dir_all(dir.join("made")).unwrap();
            }
            let script = format!(
                "mount -t tmpfs tmpfs '{}' && '{RUBBER}' --root '{}' clean; echo code $?",
                stuck.join("made").display(),
                store().display()
            );
            let output = Command::new("unshare").args([unshare, "sh", "-c", &script]).output().unwrap();
            let said = text(&output.stderr);
            assert!(text(&output.stdout).ends_with("code 125\n"), "{output:?}");
            assert!(said.contains(stuck.to_str().unwrap()) && said.contains("mount"), "{said}");
            let left: Vec<_> =
                places.iter().flat_map(|place| doomed(place)).filter(|dir| dir.exists()).collect();
            assert_eq!(left, [stuck], "{output:?}");
        }
    }
    assert!(clean().status.success());
    // What is named on a command line is removed, too, whatever stands beside it.
    for (command, make) in [("rm", "container"), ("volume rm", "volume")] {
        let made = match make {
            "volume" => rubber(["volume", "create", "kept"]).output().unwrap(),
            _ => rubber(["run", "-d", "--name", "kept", "busybox", "true"]).output().unwrap(),
        };
        assert!(made.status.success(), "{made:?}");
        let _ = rubber(["wait", "kept"]).output().unwrap();
        let words = command.split(' ').chain(["nosuch", "kept"]);
        let output = rubber(words).output().unwrap();
        assert_eq!((code(&output), text(&output.stdout)), (125, "kept\n".into()), "{command}: {output:?}");
    }
    assert_nothing("all are removed");
}

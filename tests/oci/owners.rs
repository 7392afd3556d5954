//! States that another local user has made, or could change: none of them is believed, and no hook in them is run.

use crate::{bundle::bundle, lab};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown, lchown, symlink},
    path::{Path, PathBuf},
    process::Output,
};

/// A user that no process of this machine's has.
const MALLORY: u32 = 54_321;

/// As `chown -R`.
fn give(path: &Path) {
    lchown(path, Some(MALLORY), Some(MALLORY)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A stopped container whose hook would touch the file beside it.
fn planted(bundle: &crate::bundle::Bundle) -> (PathBuf, PathBuf) {
    let witness = bundle.dir.join("witness");
    bundle.command("true");
    let touch = json!([{ "path": "/bin/touch", "args": ["touch", witness] }]);
    bundle.edit(|config| config["hooks"] = json!({ "poststart": touch, "poststop": touch }));
    bundle.ok(&["create", "c"]);
    bundle.ok(&["kill", "c", "KILL"]);
    bundle.wait_for("its end", || bundle.state("c")["status"] == "stopped");
    bundle.edit(|config| config["hooks"] = json!({}));
    let states = bundle.dir.join("planted");
    fs::rename(bundle.dir.join("states"), &states).unwrap();
    (states, witness)
}

/// Each command that reads what is there.
fn tried(bundle: &crate::bundle::Bundle, states: &Path) -> Vec<(&'static str, Output)> {
    let words: &[&[&str]] = &[
        &["state", "c"],
        &["start", "c"],
        &["kill", "c", "KILL"],
        &["exec", "c", "true"],
        &["pause", "c"],
        &["resume", "c"],
        &["ps", "c"],
        &["update", "--memory", "1000000000", "c"],
        &["events", "--stats", "c"],
        &["list"],
        &["create", "d"],
        &["delete", "c"],
        &["delete", "--force", "c"],
    ];
    let file = |name: &str| fs::File::create(bundle.dir.join(name)).unwrap();
    let one = |words: &&[&'static str]| {
        let mut command = std::process::Command::new(bundle.dir.join("rubber-oci"));
        command.arg("--root").arg(states).args(*words).current_dir(&bundle.dir);
        // Not by pipes: what stays in the background would keep them open.
        command.stdin(std::process::Stdio::null()).stdout(file("out")).stderr(file("err"));
        let status = command.status().unwrap();
        let read = |name: &str| fs::read(bundle.dir.join(name)).unwrap();
        (words[0], Output { status, stdout: read("out"), stderr: read("err") })
    };
    let tried = words.iter().map(one).collect();
    let mut clean = std::process::Command::new(bundle.dir.join("rubber-oci"));
    let _ = clean.arg("--root").arg(states).args(["delete", "--force", "d"]).stderr(file("err")).status();
    tried
}

fn all_are_refused(bundle: &crate::bundle::Bundle, states: &Path, witness: &Path, told: &str, case: &str) {
    for (command, output) in tried(bundle, states) {
        let said = lab::text(&output.stderr);
        assert!(!witness.exists(), "{case}: {command}: the hook was run: {said}");
        assert!(said.contains(told) && lab::code(&output) != 0, "{case}: {command}: {said} {output:?}");
    }
    assert!(states.join("c/record").exists(), "{case}: it was removed");
    assert!(!states.join("d").exists(), "{case}: something was made there");
}

#[test]
fn states_of_another_user_are_not_believed() {
    let bundle = bundle!();
    let (states, witness) = planted(&bundle);
    let is_mallorys = format!("belongs to user {MALLORY}");
    give(&states);
    all_are_refused(&bundle, &states, &witness, &is_mallorys, "all of it");
    // One that has been given away, and then closed, keeps what was put there meanwhile.
    chown(&states, Some(0), Some(0)).unwrap();
    mode(&states, 0o777);
    all_are_refused(&bundle, &states, &witness, "can be changed by others", "open to all");
    mode(&states, 0o720);
    all_are_refused(&bundle, &states, &witness, "can be changed by others", "open to a group");
    mode(&states, 0o711);
    let link = bundle.dir.join("link");
    symlink(&states, &link).unwrap();
    lchown(&link, Some(MALLORY), Some(MALLORY)).unwrap();
    all_are_refused(&bundle, &link, &witness, &is_mallorys, "a link");
}

/// In a directory of ours that was open to others once.
#[test]
fn a_container_of_another_users_is_not_believed() {
    let bundle = bundle!();
    let (states, witness) = planted(&bundle);
    let restore = |name: &str| {
        chown(states.join(name), Some(0), Some(0)).unwrap();
        mode(&states.join(name), 0o700);
    };
    let is_mallorys = format!("belongs to user {MALLORY}");
    let refused = |told: &str, case: &str| {
        for (command, output) in tried(&bundle, &states) {
            let said = lab::text(&output.stderr);
            assert!(!witness.exists(), "{case}: {command}: the hook was run: {said}");
            match command {
                // What is another's is not ours to list.
                "list" => assert!(!lab::text(&output.stdout).contains("c "), "{case}: {output:?}"),
                "create" => assert_eq!(lab::code(&output), 0, "{case}: {said}"),
                _ => assert!(said.contains(told) && lab::code(&output) != 0, "{case}: {command}: {said}"),
            }
        }
        assert!(states.join("c/record").exists(), "{case}: it was removed");
    };
    chown(states.join("c"), Some(MALLORY), None).unwrap();
    refused(&is_mallorys, "the directory");
    restore("c");
    mode(&states.join("c"), 0o777);
    refused("can be changed by others", "the directory's mode");
    restore("c");
    for name in ["record", "first"] {
        let file = Path::new("c").join(name);
        chown(states.join(&file), Some(MALLORY), None).unwrap();
        refused(&is_mallorys, name);
        restore(file.to_str().unwrap());
        mode(&states.join(&file), 0o666);
        refused("can be changed by others", name);
        restore(file.to_str().unwrap());
        let away = bundle.dir.join("away");
        fs::rename(states.join(&file), &away).unwrap();
        symlink(&away, states.join(&file)).unwrap();
        refused("is not a file", name);
        fs::rename(&away, states.join(&file)).unwrap();
    }
    let away = bundle.dir.join("away");
    fs::rename(states.join("c"), &away).unwrap();
    symlink(&away, states.join("c")).unwrap();
    refused("is not a directory", "a link as the container");
    fs::remove_file(states.join("c")).unwrap();
    fs::rename(&away, states.join("c")).unwrap();
    fs::rename(&states, bundle.dir.join("states")).unwrap();
    // With nothing in it that is not ours, all is as it was, whoever may look at it.
    mode(&bundle.dir.join("states"), 0o755);
    assert_eq!(bundle.state("c")["status"], "stopped");
    bundle.ok(&["delete", "c"]);
    assert!(witness.exists(), "our own hook");
}

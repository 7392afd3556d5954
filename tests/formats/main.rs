//! Images in other programs' forms: read, run where they lie, and written so that those read them back.

#[path = "../lab/mod.rs"]
mod lab;
#[path = "../lab/layout.rs"]
mod layout;
#[path = "../image/place.rs"]
mod place;

mod builders;
mod chains;
mod faults;
mod filled;
mod holes;
mod read;
mod trees;
mod write;

use place::{Ended, Place};
use std::process::Command;

/// Runs a program of others in the place's directory; it must end well.
#[track_caller]
pub fn tool(place: &Place, program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).current_dir(place.directory.path()).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// podman with a storage of its own in the place.
#[track_caller]
pub fn podman(place: &Place, words: &[&str]) -> String {
    let flags =
        ["--root", "pod", "--runroot", "podrun", "--storage-driver", "vfs", "--cgroup-manager=cgroupfs"];
    tool(place, "podman", &[&flags, words].concat())
}

/// What the container prints, run with these words.
#[track_caller]
pub fn says(place: &Place, words: &[&str]) -> String {
    place.rubber(&[&["run"], words].concat()).good().out.trim().to_owned()
}

#[track_caller]
pub fn inspect(place: &Place, image: &str) -> serde_json::Value {
    let about: serde_json::Value =
        serde_json::from_str(&place.rubber(&["inspect", "--type", "image", image]).good().out).unwrap();
    about[0].clone()
}

pub fn id(place: &Place, image: &str) -> String {
    inspect(place, image)["id"].as_str().unwrap().to_owned()
}

/// The layers' directories and their inodes: the same ones later have not been unpacked again.
pub fn inodes(place: &Place) -> Vec<(std::path::PathBuf, u64)> {
    let inode = |path: std::path::PathBuf| {
        let found = std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap());
        (path, found)
    };
    place.layers().into_iter().map(inode).collect()
}

pub fn ended(ended: Ended) -> (Option<i32>, String) {
    (ended.code, ended.err)
}

//! A bundle made by hand: a busybox, and a config.json.

use crate::lab;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// A root filesystem of nothing but busybox.
pub fn root(dir: &Path) {
    for name in ["bin", "dev", "etc", "home/guest", "proc", "run", "sys", "tmp"] {
        fs::create_dir_all(dir.join(name)).unwrap();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let busybox = std::env::split_paths(&path).map(|dir| dir.join("busybox")).find(|file| file.is_file());
    fs::copy(busybox.expect("a static busybox"), dir.join("bin/busybox")).unwrap();
    let list = std::process::Command::new(dir.join("bin/busybox")).arg("--list").output().unwrap();
    for name in lab::text(&list.stdout).lines().filter(|name| *name != "busybox") {
        symlink("busybox", dir.join("bin").join(name)).unwrap();
    }
    fs::write(dir.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nguest:x:1000:1000::/home/guest:/bin/sh\n")
        .unwrap();
    fs::write(dir.join("etc/group"), "root:x:0:\nguest:x:1000:\n").unwrap();
}

/// Removes a cgroup of the tests' own in all trees, if podman has left it.
pub fn remove_groups(name: &str) {
    let trees = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    for tree in trees.chain([PathBuf::from("/sys/fs/cgroup")]) {
        remove_below(&tree.join(name.trim_start_matches('/')));
    }
}

fn remove_below(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove_below(&entry.path());
    }
    let _ = fs::remove_dir(dir);
}

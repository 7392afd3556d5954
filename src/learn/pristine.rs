//! Exercises as they came, in a checkout where somebody is solving them. (The build script reads this file,
//! too: what it packs is for others.)

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Stands above what `rubber learn init --vendor` adds to cargo's configuration.
pub const VENDORED: &str = "\n# The crates are in vendor/: nothing is fetched.\n";

/// The exercise `file` of the checkout `root` as it came: out of the newest commit in which all its steps are
/// still to be written, else the copy that was kept of it.
pub fn exercise(root: &Path, file: &str) -> Option<Vec<u8>> {
    in_git(root, file).or_else(|| fs::read(kept(&root.join(file))).ok())
}

/// Where a copy of the exercise `file` is kept if there is no git.
pub fn kept(file: &Path) -> PathBuf {
    file.with_file_name(".exercise.rs")
}

fn in_git(root: &Path, file: &str) -> Option<Vec<u8>> {
    let git = |words: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(words).output().ok()?;
        output.status.success().then_some(output.stdout)
    };
    let log = String::from_utf8(git(&["log", "--format=%H", "--", file])?).ok()?;
    let mut versions = log.lines().filter_map(|commit| git(&["show", &format!("{commit}:./{file}")]));
    versions.find(|text| is_whole(root, file, text))
}

/// Whether all its steps are still to be written.
pub fn is_whole(root: &Path, file: &str, text: &[u8]) -> bool {
    let toml = fs::read_to_string(root.join(file).with_file_name("chapter.toml")).unwrap_or_default();
    let steps = toml.lines().filter(|line| line.trim() == "[[step]]").count();
    let text = String::from_utf8_lossy(text);
    (1..=steps).all(|step| text.contains(&format!("not_yet({step})")))
}

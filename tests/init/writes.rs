//! What init writes, and what it refuses to.

use crate::lab;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Without git's global settings, as on a machine where nobody has committed anything.
pub fn init(words: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(lab::RUBBER);
    command.args(["learn", "init"]).args(words).arg(dir);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").output().unwrap()
}

/// A program that nothing can be found from.
fn without_programs(command: &mut Command) -> &mut Command {
    command.env("PATH", "/nonexistent").env_remove("CARGO")
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                // Neither is of the sources.
                true if [".git", ".vscode"].iter().any(|name| path.ends_with(name)) => {}
                true => dirs.push(path),
                false => {
                    found.insert(path.strip_prefix(dir).unwrap().to_owned(), fs::read(&path).unwrap());
                }
            }
        }
    }
    found
}

fn git(dir: &Path, words: &[&str]) -> String {
    let who = ["-c", "user.name=somebody", "-c", "user.email=somebody@localhost"];
    let output = Command::new("git").arg("-C").arg(dir).args(who).args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    lab::text(&output.stdout)
}

#[test]
fn init_writes_what_the_binary_was_built_from() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("a/new/one");
    let output = init(&[], &dir);
    assert!(output.status.success(), "{output:?}");
    let last = lab::text(&output.stdout).lines().last().unwrap_or_default().to_owned();
    assert!(last.contains(&format!("cd {} && ", dir.display())) && last.ends_with(" learn"), "{last}");
    let written = files(&dir);
    for name in ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "build.rs", "tests/init/main.rs"] {
        assert!(written.contains_key(Path::new(name)), "{name}");
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in &written {
        let is_exercise = name.ends_with("exercise.rs") && name.starts_with("workshop");
        // Where cargo keeps the crates is everybody's own.
        if !is_exercise && name != Path::new(".cargo/config.toml") {
            assert!(fs::read(sources.join(name)).unwrap() == *text, "{}", name.display());
        }
    }
    assert!(!written.keys().any(|name| name.starts_with("target") || name.starts_with("vendor")));
    // Where git is here, and trusts who owns the checkout.
    let mut tracked = Command::new("git");
    tracked.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(sources);
    let tracked = tracked.output().map_or(String::new(), |output| lab::text(&output.stdout));
    if sources.join(".git").exists() {
        let is_there = |name: &&str| sources.join(name).exists();
        let missing: Vec<_> =
            tracked.lines().filter(is_there).filter(|name| !written.contains_key(Path::new(name))).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}

#[test]
fn init_makes_one_commit() {
    if !lab::has("git") {
        return lab::skip_this("there is no git");
    }
    let place = tempfile::tempdir().unwrap();
    assert!(init(&[], place.path()).status.success());
    assert_eq!(git(place.path(), &["log", "--format=%an %s"]), "rubber rubber as it came\n");
    assert_eq!(git(place.path(), &["status", "--short"]), "");
    assert_eq!(git(place.path(), &["ls-files"]).lines().count(), files(place.path()).len());
}

/// rust-analyzer sees the exercises, and whoever has settings keeps them.
#[test]
fn init_and_start_tell_the_editor() {
    let place = tempfile::tempdir().unwrap();
    assert!(init(&[], place.path()).status.success());
    let file = place.path().join(".vscode/settings.json");
    let settings = fs::read_to_string(&file).unwrap();
    assert!(settings.contains(r#""rust-analyzer.cargo.features": "all""#), "{settings}");
    let start = || {
        let output = Command::new(lab::RUBBER).args(["learn", "start", "05"]).current_dir(&place).output();
        assert!(output.as_ref().is_ok_and(|output| output.status.success()), "{output:?}");
    };
    fs::write(&file, "mine").unwrap();
    start();
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    fs::remove_file(&file).unwrap();
    start();
    assert_eq!(fs::read_to_string(&file).unwrap(), settings);
}

#[test]
fn init_writes_over_nothing() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("mine"), "mine").unwrap();
    let output = init(&[], place.path());
    assert_eq!(lab::code(&output), 2);
    assert!(lab::text(&output.stderr).ends_with("is not empty: name a new directory\n"), "{output:?}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    let output = init(&[], &place.path().join("mine"));
    assert_eq!(lab::code(&output), 2);
    assert!(lab::text(&output.stderr).contains("cannot write into"), "{output:?}");
    assert_eq!(fs::read_to_string(place.path().join("mine")).unwrap(), "mine");
}

/// There is something to read, and it says what is missing.
#[test]
fn init_works_without_git_and_cargo() {
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(lab::RUBBER);
    command.args(["learn", "init"]).arg(place.path().join("plain"));
    let output = without_programs(&mut command).output().unwrap();
    let said = lab::text(&output.stdout);
    assert!(output.status.success() && said.contains("git          is not here"), "{output:?}");
    assert!(said.contains("cargo        is not here"), "{said}");
    let chapter = place.path().join("plain/workshop/05_uts");
    let read = |name: &str| fs::read_to_string(chapter.join(name)).unwrap();
    assert!(read(".exercise.rs") == read("exercise.rs"), "nothing is kept to compare with");
    let mut command = Command::new(lab::RUBBER);
    command.args(["learn", "init", "--vendor"]).arg(place.path().join("vendored"));
    let output = without_programs(&mut command).output().unwrap();
    assert_eq!(lab::code(&output), 3);
    assert_eq!(lab::text(&output.stderr).lines().count(), 1, "{output:?}");
    assert!(!place.path().join("vendored").exists());
}

/// As it came, with a backup: out of git, whatever was committed since, and out of the binary without.
#[test]
fn reset_finds_the_exercise_as_it_came() {
    let place = tempfile::tempdir().unwrap();
    assert!(init(&[], place.path()).status.success());
    let exercise = place.path().join("workshop/05_uts/exercise.rs");
    let came = fs::read_to_string(&exercise).unwrap();
    let reset = |command: &mut Command| {
        fs::write(&exercise, "mine").unwrap();
        let output = command.args(["learn", "reset", "uts"]).current_dir(place.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(fs::read_to_string(&exercise).unwrap(), came);
    };
    if lab::has("git") {
        fs::copy(place.path().join("src/layers/uts.rs"), &exercise).unwrap();
        git(place.path(), &["commit", "-qam", "Mine passes"]);
        reset(&mut Command::new(lab::RUBBER));
    }
    reset(without_programs(&mut Command::new(lab::RUBBER)));
    assert_eq!(fs::read_to_string(exercise.with_file_name("exercise.rs.1")).unwrap(), "mine");
}

//! One program with every version of every layer in it: the shipped one, the bare exercise, each mistake and
//! each hostile one. For each chapter a byte that can be found in its file says which of them it uses.
//!
//! So a hundred wrong rubbers cost one build, and can be judged where there is no cargo.

use crate::{chapters::*, lab};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, OnceLock},
};

pub struct Variants {
    program: PathBuf,
    /// Where the screens find the exercise that they point at.
    checkout: PathBuf,
    _only_one: MutexGuard<'static, ()>,
}

/// Name and text of each version of a chapter's layer.
pub fn versions(chapter: &Chapter) -> Vec<(String, String)> {
    let shipped = shipped(chapter);
    let mut all = vec![("shipped".into(), shipped.clone()), ("exercise".into(), chapter.exercise.clone())];
    let hostile = sources().join("tests/workshop/hostile").join(&chapter.id);
    for file in [chapter.dir.join("mistakes"), hostile].iter().flat_map(|dir| files(dir)) {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        all.push((name, splice(&shipped, &fs::read_to_string(file).unwrap())));
    }
    all
}

impl Variants {
    /// RUBBER_TEST_VARIANTS names the program, where it is or is to be. (Without, it is always built anew:
    /// cargo knows whether there is something to do.)
    pub fn lock() -> Option<Variants> {
        static ONLY_ONE: Mutex<()> = Mutex::new(());
        static IS_READY: OnceLock<bool> = OnceLock::new();
        let only_one = ONLY_ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (program, checkout) = (lab::scratch().join("variants"), lab::scratch().join("checkout"));
        if !IS_READY.get_or_init(|| make_ready(&program, &checkout)) {
            lab::skip_this("there is no cargo to build the variants with, and RUBBER_TEST_VARIANTS has none");
            return None;
        }
        Some(Variants { program, checkout, _only_one: only_one })
    }

    /// Chooses the version of this chapter; of all others it is the shipped one.
    pub fn choose(&self, chapter: &Chapter, version: &str) {
        let versions = versions(chapter);
        let number = versions.iter().position(|(name, _)| name == version).unwrap();
        let program = File::options().write(true).open(&self.program).unwrap();
        for (id, place) in places(&self.program) {
            let choice = if *id == chapter.id { number as u8 } else { 0 };
            program.write_all_at(&[choice], *place).unwrap();
        }
        let exercise = self.checkout.join("workshop").join(&chapter.id).join("exercise.rs");
        fs::write(exercise, &versions[number].1).unwrap();
    }

    /// What a check finds of it, as JSON. Its exit code must say the same.
    pub fn check(&self, chapter: &Chapter, version: &str) -> Value {
        self.choose(chapter, version);
        self.check_with(chapter, &self.program)
    }

    /// The same for any program.
    pub fn check_with(&self, chapter: &Chapter, program: &Path) -> Value {
        let output = self.command(chapter).arg("--json").arg("--with").arg(program).output().unwrap();
        let found: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let code = match found["result"]["outcome"].as_str().unwrap() {
            "pass" => 0,
            "cannot" => 3,
            _ => 1,
        };
        assert_eq!(lab::code(&output), code, "{found}");
        found
    }

    /// `rubber learn check` of this chapter, where its exercise is.
    pub fn command(&self, chapter: &Chapter) -> Command {
        let mut command = Command::new(lab::RUBBER);
        command.args(["learn", "check", &chapter.id]).current_dir(&self.checkout).stdin(Stdio::null());
        command
    }

    pub fn program(&self) -> &Path {
        &self.program
    }
}

fn make_ready(program: &Path, checkout: &Path) -> bool {
    let named = std::env::var_os("RUBBER_TEST_VARIANTS").map(PathBuf::from);
    match named {
        Some(built) if built.is_file() => fs::copy(built, program).unwrap(),
        _ if !lab::has_cargo() => return false,
        named => {
            let built = build();
            named.map(|named| fs::copy(&built, named).unwrap());
            fs::copy(built, program).unwrap()
        }
    };
    copy_sources(checkout, &["workshop", "src", "Cargo.toml"]);
    true
}

// ---- how it is built -----------------------------------------------------------

fn build() -> PathBuf {
    let root = lab::scratch().join("variants-sources");
    copy_sources(&root, &["src", "images", ".cargo", "Cargo.toml", "Cargo.lock"]);
    // What has been written here before is newer, and stays, or cargo would build it again.
    let copied = Command::new("cp").arg("-au").arg(sources().join("workshop")).arg(&root).status().unwrap();
    assert!(copied.success());
    let mut features = Vec::new();
    for chapter in chapters() {
        let file = root.join("workshop").join(&chapter.id).join("exercise.rs");
        let text = every_version(chapter);
        if fs::read_to_string(&file).ok().as_ref() != Some(&text) {
            fs::write(file, text).unwrap();
        }
        features.push(format!("exercise-{}", chapter.layer));
    }
    // The dependencies are built once, for this and for the exercises of the tests called learn. Cargo tells
    // the two rubbers apart by the word behind `--`.
    let target = lab::scratch().join("learn/target");
    let mut cargo = Command::new("cargo");
    cargo.args(["rustc", "--quiet", "--bin", "rubber", "--config", "profile.dev.debug=false"]);
    cargo.arg("--config").arg(format!("build.build-dir='{}'", target.display()));
    cargo.arg("--target-dir").arg(target.join("learn")).args([
        "--no-default-features",
        "--features",
        &features.join(","),
    ]);
    cargo.args(["--", "--cfg", "every_version"]);
    assert!(cargo.current_dir(&root).status().unwrap().success());
    let host = Path::new(lab::RUBBER).ancestors().nth(2).unwrap();
    target.join("learn").join(host.file_name().unwrap()).join("debug/rubber")
}

/// An exercise that hands each function of the layer on to the chosen version. What else is public is the
/// shipped one's.
fn every_version(chapter: &Chapter) -> String {
    let versions = versions(chapter);
    let marker = marker(chapter);
    let mut text = CHOICE.replace("MARKER", &marker).replace("LENGTH", &marker.len().to_string());
    for function in functions(&versions[0].1) {
        text += &handed_on(function, &versions).unwrap_or_default();
    }
    for (name, version) in &versions {
        text += &format!("\nmod {} {{\n{version}}}\n", module(name));
    }
    text
}

const CHOICE: &str = r#"use super::*;
use crate::config::Config;
use anyhow::Result;
pub use shipped::*;

static CHOICE: [u8; LENGTH + 1] = *b"MARKER\0";

fn choice() -> u8 {
    // SAFETY: it is a byte of ours. Volatile, because in the program's file it may be another by now.
    unsafe { (&raw const CHOICE[LENGTH]).read_volatile() }
}
"#;

/// None where it is the layer's own business, or speaks of the layer's own types.
fn handed_on(function: &str, versions: &[(String, String)]) -> Option<String> {
    let (name, head) = (name(function), function.lines().next()?.strip_prefix("pub ")?);
    if !head.contains("(config: &Config)") && !head.contains("(_: &Config)") {
        return None;
    }
    let result =
        ["Result<()>", "bool"].into_iter().find(|result| head.ends_with(&format!("-> {result} {{")))?;
    let mut text = format!("\npub fn {name}(config: &Config) -> {result} {{\n    match choice() {{\n");
    for (number, (version, _)) in versions.iter().enumerate() {
        text += &format!("        {number} => {}::{name}(config),\n", module(version));
    }
    Some(text + "        _ => unreachable!(),\n    }\n}\n")
}

fn module(version: &str) -> String {
    version.replace('-', "_")
}

// ---- where the choices are -----------------------------------------------------

const MARK: &str = "RUBBER-WORKSHOP-VARIANT";

/// What stands before the byte: the chapter, and a digest of the sources, lest tests judge older ones.
fn marker(chapter: &Chapter) -> String {
    static DIGEST: OnceLock<String> = OnceLock::new();
    let digest = DIGEST.get_or_init(|| {
        let mut all = Sha256::new();
        tree(&sources().join("src")).iter().for_each(|file| all.update(fs::read(file).unwrap()));
        chapters().iter().flat_map(versions).for_each(|(_, text)| all.update(text));
        all.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    });
    format!("{MARK}:{}:{digest}:", chapter.id)
}

/// Each chapter, and the place of its byte in the program.
fn places(program: &Path) -> &'static [(String, u64)] {
    static PLACES: OnceLock<Vec<(String, u64)>> = OnceLock::new();
    PLACES.get_or_init(|| {
        let mut grep = Command::new("grep");
        let found = grep.arg("-obUa").arg(format!("{MARK}:[^:]*:[^:]*:")).arg(program).output().unwrap();
        let found = lab::text(&found.stdout);
        let place = |chapter: &Chapter| {
            let marker = marker(chapter);
            let line = found.lines().find_map(|line| line.strip_suffix(&marker)?.strip_suffix(':'));
            let start: u64 =
                line.unwrap_or_else(|| panic!("{program:?} was built of other sources")).parse().unwrap();
            (chapter.id.clone(), start + marker.len() as u64)
        };
        chapters().iter().map(place).collect()
    })
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn tree(dir: &Path) -> Vec<PathBuf> {
    let below = |path: PathBuf| if path.is_dir() { tree(&path) } else { vec![path] };
    files(dir).into_iter().flat_map(below).collect()
}

//! The workshop's text: every command in it is run, every picture and every name in it is looked up.

#[path = "../lab/mod.rs"]
mod lab;

mod blocks;
mod names;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every text of the workshop, by its name from the top.
pub fn texts() -> Vec<(String, String)> {
    let mut files = Vec::new();
    find(&sources().join("workshop"), &mut files);
    files.sort();
    let name = |file: &PathBuf| file.strip_prefix(sources()).unwrap().display().to_string();
    files.iter().map(|file| (name(file), fs::read_to_string(file).unwrap())).collect()
}

fn find(dir: &Path, files: &mut Vec<PathBuf>) {
    for path in fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()) {
        match path.extension() {
            _ if path.is_dir() => find(&path, files),
            Some(kind) if kind == "md" => files.push(path),
            _ => {}
        }
    }
}

/// The chapters: what chapter.toml says, and the text.
pub fn chapters() -> Vec<(String, toml::Table, String)> {
    let texts = texts().into_iter().filter_map(|(name, text)| {
        let dir = sources().join(&name).parent()?.to_owned();
        let toml = fs::read_to_string(dir.join("chapter.toml")).ok()?;
        let is_chapter = name.ends_with("/README.md");
        is_chapter.then(|| (name, toml.parse().unwrap(), text))
    });
    texts.collect()
}

/// In this order, in every chapter.
#[test]
fn text_has_its_sections_in_order() {
    const SECTIONS: &[&str] = &[
        "Break it",
        "The idea",
        "Predict",
        "Build",
        "Check",
        "Why it works",
        "Explore",
        "What Docker does",
        "Further reading",
    ];
    for (name, _, text) in chapters() {
        let sections: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(sections, SECTIONS, "{name}");
    }
}

/// The steps to build are the engine's.
#[test]
fn text_builds_what_is_checked() {
    for (name, toml, text) in chapters() {
        let build = text.split("\n## Build\n").nth(1).unwrap().split("\n## ").next().unwrap();
        let numbered = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit()) && line.contains(". ");
        let written = build.lines().filter(numbered).count();
        let steps = toml["step"].as_array().unwrap();
        assert_eq!(written, steps.len(), "{name}: the numbered steps under Build");
    }
}

/// What is folded away can be unfolded, and has a question to it.
#[test]
fn text_folds_its_answers() {
    for (name, text) in texts() {
        let count = |word: &str| text.matches(word).count();
        assert_eq!(count("<details>"), count("</details>"), "{name}");
        assert_eq!(count("<details>"), count("<details><summary>"), "{name}");
        assert_eq!(count("<details>"), count("</summary>\n\n"), "{name}: a blank line after the question");
        assert_eq!(count("</details>"), count("\n\n</details>"), "{name}: a blank line after the answer");
    }
}

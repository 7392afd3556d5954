//! The learner's rubber: this crate, with an exercise in the place of a layer.

use super::{Chapter, Checkout};
use crate::narrate;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// How src/layers/mod.rs names an exercise.
const WAY_ROUND: &str = "src/layers/../../workshop/";

pub enum Built {
    Binary(PathBuf),
    /// The first error of the compiler, as cargo prints it, and the step its line belongs to.
    Error {
        text: String,
        step: Option<u8>,
    },
}

/// Builds with the exercise of each of `chapters` in place. In a target directory of its own, so
/// that the learner's half-finished layers never end up in the rubber that checks them.
pub fn build(checkout: &Checkout, chapters: &[&Chapter]) -> Result<Built> {
    if !checkout.root().join("target/learn").exists() {
        narrate::warn(format_args!("the first build may take a minute; those after it take a second or two"));
    }
    let features: Vec<_> = chapters.iter().map(|chapter| format!("exercise-{}", chapter.layer())).collect();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo
        .args(["build", "--quiet", "--bin", "rubber", "--message-format=json-diagnostic-rendered-ansi"])
        .args(["--target-dir", "target/learn", "--no-default-features", "--features", &features.join(",")])
        // What it depends on was built for our own rubber, most likely, and is not built again.
        .args(["--config", "profile.dev.debug=false", "--config", "build.build-dir='target'"])
        .current_dir(checkout.root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = cargo.spawn().context("cannot start cargo: is Rust installed? (https://rustup.rs)")?;
    let messages = BufReader::new(child.stdout.take().context("cargo has no stdout")?);
    let (mut binary, mut error) = (None, None);
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
        if message["reason"] == "compiler-artifact" && message["target"]["name"] == "rubber" {
            binary = message["executable"].as_str().map(PathBuf::from).or(binary);
        }
        if message["message"]["level"] == "error" && error.is_none() {
            error = Some(message["message"].clone());
        }
    }
    let ended = child.wait_with_output()?;
    match (error, binary) {
        (Some(error), _) => Ok(Built::Error {
            // The file is where its module says, and that is a way round.
            text: error["rendered"].as_str().unwrap_or_default().trim_end().replace(WAY_ROUND, "workshop/"),
            step: step(&error, chapters),
        }),
        (None, Some(binary)) if ended.status.success() => Ok(Built::Binary(binary)),
        _ => bail!("cargo build failed: {}", String::from_utf8_lossy(&ended.stderr).trim()),
    }
}

/// The last `// Step N` above the line the compiler points at.
fn step(error: &Value, chapters: &[&Chapter]) -> Option<u8> {
    let spans = error["spans"].as_array()?;
    let span = spans.iter().find(|span| span["is_primary"] == true)?;
    let (file, line) = (span["file_name"].as_str()?, span["line_start"].as_u64()?);
    let chapter = chapters.iter().find(|chapter| file.ends_with(&format!("{}/exercise.rs", chapter.id)))?;
    step_above(&chapter.exercise(), line as usize)
}

fn step_above(file: &Path, line: usize) -> Option<u8> {
    let text = std::fs::read_to_string(file).ok()?;
    let above: Vec<_> = text.lines().take(line).collect();
    above.iter().rev().find_map(|line| {
        let rest = line.trim().strip_prefix("// Step ")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    })
}

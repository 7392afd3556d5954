//! A check: build the learner's layer, run it in the arena, and judge by the facts.

use super::{
    Chapter, Checkout, Outcome, Progress,
    build::{self, Built},
    bundle, proof,
};
use crate::{Exit, doctor, narrate};
use anyhow::{Result, bail};
use serde_json::Value;
use std::path::PathBuf;

/// Checks one chapter. The facts are null where it did not come so far.
pub fn check(checkout: &Checkout, chapter: &Chapter, progress: &Progress) -> Result<(Outcome, Value)> {
    if let Some(why) = why_not_here(chapter) {
        return Ok((Outcome::Cannot { why }, Value::Null));
    }
    if !chapter.exercise().is_file() {
        let file = checkout.short(&chapter.exercise());
        let again = format!("rubber learn reset {:02} brings it as it came", chapter.number());
        bail!(Exit(2, format!("{file} is not there: {again}")));
    }
    if chapter.bundle {
        narrate::warn(format_args!("making a container of your config.json, then asking the kernel ..."));
        return bundle::prove(checkout, chapter);
    }
    let all = Chapter::all(checkout)?;
    // What the learner has finished is theirs in later chapters, too. The shipped layers stand in for the rest.
    let is_own = |other: &&Chapter| !other.bundle && (other.id == chapter.id || progress.stands(other));
    let own: Vec<_> = all.iter().filter(is_own).collect();
    narrate::warn(format_args!("building your {} layer, then asking the kernel ...", chapter.layer()));
    match build::build(checkout, &own)? {
        Built::Binary(binary) => proof::prove(checkout, chapter, binary, chapter.layer()),
        Built::Error { text, step } => Ok((Outcome::Compiler { text, step }, Value::Null)),
    }
}

/// The same for a learner's rubber that is built already, with its layers up to `stage`, or all that the
/// chapter is about.
pub fn check_with(
    checkout: &Checkout,
    chapter: &Chapter,
    binary: PathBuf,
    stage: Option<String>,
) -> Result<(Outcome, Value)> {
    match why_not_here(chapter) {
        Some(why) => Ok((Outcome::Cannot { why }, Value::Null)),
        None if chapter.bundle => bundle::prove(checkout, chapter),
        None => proof::prove(checkout, chapter, binary, stage.as_deref().unwrap_or(chapter.layer())),
    }
}

/// What this machine lacks for the chapter, and the fix.
pub fn why_not_here(chapter: &Chapter) -> Option<String> {
    why_not(chapter, &doctor::examine(None, doctor::Images::Blobs).chapters)
}

/// Those of `chapters` that lack nothing here.
pub fn runnable<'a>(chapters: &[&'a Chapter]) -> Vec<&'a Chapter> {
    let found = doctor::examine(None, doctor::Images::Blobs).chapters;
    chapters.iter().copied().filter(|chapter| why_not(chapter, &found).is_none()).collect()
}

fn why_not(chapter: &Chapter, machine: &[doctor::Chapter]) -> Option<String> {
    if chapter.layer() == "user" && !nix::unistd::geteuid().is_root() {
        return Some(doctor::ONE_ID.into());
    }
    let found = machine.iter().find(|found| found.name == chapter.layer())?;
    // The doctor's fixes are for `rubber run`.
    let fix = found.fix.as_ref().map(|fix| match fix.starts_with("sudo rubber run") {
        true => "; as root it can".into(),
        false => format!("; {}", fix.replace("rubber run …", "rubber learn")),
    });
    let fix = fix.unwrap_or_default();
    (!found.runs).then(|| format!("{}{fix}", found.why))
}

//! A check: build the learner's layer, run it in the arena, and judge by the facts.

use super::{
    Chapter, Checkout, Outcome, Progress,
    arena::{self, Attempt},
    build::{self, Built},
    verdict,
};
use crate::{doctor, narrate};
use anyhow::Result;
use serde_json::Value;
use std::path::PathBuf;

/// Checks one chapter. The facts are null where it did not come so far.
pub fn check(checkout: &Checkout, chapter: &Chapter, progress: &Progress) -> Result<(Outcome, Value)> {
    if let Some(why) = why_not_here(chapter) {
        return Ok((Outcome::Cannot { why }, Value::Null));
    }
    let all = Chapter::all(checkout)?;
    // What the learner has finished is theirs in later chapters, too. The shipped layers stand in for the rest.
    let is_own = |other: &&Chapter| other.id == chapter.id || progress.stands(other);
    let own: Vec<_> = all.iter().filter(is_own).collect();
    narrate::warn(format_args!("building your {} layer, then asking the kernel ...", chapter.layer()));
    match build::build(checkout, &own)? {
        Built::Binary(binary) => judge(checkout, chapter, binary),
        Built::Error { text, step } => Ok((Outcome::Compiler { text, step }, Value::Null)),
    }
}

/// The same for a learner's rubber that is built already.
pub fn check_with(checkout: &Checkout, chapter: &Chapter, binary: PathBuf) -> Result<(Outcome, Value)> {
    match why_not_here(chapter) {
        Some(why) => Ok((Outcome::Cannot { why }, Value::Null)),
        None => judge(checkout, chapter, binary),
    }
}

fn judge(checkout: &Checkout, chapter: &Chapter, binary: PathBuf) -> Result<(Outcome, Value)> {
    let attempt = Attempt { binary, layer: chapter.layer().into(), flags: chapter.flags.clone() };
    let facts = arena::run(&attempt)?;
    Ok((verdict::judge(checkout, chapter, &facts)?, facts))
}

/// What this machine lacks for the chapter, and the fix.
pub fn why_not_here(chapter: &Chapter) -> Option<String> {
    if chapter.layer() == "user" && !nix::unistd::geteuid().is_root() {
        return Some(
            "an ordinary user has only one id in the arena, and nobody to become; try as root".into(),
        );
    }
    let chapters = doctor::examine(None).chapters;
    let found = chapters.into_iter().find(|found| found.name == chapter.layer())?;
    let fix = found.fix.map(|fix| format!("; {fix}")).unwrap_or_default();
    (!found.runs).then(|| format!("{}{fix}", found.why))
}

//! The proof: an attempt is run, judged by its facts, and attacked.
//!
//! What attacks is first seen to work without the layer: an attack that cannot work here proves nothing.

use super::{
    Chapter, Checkout, Outcome,
    arena::{self, Attempt},
    check::runnable,
    verdict,
};
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::PathBuf;

/// Whether `binary` with all layers up to `layer` is what `chapter` asks for, and all facts found.
pub fn prove(
    checkout: &Checkout,
    chapter: &Chapter,
    binary: PathBuf,
    layer: &str,
) -> Result<(Outcome, Value)> {
    let all = Chapter::all(checkout)?;
    let until: Vec<_> = all.iter().filter(|other| other.number() < chapter.number()).collect();
    let earlier = runnable(&until);
    let flags = |chapters: &[&Chapter]| chapters.iter().flat_map(|chapter| chapter.flags.clone()).collect();
    let mut attempt = Attempt {
        binary,
        layer: Some(layer.into()),
        flags: flags(&[&earlier[..], &[chapter]].concat()),
        attacks: vec![],
    };
    let mut facts = arena::run(&attempt)?;
    if let Some(wrong) = verdict::judge(checkout, chapter, &earlier, &facts)? {
        return Ok((wrong, facts));
    }
    // Each new attack where the layer is not there yet ...
    let without = Attempt {
        binary: std::env::current_exe().context("cannot find our own binary")?,
        layer: until.last().map(|chapter| chapter.layer().into()),
        flags: flags(&earlier),
        attacks: chapter.shown_here().map(|attack| attack.id.clone()).collect(),
    };
    facts["baseline"] = arena::run(&without)?;
    if let Some(why) = verdict::unproved(chapter, &facts["baseline"])? {
        return Ok((Outcome::Cannot { why }, facts));
    }
    // ... and then all of them.
    let against = [&earlier[..], &[chapter]].concat();
    let attacks = against.iter().flat_map(|chapter| &chapter.attack);
    attempt.attacks = attacks.map(|attack| attack.id.clone()).collect();
    facts["attacked"] = arena::run(&attempt)?;
    Ok((verdict::after_attacks(chapter, &earlier, &facts["attacked"])?, facts))
}

//! The proof: an attempt is run, judged by its facts, and attacked.
//!
//! What attacks is first seen to work without the layer: an attack that cannot work here proves nothing.

use super::{
    Chapter, Checkout, Outcome,
    arena::{self, Attempt},
    chapter::Attack,
    check::runnable,
    expect::fill,
    verdict::{self, Finding, Stand, all_hold, not_trusted},
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
    let mut earlier = runnable(&until);
    let flags = |earlier: &[&Chapter]| earlier.iter().flat_map(|chapter| chapter.flags.clone()).collect();
    let and_own = |flags: Vec<String>| flags.into_iter().chain(chapter.all_flags().cloned()).collect();
    let mut attempt = Attempt {
        binary,
        layer: Some(layer.into()),
        flags: and_own(flags(&earlier)),
        attacks: vec![],
        bundle: None,
    };
    let mut facts = arena::run(&attempt)?;
    // What the arena lacks for an earlier chapter is known only now.
    let all_of_them = earlier.len();
    earlier.retain(|chapter| matches!(verdict::lacking(chapter, None, &facts), Ok(None)));
    if earlier.len() < all_of_them {
        attempt.flags = and_own(flags(&earlier));
        facts = arena::run(&attempt)?;
    }
    if let Some(wrong) = verdict::judge(checkout, chapter, &earlier, &facts)? {
        return Ok((wrong, facts));
    }
    // Each new attack where the layer is not there yet ...
    let without = Attempt {
        binary: std::env::current_exe().context("cannot find our own binary")?,
        layer: until.last().map(|chapter| chapter.layer().into()),
        flags: flags(&earlier),
        attacks: chapter.shown_here().map(|attack| attack.id.clone()).collect(),
        bundle: None,
    };
    facts["baseline"] = arena::run(&without)?;
    if let Some(why) = unproved(chapter, &facts["baseline"])? {
        return Ok((Outcome::Cannot { why }, facts));
    }
    // ... and then all of them.
    attempt.attacks = against(chapter, &earlier).map(|attack| attack.id.clone()).collect();
    facts["attacked"] = arena::run(&attempt)?;
    Ok((after_attacks(chapter, &earlier, &facts["attacked"])?, facts))
}

/// All that must fail now: the earlier chapters' attacks, and its own.
fn against<'a>(chapter: &'a Chapter, earlier: &[&'a Chapter]) -> impl Iterator<Item = &'a Attack> {
    earlier.iter().flat_map(|chapter| chapter.lasting()).chain(&chapter.attack)
}

/// Why this machine cannot tell: an attack that should work without the chapter's layer, and does not.
fn unproved(chapter: &Chapter, facts: &Value) -> Result<Option<String>> {
    for attack in chapter.shown_here() {
        if !all_hold(&attack.worked, facts)? {
            let refused = fill(&format!("{{attack.{}.refused}}", attack.id), facts);
            let without = format!("without the {} layer it should be that {}", chapter.layer(), attack.says);
            return Ok(Some(format!("{without}, but it was not so ({refused})")));
        }
    }
    Ok(None)
}

/// Judges by the attacks, after all else was found in order: the first that worked, or a pass.
fn after_attacks(chapter: &Chapter, earlier: &[&Chapter], facts: &Value) -> Result<Outcome> {
    if let Some(finding) = not_trusted(&facts["run"]) {
        return Ok(Outcome::Wrong(finding));
    }
    for attack in against(chapter, earlier) {
        if facts["attack"][&attack.id].is_null() || facts["attacked"].is_null() {
            return Ok(Outcome::Wrong(ended(attack, facts)));
        }
        if all_hold(&attack.worked, facts)? {
            return Ok(Outcome::Wrong(stormed(chapter, attack, facts)));
        }
    }
    let untold = |attack: &Attack| Some(format!("{}: {}", attack.says, attack.root_only.as_ref()?));
    let is_shown = |attack: &&Attack| chapter.shown_here().any(|shown| shown.id == attack.id);
    let (shown, rest): (Vec<_>, Vec<_>) = chapter.attack.iter().partition(is_shown);
    Ok(Outcome::Pass(Stand {
        stopped: shown.iter().map(|attack| attack.says.clone()).collect(),
        untold: rest.into_iter().filter_map(untold).collect(),
        attacks: earlier
            .iter()
            .flat_map(|chapter| chapter.shown_here())
            .filter(|attack| !attack.only_here)
            .count(),
        checks: earlier.iter().flat_map(|chapter| &chapter.check).filter(|check| !check.only_here).count(),
    }))
}

/// `chapter` is what is checked; the attack may be an earlier one's.
fn stormed(chapter: &Chapter, attack: &Attack, facts: &Value) -> Finding {
    let own = chapter.attack.iter().any(|own| own.id == attack.id);
    Finding {
        diagnosis: format!("attack.{}", attack.id),
        step: if own { attack.step } else { 1 },
        says: attack.says.clone(),
        expected: "an attack that worked before this layer fails from here on".into(),
        got: fill(&attack.got, facts),
        kernel: fill(&attack.kernel, facts),
        why: attack.why.clone(),
        next: attack.next.clone(),
        man: attack.man.clone(),
        did: None,
    }
}

/// Nothing is proved by an attack that did not take place.
fn ended(attack: &Attack, facts: &Value) -> Finding {
    let error = facts["run"]["error"].as_str().and_then(|error| error.lines().next());
    Finding {
        diagnosis: "attack.ended".into(),
        step: 1,
        says: "the container ended while it was attacking".into(),
        expected: "each attack is tried, and refused".into(),
        got: format!("nobody left to try: {}", attack.says),
        kernel: error.filter(|error| !error.is_empty()).unwrap_or("nothing").to_owned(),
        why: "the same container stood when nothing was tried in it".into(),
        next: "look for what ends it early, then: rubber learn check".into(),
        man: "signal(7)".into(),
        did: None,
    }
}

//! What a check finds in every layer, every exercise, every mistake and every cheat: see `variants`.

#[path = "../lab/chapters.rs"]
mod chapters;
#[path = "../lab/mod.rs"]
mod lab;

mod bundles;
mod forged;
mod hostile;
mod variants;

use chapters::*;
use serde_json::Value;
use std::sync::OnceLock;
use variants::Variants;

/// The chapters that this machine can tell of, and what is found of the shipped layer. The others say so, and
/// are skips to be declared.
pub fn told(variants: &Variants) -> impl Iterator<Item = &'static (&'static Chapter, Value)> {
    static FOUND: OnceLock<Vec<(&Chapter, Value)>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        chapters().iter().map(|chapter| (chapter, variants.check(chapter, "shipped"))).collect()
    });
    found.iter().filter(|(chapter, found)| {
        let cannot = found["result"]["outcome"] == "cannot";
        if cannot {
            lab::skip(&chapter.id, found["result"]["why"].as_str().unwrap());
        }
        !cannot
    })
}

#[test]
fn workshop_layers_pass_as_they_are_shipped() {
    let Some(variants) = Variants::lock() else { return };
    let before = ledger();
    for (chapter, found) in told(&variants) {
        assert_eq!(found["result"]["outcome"], "pass", "{}: {}", chapter.id, found["result"]);
    }
    assert_balanced(&before);
}

#[test]
fn workshop_exercises_stop_at_their_first_step() {
    let Some(variants) = Variants::lock() else { return };
    for (chapter, _) in told(&variants).filter(|(chapter, _)| is_tried(chapter)) {
        let found = &variants.check(chapter, "exercise")["result"];
        let stops = found["outcome"] == "not_yet" && found["step"] == 1;
        assert!(stops, "{}: {found}", chapter.id);
    }
}

/// Every mistake gets the diagnosis that names it, on a screen that is not too long to read.
#[test]
fn workshop_mistakes_are_told_from_each_other() {
    let Some(variants) = Variants::lock() else { return };
    let before = ledger();
    let mut wrong = Vec::new();
    for (chapter, _) in told(&variants) {
        for (mistake, diagnosis) in
            mistakes(chapter).into_iter().take(if is_tried(chapter) { usize::MAX } else { 1 })
        {
            let found = variants.check(chapter, mistake.trim_end_matches(".rs"));
            if found["result"]["diagnosis"] != diagnosis {
                wrong.push(format!("{} {mistake}: not {diagnosis}, but {}", chapter.id, found["result"]));
            }
            let screen = found["screen"].as_str().unwrap();
            if screen.lines().count() > 12 || screen.lines().any(|line| line.chars().count() > 80) {
                wrong.push(format!("{} {mistake}: too long:\n{screen}", chapter.id));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_balanced(&before);
}

/// Where a processor is emulated, RUBBER_TEST_FEW=1 leaves it at these chapters, and at one mistake of each
/// other: most of what a check finds depends on the layer and not on the kernel, limits do not.
pub fn is_tried(chapter: &Chapter) -> bool {
    !lab::few() || ["uts", "cpu", "memory"].contains(&chapter.layer.as_str())
}

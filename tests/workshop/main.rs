//! What a check finds in every layer, every exercise, every mistake and every cheat: see `variants`.

#[path = "../lab/chapters.rs"]
mod chapters;
#[path = "../lab/mod.rs"]
mod lab;

mod forged;
mod hostile;
mod variants;

use chapters::*;
use std::sync::OnceLock;
use variants::Variants;

/// The chapters that this machine can tell of. The others say so, and are skips to be declared.
pub fn told(variants: &Variants) -> Vec<Chapter> {
    static CANNOT: OnceLock<Vec<String>> = OnceLock::new();
    let cannot = CANNOT.get_or_init(|| {
        let why = |chapter: Chapter| {
            let found = variants.check(&chapter, "shipped");
            let why = found["result"]["why"].as_str().filter(|_| found["result"]["outcome"] == "cannot");
            why.map(|why| lab::skip(&chapter.id, why)).map(|()| chapter.id)
        };
        chapters().into_iter().filter_map(why).collect()
    });
    chapters().into_iter().filter(|chapter| !cannot.contains(&chapter.id)).collect()
}

#[test]
fn workshop_layers_pass_as_they_are_shipped() {
    let Some(variants) = Variants::lock() else { return };
    let before = ledger();
    for chapter in told(&variants) {
        let found = variants.check(&chapter, "shipped");
        assert_eq!(found["result"]["outcome"], "pass", "{}: {}", chapter.id, found["result"]);
    }
    assert_balanced(&before);
}

#[test]
fn workshop_exercises_stop_at_their_first_step() {
    let Some(variants) = Variants::lock() else { return };
    for chapter in told(&variants) {
        let found = &variants.check(&chapter, "exercise")["result"];
        assert_eq!(
            (&found["outcome"], &found["step"]),
            (&"not_yet".into(), &1.into()),
            "{}: {found}",
            chapter.id
        );
    }
}

/// Every mistake gets the diagnosis that names it, on a screen that is not too long to read.
#[test]
fn workshop_mistakes_are_told_from_each_other() {
    let Some(variants) = Variants::lock() else { return };
    let before = ledger();
    let mut wrong = Vec::new();
    for chapter in told(&variants) {
        for (mistake, diagnosis) in mistakes(&chapter) {
            let found = variants.check(&chapter, mistake.trim_end_matches(".rs"));
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

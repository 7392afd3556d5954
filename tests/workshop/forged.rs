//! Programs that do nothing but say the right things: no chapter believes them.

use crate::{is_tried, lab, told, variants::Variants};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

fn script(dir: &Path, text: &str) -> PathBuf {
    let file = dir.join("rubber");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file
}

/// It answers in the probe's place, and all its answers have been right once.
#[test]
fn workshop_does_not_believe_who_answers_for_the_probe() {
    let Some(variants) = Variants::lock() else { return };
    if !lab::has("python3") {
        return lab::skip_this("the forger is a python program");
    }
    let place = tempfile::tempdir_in(lab::scratch()).unwrap();
    for (chapter, right) in told(&variants).filter(|(chapter, _)| is_tried(chapter)) {
        let forger = include_str!("forger.py").replace("FACTS", &right["facts"].to_string());
        let found = variants.check_with(chapter, &script(place.path(), &forger));
        assert_eq!(found["result"]["diagnosis"], "run.forged", "{}: {}", chapter.id, found["result"]);
    }
}

/// The words of the screen itself.
#[test]
fn workshop_does_not_believe_who_prints_a_pass() {
    let Some(variants) = Variants::lock() else { return };
    let place = tempfile::tempdir_in(lab::scratch()).unwrap();
    for (chapter, right) in told(&variants).filter(|(chapter, _)| is_tried(chapter)) {
        let pass = &right["screen"];
        let liar = format!("#!/bin/sh\nprintf {pass}\nprintf {pass} >&2\n");
        let found = variants.check_with(chapter, &script(place.path(), &liar));
        assert_eq!(found["result"]["outcome"], "wrong", "{}: {}", chapter.id, found["result"]);
    }
}

//! The workshop's chapters against the layers as shipped: each passes with its layer and fails without, and
//! what attacks it is seen to work before and to fail after. Nothing is built for it.

#[path = "../lab/mod.rs"]
mod lab;

use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

struct Chapter {
    id: String,
    layer: String,
    toml: toml::Table,
    text: String,
}

fn sources() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or(env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

fn chapters() -> Vec<Chapter> {
    let entries = fs::read_dir(sources().join("workshop")).unwrap().flatten();
    let mut dirs: Vec<_> = entries.map(|entry| entry.path()).collect();
    // One without a layer has no attack: it makes nothing that was not made before.
    dirs.retain(|dir| dir.join("chapter.toml").is_file() && !dir.join("config.json").is_file());
    dirs.sort();
    let read = |dir: &PathBuf| {
        let id = dir.file_name().unwrap().to_str().unwrap().to_owned();
        let text = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
        let layer = id.split_once('_').unwrap().1.to_owned();
        Chapter { layer, toml: text("chapter.toml").parse().unwrap(), text: text("README.md"), id }
    };
    dirs.iter().map(read).collect()
}

impl Chapter {
    fn tables(&self, name: &str) -> Vec<&toml::Table> {
        self.toml[name].as_array().unwrap().iter().map(|entry| entry.as_table().unwrap()).collect()
    }

    /// What the attacks that this user can be shown are called.
    fn shown_attacks(&self) -> Vec<&str> {
        let shown = |attack: &&toml::Table| lab::is_root() || !attack.contains_key("root_only");
        self.tables("attack")
            .into_iter()
            .filter(shown)
            .map(|attack| attack["says"].as_str().unwrap())
            .collect()
    }

    /// How many of its attacks are no matter of later chapters.
    fn only_here(&self) -> usize {
        self.tables("attack").iter().filter(|attack| attack.contains_key("only_here")).count()
    }
}

/// What `rubber learn check` finds when our own layers up to `stage` are the learner's.
fn check(checkout: &Path, chapter: &Chapter, stage: &str) -> Value {
    let mut learn = Command::new(lab::RUBBER);
    learn.args(["learn", "check", &chapter.id, "--json", "--with", lab::RUBBER, "--stage", stage]);
    let output = learn.current_dir(checkout).output().unwrap();
    let found: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let screen = found["screen"].as_str().unwrap();
    assert!(
        screen.lines().count() <= 12 && screen.lines().all(|line| line.chars().count() <= 80),
        "{screen}"
    );
    found
}

/// A chapter that this machine lacks something for has no facts: a skip to be declared.
fn is_missing(chapter: &Chapter, found: &Value) -> bool {
    let missing = found["result"]["outcome"] == "cannot" && found["facts"].is_null();
    if missing {
        lab::skip(&chapter.id, found["result"]["why"].as_str().unwrap_or_default());
    }
    missing
}

#[test]
fn attacks_work_before_their_layer_and_fail_from_there_on() {
    let (mut checks, mut attacks) = (0, 0);
    for chapter in chapters() {
        let is_tried = !lab::few() || ["uts", "cpu", "memory"].contains(&chapter.layer.as_str());
        let found = if is_tried { check(&sources(), &chapter, &chapter.layer) } else { Value::Null };
        if is_tried && is_missing(&chapter, &found) {
            continue;
        }
        let stopped = chapter.shown_attacks().len();
        let result = &found["result"];
        assert!(!is_tried || result["outcome"] == "pass", "{}: {result}", chapter.id);
        // Of each it was seen that it works without the layer; of all, that none does now.
        if is_tried {
            assert_eq!(result["stopped"], Value::from(chapter.shown_attacks()), "{}", chapter.id);
            let counted = (&result["attacks"], &result["checks"]);
            assert_eq!(counted, (&attacks.into(), &checks.into()), "{}", chapter.id);
        }
        attacks += stopped - chapter.only_here();
        checks += chapter.tables("check").iter().filter(|check| !check.contains_key("only_here")).count();
    }
    assert!(attacks > 0);
}

#[test]
fn attacks_apart_no_chapter_passes_without_its_layer() {
    let chapters = chapters();
    // tests/workshop tries that, too.
    for (before, chapter) in chapters.iter().zip(&chapters[1..]).filter(|_| !lab::few()) {
        if chapter.layer == "userns" && !lab::is_root() {
            lab::skip(&chapter.id, "an ordinary user's container is in a user namespace at every stage");
            continue;
        }
        let found = check(&sources(), chapter, &before.layer);
        if is_missing(chapter, &found) {
            continue;
        }
        let diagnosis = found["result"]["diagnosis"].as_str().unwrap_or_default();
        let named = chapter.tables("diagnosis").iter().any(|known| known["id"].as_str() == Some(diagnosis));
        assert!(named, "{} at {}: {}", chapter.id, before.layer, found["result"]);
    }
}

/// The workshop with `with` in the place of `what` in a chapter.toml.
fn altered(layer: &str, what: &str, with: &str) -> tempfile::TempDir {
    let place = tempfile::tempdir_in(lab::scratch()).unwrap();
    fs::create_dir_all(place.path().join("src/layers")).unwrap();
    fs::write(place.path().join("Cargo.toml"), "").unwrap();
    for chapter in chapters() {
        let dir = place.path().join("workshop").join(&chapter.id);
        fs::create_dir_all(&dir).unwrap();
        let file = sources().join("workshop").join(&chapter.id).join("chapter.toml");
        let text = fs::read_to_string(file).unwrap();
        let is_it = chapter.layer == layer;
        assert!(!is_it || text.contains(what), "{}: {what}", chapter.id);
        fs::write(dir.join("chapter.toml"), if is_it { text.replace(what, with) } else { text }).unwrap();
    }
    place
}

/// The judge's own test: an attack that works still, one that never did, and a promise that is broken.
#[test]
fn attacks_that_work_and_checks_that_fell_are_told() {
    let chapters = chapters();
    let pid = chapters.iter().find(|chapter| chapter.layer == "pid").unwrap();
    let dead = r#"'attacked.bystander == "dead"'"#;

    let place = altered("pid", dead, "'run.nonce == run.nonce'");
    let found = check(place.path(), pid, "pid");
    assert_eq!(found["result"]["diagnosis"], "attack.kill", "{}", found["result"]);
    assert!(found["screen"].as_str().unwrap().contains("a container kills a process of the host's"));

    let place = altered("pid", dead, "'run.nonce == 0'");
    let found = check(place.path(), pid, "pid");
    assert_eq!(found["result"]["outcome"], "cannot", "{}", found["result"]);
    assert!(found["result"]["why"].as_str().unwrap().contains("a container kills a process of the host's"));

    let place = altered("overlay", "run.image_written == false", "run.image_written == 7");
    let found = check(place.path(), pid, "pid");
    assert_eq!(found["result"]["diagnosis"], "earlier.overlay.kept", "{}", found["result"]);
    assert!(found["screen"].as_str().unwrap().contains("04 overlay, overlay.kept"));
}

/// What is asked before building stands in the text, in the same words.
#[test]
fn attacks_and_predictions_are_in_every_chapter() {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for chapter in chapters() {
        assert!(!chapter.tables("attack").is_empty(), "{}", chapter.id);
        let section = chapter.text.split("\n## ").find(|section| section.starts_with("Predict\n"));
        let section = plain(section.unwrap_or_else(|| panic!("{}: no Predict", chapter.id)));
        let predictions = chapter.tables("predict");
        assert!(!predictions.is_empty(), "{}", chapter.id);
        for side in predictions.iter().flat_map(|predict| [&predict["ask"], &predict["answer"]]) {
            assert!(
                section.contains(&plain(side.as_str().unwrap())),
                "{}: {side:?} in {section}",
                chapter.id
            );
        }
    }
}

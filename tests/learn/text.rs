//! What the chapters' text shows was run: each `console` block, command by command.

use crate::{bench::Bench, lab};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

#[test]
fn learn_texts_show_what_happens() {
    if !lab::is_root() {
        return lab::skip_this("the texts are root's");
    }
    let Some(bench) = Bench::lock() else { return };
    let place = tempfile::tempdir().unwrap();
    let script = format!("#!/bin/sh\nexec {} --root {} \"$@\"\n", lab::RUBBER, lab::store().display());
    let rubber = place.path().join("rubber");
    fs::write(&rubber, script).unwrap();
    fs::set_permissions(&rubber, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", place.path().display(), std::env::var("PATH").unwrap());
    let mut shown = 0;
    for chapter in bench.chapters() {
        let text = fs::read_to_string(chapter.dir.join("README.md")).unwrap();
        for (command, wanted) in commands(&text) {
            let mut shell = Command::new("sh");
            shell.args(["-c", &command]).env("PATH", &path).current_dir(&bench.root);
            let output = shell.output().unwrap();
            assert_eq!(
                lab::text(&output.stdout).trim_end(),
                wanted.trim_end(),
                "{}: {command}: {output:?}",
                chapter.id
            );
            shown += 1;
        }
    }
    assert!(shown >= bench.chapters().len(), "only {shown}");
}

/// Each line behind "$ ", and the lines it is to print.
fn commands(text: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match (inside, line.strip_prefix("$ ")) {
            (_, _) if line.starts_with("```") => inside = line == "```console",
            (true, Some(command)) => commands.push((command.to_owned(), String::new())),
            (true, None) => commands.last_mut().unwrap().1 += &format!("{line}\n"),
            (false, _) => {}
        }
    }
    commands
}

/// In this order, in every chapter.
#[test]
fn learn_texts_have_their_sections_in_order() {
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
    for chapter in crate::bench::chapters() {
        let text = fs::read_to_string(chapter.dir.join("README.md")).unwrap();
        let sections: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        assert_eq!(sections, SECTIONS, "{}", chapter.id);
    }
}

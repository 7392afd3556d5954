//! Names in the text: manual pages, files, pictures and where links lead.

use crate::{lab, sources, texts};
use std::{collections::BTreeSet, fs, path::Path};

/// `setns(2)` and its like, in the texts and on the workshop's screens.
#[test]
fn text_names_manual_pages_that_exist() {
    if !Path::new("/usr/share/man/man7/namespaces.7.gz").exists() {
        return lab::skip_this("the manual pages of Linux are not installed (manpages, manpages-dev)");
    }
    let mut named = BTreeSet::new();
    for (_, text) in texts() {
        named.extend(pages(&text));
    }
    for (name, ..) in crate::chapters() {
        let toml = sources().join(name).with_file_name("chapter.toml");
        named.extend(pages(&fs::read_to_string(toml).unwrap()));
    }
    let missing: Vec<_> = named.iter().filter(|(page, section)| !exists(page, section)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(named.len() > 20, "only {named:?}");
}

/// Pages of programs that need not be installed where the tests run.
const ELSEWHERE: &[&str] = &[
    "docker",
    "podman",
    "runc",
    "crun",
    "bwrap",
    "systemd",
    "systemd-run",
    "nsenter",
    "lsns",
    "proc",
    "udev",
];

fn exists(page: &str, section: &str) -> bool {
    let dir = Path::new("/usr/share/man").join(format!("man{section}"));
    let name = format!("{page}.{section}");
    let known = |file: String| file.starts_with(&name);
    let listed = fs::read_dir(dir).into_iter().flatten().flatten();
    ELSEWHERE.contains(&page) || listed.map(|entry| entry.file_name().to_string_lossy().into()).any(known)
}

/// Each `name(N)` in the text.
fn pages(text: &str) -> Vec<(String, String)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let page = |(at, _): (usize, &str)| {
        let section = text[at + 1..].split_once(')')?.0;
        let is_section = section.len() == 1 && section.bytes().all(|byte| (b'1'..=b'8').contains(&byte));
        let name = text[..at].rsplit(|c: char| !is_name(c)).next()?;
        let is_page = is_section && name.starts_with(|c: char| c.is_ascii_lowercase());
        is_page.then(|| (name.to_owned(), section.to_owned()))
    };
    text.match_indices('(').filter_map(page).collect()
}

/// Links within the project lead somewhere; the others lead to places that stay.
#[test]
fn text_links_lead_somewhere() {
    const STAY: &[&str] = &["https://docs.kernel.org/", "https://man7.org/", "https://www.kernel.org/"];
    for (name, text) in texts() {
        let dir = sources().join(&name).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            match target.contains("://") {
                true => assert!(STAY.iter().any(|place| target.starts_with(place)), "{name}: {target}"),
                false => assert!(dir.join(file).exists(), "{name}: {target}"),
            }
        }
    }
}

/// A picture stands in the text for who reads in a terminal.
#[test]
fn text_has_its_pictures_as_text() {
    for (name, text) in texts() {
        let dir = sources().join(&name).parent().unwrap().to_owned();
        for picture in text.split("](").skip(1).filter_map(|rest| rest.split_once(".svg)")) {
            let source = dir.join(picture.0).with_extension("txt");
            let drawn = fs::read_to_string(&source).unwrap_or_else(|error| panic!("{source:?}: {error}"));
            assert!(text.contains(drawn.trim_end()), "{name}: {} is not in the text", source.display());
        }
    }
}

/// docs/diagram makes them.
#[test]
fn text_pictures_are_drawn_from_their_sources() {
    if !lab::has("python3") {
        return lab::skip_this("there is no python3 to draw them with");
    }
    let pictures = "docs/diagram --check $(find workshop -name '*.txt')";
    let output = std::process::Command::new("sh").args(["-c", pictures]).current_dir(sources()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", lab::text(&output.stderr));
}

/// The calls and flags a chapter says it teaches are made by its layer.
#[test]
fn text_teaches_what_the_layer_calls() {
    if !lab::is_root() {
        return lab::skip_this("where there is only one id, there are no groups to take");
    }
    let mut known = 0;
    for (name, toml, _) in crate::chapters() {
        let layer = name.split('/').nth(1).unwrap().split_once('_').unwrap().1.to_owned();
        let asked = ["-m", "32m", "-u", "0", "--security-opt", "no-new-privileges"];
        let plan = lab::rubber(
            [&["run", "--dry-run", "--until", &layer], &asked[..], &["busybox", "true"]].concat(),
        );
        let told = lab::text(&{ plan }.output().unwrap().stderr);
        for word in toml["teaches"].as_array().unwrap().iter().filter_map(|word| word.as_str()) {
            let is_flag = word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            let wanted = match word.strip_suffix("(2)") {
                Some(call) => format!("{call}("),
                None if is_flag => word.to_owned(),
                None => continue,
            };
            assert!(told.contains(&wanted), "{name} teaches {word}, which {layer} does not call");
            known += 1;
        }
    }
    assert!(known > 10, "only {known}");
}

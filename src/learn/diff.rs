//! What a chapter changes: both stages run in the arena with the shipped layers, and are compared. Or two bundles do,
//! the learner's and ours.

use super::{
    Chapter, Checkout, Progress,
    arena::{self, Attempt},
    bundle::{self, with_own_ids},
    check::why_not_here,
};
use crate::{
    Exit,
    show::columns::{fit, wrap},
};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{fs, path::Path};

/// The facts worth telling; each namespace is one more.
const TOLD: &[&str] = &[
    "hostname",
    "pids",
    "root.fstype",
    "cwd",
    "uid",
    "gid",
    "groups",
    "caps",
    "count.processes",
    "count.mounts",
    "count.interfaces",
    "count.fds",
    "limits",
];

/// The layers that came, the calls that came and went, and the facts that differ.
pub fn diff(checkout: &Checkout, from: &Chapter, to: &Chapter) -> Result<String> {
    if from.number() >= to.number() {
        bail!(Exit(2, format!("{} does not come before {}: name the earlier first", from.id, to.id)));
    }
    if let Some(bundle) = [from, to].into_iter().find(|chapter| chapter.bundle) {
        let instead = format!("rubber learn diff {:02} compares yours with ours", bundle.number());
        bail!(Exit(2, format!("{} builds no layer, but a config.json: {instead}", bundle.name())));
    }
    if let Some(why) = [from, to].into_iter().find_map(why_not_here) {
        bail!(Exit(3, format!("this machine cannot tell: {why}")));
    }
    // Asked for the same, so that only the layers differ.
    let (before, after) = (facts(from, &to.flags)?, facts(to, &to.flags)?);
    let mut text = format!("code: what {} has and {} has not\n", to.name(), from.name());
    for chapter in Chapter::all(checkout)?.iter().filter(|chapter| chapter.number() > from.number()) {
        if chapter.number() <= to.number() {
            text += &format!("  + {}\n", checkout.short(&checkout.solution(chapter)));
        }
    }
    text += "\nsystem calls\n";
    let (old, new) = (calls(&before), calls(&after));
    let gone = old.iter().filter(|call| !new.contains(call)).map(|call| format!("  - {}\n", fit(call, 76)));
    let came = new.iter().filter(|call| !old.contains(call)).map(|call| format!("  + {}\n", fit(call, 76)));
    text.extend(gone.chain(came));
    Ok(text + &changed(&before, &after))
}

/// What only the learner's config.json has and what only ours, and what the kernel says of both containers.
pub fn diff_bundle(checkout: &Checkout, chapter: &Chapter, progress: &Progress) -> Result<String> {
    if let Some(why) = why_not_here(chapter) {
        bail!(Exit(3, format!("this machine cannot tell: {why}")));
    }
    let (file, solution) = (checkout.short(&chapter.exercise()), checkout.solution(chapter));
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {path:?}"));
    let (yours, ours) = (read(&chapter.exercise())?, with_own_ids(&read(&solution)?));
    let config = serde_json::from_str(&yours).map_err(|error| Exit(1, format!("{file}: {error}")))?;
    let mut text = format!("{file}: what only yours has (-), and what only ours (+)\n");
    text += &file_lines(&config, &serde_json::from_str(&ours)?, progress, chapter);
    let (before, after) = (bundle::facts_of(yours)?, bundle::facts_of(ours)?);
    if let Some(complaint) = before["run"]["error"].as_str().and_then(|said| said.lines().next()) {
        text += &format!("\nwhat becomes of yours\n  {}\n", wrap(complaint, 76).join("\n  "));
    }
    Ok(if before["run"]["made"] == true { text + &changed(&before, &after) } else { text })
}

/// The lines of it. What ours has in them is the solution, and told when that is.
fn file_lines(yours: &Value, ours: &Value, progress: &Progress, chapter: &Chapter) -> String {
    let (yours, ours) = (parts("", yours), parts("", ours));
    let is_told = progress.passed(chapter) || progress.gave_up(chapter);
    let gone = yours.iter().filter(|part| !ours.contains(part)).map(|(path, value)| (path, '-', Some(value)));
    let came = ours.iter().filter(|part| !yours.contains(part));
    let came = came.map(|(path, value)| (path, '+', Some(value).filter(|_| is_told)));
    let mut lines: Vec<_> = gone.chain(came).collect();
    lines.sort_by_key(|(path, sign, _)| (*path, *sign == '+'));
    let line = |(path, sign, value): &(&String, char, Option<&Value>)| match value {
        Some(value) => format!("  {sign} {path:<32} {}\n", fit(&value.to_string(), 43)),
        None => format!("  {sign} {path}\n"),
    };
    let last = match lines.iter().any(|(_, sign, _)| *sign == '+') {
        _ if lines.is_empty() => "  nothing\n".into(),
        true if !is_told => {
            format!("  what ours has there: rubber learn solution {:02}, after a pass\n", chapter.number())
        }
        _ => String::new(),
    };
    lines.iter().map(line).collect::<String>() + &last
}

/// Each value in it and where it is. The items of a list are one each, as their order means nothing but in args.
fn parts(path: &str, value: &Value) -> Vec<(String, Value)> {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().flat_map(|(name, value)| parts(&below(name), value)).collect(),
        Value::Array(items) if path != "process.args" => {
            items.iter().map(|item| (path.to_owned(), item.clone())).collect()
        }
        value => vec![(path.to_owned(), value.clone())],
    }
}

/// The facts that differ.
fn changed(before: &Value, after: &Value) -> String {
    let mut text = String::new();
    for name in TOLD {
        let (old, new) = (fact(before, name), fact(after, name));
        // What has parts is told part by part.
        let parts = new.as_object().or(old.as_object()).map(|parts| parts.keys().cloned().collect());
        for part in parts.unwrap_or(vec![String::new()]) {
            let (name, old, new) = match part.as_str() {
                "" => (name.to_string(), &old, &new),
                part => (format!("{name}.{part}"), &old[part], &new[part]),
            };
            if old != new {
                text +=
                    &format!("  {name:<17} {} -> {}\n", fit(&old.to_string(), 26), fit(&new.to_string(), 30));
            }
        }
    }
    for (kind, inode) in after["ns"].as_object().into_iter().flatten() {
        let is_hosts = |facts: &Value, inode: &Value| facts["host"]["ns"][kind] == *inode;
        if is_hosts(before, &before["ns"][kind]) && !is_hosts(after, inode) {
            text += &format!("  ns.{kind:<14} the host's -> its own\n");
        }
    }
    "\nfacts\n".to_owned() + if text.is_empty() { "  nothing\n" } else { &text }
}

fn facts(chapter: &Chapter, flags: &[String]) -> Result<Value> {
    let binary = std::env::current_exe().context("cannot find our own binary")?;
    let layer = Some(chapter.layer().into());
    let facts = arena::run(&Attempt { binary, layer, flags: flags.to_vec(), attacks: vec![], bundle: None })?;
    if facts["run"]["genuine"] != true {
        bail!("{} does not run here: {}", chapter.name(), facts["run"]["error"]);
    }
    Ok(facts)
}

/// The calls in the narrator's words, with what is random in them left out.
fn calls(facts: &Value) -> Vec<String> {
    let told = facts["run"]["calls"].as_array().into_iter().flatten();
    let code = format!("exit code {}", facts["run"]["code"]);
    let masked = |call: &str| masked(call, facts).replace(&code, "exit code CODE");
    told.filter_map(|line| line["call"].as_str()).map(masked).collect()
}

/// With the container's id as ID, and the name that the check has asked for as NAME.
fn masked(text: &str, facts: &Value) -> String {
    let told = facts["run"]["calls"].as_array().into_iter().flatten();
    let id = told.filter_map(|line| line["call"].as_str()?.split_once("/containers/")?.1.get(..12)).next();
    let name = facts["run"]["id"].as_str();
    let words = [id.zip(Some("ID")), name.zip(Some("NAME"))];
    words.into_iter().flatten().fold(text.to_owned(), |text, (word, mask)| text.replace(word, mask))
}

/// What is the host's is told as that: the arena's own name is another one each time.
fn fact(facts: &Value, name: &str) -> Value {
    let found = name.split('.').fold(facts, |value, word| &value[word]);
    match found.as_str() {
        Some(text) if name == "hostname" && facts["host"]["hostname"] == text => "the host's".into(),
        Some(text) => masked(text, facts).into(),
        None => found.clone(),
    }
}

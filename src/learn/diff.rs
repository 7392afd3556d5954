//! What a chapter changes: both stages run in the arena with the shipped layers, and are compared.

use super::{
    Chapter, Checkout,
    arena::{self, Attempt},
};
use crate::show::columns::fit;
use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The facts worth telling; each namespace is one more.
const TOLD: &[&str] = &[
    "hostname",
    "pids",
    "root.fstype",
    "cwd",
    "uid",
    "gid",
    "groups",
    "count.processes",
    "count.mounts",
    "count.interfaces",
    "count.fds",
    "limits",
];

/// The layers that came, the calls that came and went, and the facts that differ.
pub fn diff(checkout: &Checkout, from: &Chapter, to: &Chapter) -> Result<String> {
    if from.number() >= to.number() {
        bail!(crate::Exit(2, format!("{} does not come before {}: name the earlier first", from.id, to.id)));
    }
    let (before, after) = (facts(from)?, facts(to)?);
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
    text += "\nfacts\n";
    for name in TOLD {
        let (old, new) = (fact(&before, name), fact(&after, name));
        if old != new {
            text += &format!("  {name:<17} {} -> {}\n", fit(&old.to_string(), 26), fit(&new.to_string(), 30));
        }
    }
    for (kind, inode) in after["ns"].as_object().into_iter().flatten() {
        let is_hosts = |facts: &Value, inode: &Value| facts["host"]["ns"][kind] == *inode;
        if is_hosts(&before, &before["ns"][kind]) && !is_hosts(&after, inode) {
            text += &format!("  ns.{kind:<14} the host's -> its own\n");
        }
    }
    Ok(text)
}

fn facts(chapter: &Chapter) -> Result<Value> {
    let binary = std::env::current_exe().context("cannot find our own binary")?;
    let flags = chapter.flags.clone();
    let layer = Some(chapter.layer().into());
    let facts = arena::run(&Attempt { binary, layer, flags, attacks: vec![] })?;
    if facts["run"]["genuine"] != true {
        bail!("{} does not run here: {}", chapter.name(), facts["run"]["error"]);
    }
    Ok(facts)
}

/// The calls in the narrator's words, with what is random in them left out.
fn calls(facts: &Value) -> Vec<String> {
    let id = facts["run"]["container"].as_str().unwrap_or("-");
    let name = facts["run"]["id"].as_str().unwrap_or("-");
    let told = facts["run"]["calls"].as_array().into_iter().flatten();
    let masked = |call: &str| call.replace(id, "ID").replace(name, "NAME");
    told.filter_map(|line| line["call"].as_str()).map(masked).collect()
}

/// What is the host's is told as that: the arena's own name is another one each time.
fn fact(facts: &Value, name: &str) -> Value {
    let found = name.split('.').fold(facts, |value, word| &value[word]);
    if name == "hostname" && *found == facts["host"]["hostname"] {
        return "the host's".into();
    }
    found.clone()
}

//! What the facts mean: a pass, not yet, or the first wrong turn that has a name.

use super::{
    Chapter, Checkout, anywhere,
    chapter::{Check, Diagnosis},
    expect::{fill, holds},
    not_yet::NOT_YET,
    pristine,
};
use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

#[derive(Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    Pass(Stand),
    /// The exercise stopped at a step, at `place` (file and line).
    NotYet {
        step: u8,
        does: String,
        place: String,
    },
    /// The compiler's first error.
    Compiler {
        text: String,
        step: Option<u8>,
    },
    Wrong(Finding),
    /// This machine cannot tell, and why.
    Cannot {
        why: String,
    },
}

/// What a passed chapter stands against.
#[derive(Debug, Default, Serialize)]
pub struct Stand {
    /// Attacks that worked before this layer, and do no more.
    pub stopped: Vec<String>,
    /// Those of which that cannot be shown here, each with the reason.
    pub untold: Vec<String>,
    /// Attacks of earlier chapters that fail, still.
    pub attacks: usize,
    /// Checks of earlier chapters that hold, still.
    pub checks: usize,
}

/// One failure, as the screen shows it.
#[derive(Debug, Default, Serialize)]
pub struct Finding {
    pub diagnosis: String,
    pub step: u8,
    pub says: String,
    /// The call, and the file and line it is made in.
    pub did: Option<(String, String)>,
    pub expected: String,
    pub got: String,
    pub kernel: String,
    pub why: String,
    pub next: String,
    pub man: String,
}

impl Outcome {
    pub fn code(&self) -> u8 {
        match self {
            Outcome::Pass(_) => 0,
            Outcome::Cannot { .. } => 3,
            _ => 1,
        }
    }

    /// The step whose hints help now.
    pub fn step(&self) -> Option<u8> {
        match self {
            Outcome::NotYet { step, .. } => Some(*step),
            Outcome::Compiler { step, .. } => *step,
            Outcome::Wrong(finding) => Some(finding.step),
            _ => None,
        }
    }
}

/// Judges an attempt at `chapter` by its facts: what is wrong, if anything. What the `earlier` chapters
/// ask for must hold, too.
pub fn judge(
    checkout: &Checkout,
    chapter: &Chapter,
    earlier: &[&Chapter],
    facts: &Value,
) -> Result<Option<Outcome>> {
    if let Some(cannot) = lacking(chapter, None, facts)? {
        return Ok(Some(cannot));
    }
    if let Some(not_yet) = not_yet(chapter, facts) {
        return Ok(Some(not_yet));
    }
    let run = &facts["run"];
    if let Some(finding) = not_trusted(run) {
        return Ok(Some(Outcome::Wrong(finding)));
    }
    let failed = failed_check(chapter, |_| true, facts)?;
    if failed.is_none() && run["genuine"] == true {
        if let Some(finding) = no_longer(earlier, facts)? {
            return Ok(Some(Outcome::Wrong(finding)));
        }
        return chapter
            .check
            .iter()
            .find_map(|check| lacking(chapter, Some(check), facts).transpose())
            .transpose();
    }
    for diagnosis in &chapter.diagnosis {
        if concerns(&diagnosis.only, facts) && all_hold(&diagnosis.when, facts)? {
            return Ok(Some(Outcome::Wrong(shown(checkout, chapter, diagnosis, facts))));
        }
    }
    Ok(Some(Outcome::Wrong(match run["met"] == true {
        true => anywhere::unnamed(chapter, failed, facts),
        false => anywhere::not_started(facts),
    })))
}

/// The same of a container from a bundle: what is to hold before step `unwritten` is written.
pub fn judge_bundle(
    checkout: &Checkout,
    chapter: &Chapter,
    facts: &Value,
    unwritten: u8,
) -> Result<Option<Outcome>> {
    let Some(failed) = failed_check(chapter, |check| check.step < unwritten, facts)? else { return Ok(None) };
    for diagnosis in chapter.diagnosis.iter().filter(|one| one.step < unwritten) {
        if concerns(&diagnosis.only, facts) && all_hold(&diagnosis.when, facts)? {
            return Ok(Some(Outcome::Wrong(shown(checkout, chapter, diagnosis, facts))));
        }
    }
    Ok(Some(Outcome::Wrong(match facts["run"]["made"] == true {
        true => anywhere::unnamed(chapter, Some(failed), facts),
        false => anywhere::not_started(facts),
    })))
}

pub fn not_trusted(run: &Value) -> Option<Finding> {
    if run["flood"] == true || run["timeout"] == true {
        return Some(anywhere::endless(run["flood"] == true));
    }
    (run["genuine"] == false).then(anywhere::forged)
}

/// The first check of an earlier chapter that does not hold in this one.
fn no_longer(earlier: &[&Chapter], facts: &Value) -> Result<Option<Finding>> {
    for chapter in earlier {
        if let Some((check, text)) = failed_check(chapter, |check| !check.only_here, facts)? {
            return Ok(Some(anywhere::fallen(chapter, check, text, facts)));
        }
    }
    Ok(None)
}

pub fn all_hold(expressions: &[String], facts: &Value) -> Result<bool> {
    expressions.iter().try_fold(true, |all, text| Ok(all && holds(text, facts)?))
}

/// Whether it is about the cgroup version there is, and about who runs it.
fn concerns(only: &Option<String>, facts: &Value) -> bool {
    let here = |only: &String| facts["run"]["cgroup"] == **only || facts["run"]["caller"] == **only;
    only.as_ref().is_none_or(here)
}

/// What the machine lacks for this check, or for all of them.
pub fn lacking(chapter: &Chapter, check: Option<&Check>, facts: &Value) -> Result<Option<Outcome>> {
    for cannot in &chapter.cannot {
        if cannot.check.as_ref() == check.map(|check| &check.id) && all_hold(&cannot.when, facts)? {
            return Ok(Some(Outcome::Cannot { why: cannot.why.clone() }));
        }
    }
    Ok(None)
}

/// The first comparison that does not hold, and the check it belongs to.
fn failed_check<'a>(
    chapter: &'a Chapter,
    counts: impl Fn(&Check) -> bool,
    facts: &Value,
) -> Result<Option<(&'a Check, &'a str)>> {
    for check in chapter.check.iter().filter(|check| counts(check) && concerns(&check.only, facts)) {
        if lacking(chapter, Some(check), facts)?.is_some() {
            continue;
        }
        for text in &check.expect {
            if !holds(text, facts)? {
                return Ok(Some((check, text)));
            }
        }
    }
    Ok(None)
}

fn not_yet(chapter: &Chapter, facts: &Value) -> Option<Outcome> {
    let error = facts["run"]["error"].as_str()?;
    let rest = error.lines().find_map(|line| line.split_once(NOT_YET))?.1.trim();
    let (step, place) = rest.split_once(" at ")?;
    let step = step.parse().ok()?;
    let does = chapter.step(step).map(|step| step.does.clone()).unwrap_or_default();
    Some(Outcome::NotYet { step, does, place: place.to_owned() })
}

fn shown(checkout: &Checkout, chapter: &Chapter, diagnosis: &Diagnosis, facts: &Value) -> Finding {
    let filled = |text: &str| fill(text, facts);
    let did = diagnosis.did.as_ref().and_then(|did| {
        let (name, part) = did.split_once(' ').unwrap_or((did, ""));
        let place = place(checkout, chapter, name);
        let place = place.map(|line| format!("{}:{line}", checkout.short(&chapter.exercise())));
        Some((call(facts, name, part)?, place.unwrap_or_default()))
    });
    Finding {
        diagnosis: diagnosis.id.clone(),
        step: diagnosis.step,
        says: filled(&diagnosis.says),
        did,
        expected: filled(&diagnosis.expected),
        got: filled(&diagnosis.got),
        kernel: filled(&diagnosis.kernel),
        why: filled(&diagnosis.why),
        next: filled(&diagnosis.next),
        man: diagnosis.man.clone(),
    }
}

/// The last call of this name and with `part` in it that was made, in the narrator's words.
fn call(facts: &Value, name: &str, part: &str) -> Option<String> {
    let told = facts["run"]["calls"].as_array()?;
    let begins = |call: &&str| {
        call.strip_prefix(name).is_some_and(|rest| rest.starts_with('(') && rest.contains(part))
    };
    let call = told.iter().rev().filter_map(|line| line["call"].as_str()).find(begins)?;
    // The value counts, and there is only so much room.
    Some(call.replace("\"/sys/fs/cgroup/", "\""))
}

/// The line that calls it, where there is just one that was not there from the beginning.
fn place(checkout: &Checkout, chapter: &Chapter, name: &str) -> Option<usize> {
    let text = std::fs::read_to_string(chapter.exercise()).ok()?;
    let before = pristine::exercise(checkout.root(), &checkout.short(&chapter.exercise()));
    let before = String::from_utf8(before.unwrap_or_default()).ok()?;
    let is_new = |line: &str| before.lines().all(|old| old != line);
    // ioctl(2) has a function for each request: ioctl_link_up.
    let called = if name == "ioctl" { "sys::ioctl_".into() } else { format!("sys::{name}(") };
    let is_call = |line: &str| !line.trim_start().starts_with("//") && line.contains(&called);
    let calls = text.lines().zip(1..).filter(|(line, _)| is_call(line) && is_new(line));
    let mut lines = calls.map(|(_, number)| number);
    let first = lines.next();
    if lines.next().is_some() { None } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A chapter with a check that not every machine can make.
    fn judged(facts: Value) -> Outcome {
        let text = r#"
            title = "x"
            minutes = { talk = 1, do = 1 }
            teaches = []
            step = []
            attack = []
            predict = []
            [[cannot]]
            when = ["run.controllers lacks \"memory\""]
            why = "no controller"
            [[cannot]]
            check = "swap"
            when = ["run.counts_swap == false"]
            why = "swap is not counted"
            [[check]]
            id = "memory"
            step = 1
            expect = ["limits.memory == 1"]
            [[check]]
            id = "swap"
            step = 2
            expect = ["limits.memory_swap == 2"]
            [[check]]
            id = "elsewhere"
            step = 3
            only = "v2"
            expect = ["limits.memory == 7"]
            [[diagnosis]]
            id = "elsewhere"
            step = 1
            only = "v2"
            when = ["run.met == true"]
            says = ""
            expected = ""
            got = ""
            kernel = ""
            why = ""
            next = ""
            man = ""
            mistakes = []
        "#;
        let chapter: Chapter = toml::from_str(text).unwrap();
        let wrong = judge(&Checkout::find().unwrap(), &chapter, &[], &facts).unwrap();
        wrong.unwrap_or(Outcome::Pass(Stand::default()))
    }

    fn facts(limits: Value, counts_swap: bool) -> Value {
        let run = json!({"cgroup": "v1", "controllers": ["memory"], "counts_swap": counts_swap, "genuine": true, "met": true});
        json!({"run": run, "limits": limits})
    }

    #[test]
    fn what_the_machine_does_not_count_is_no_pass_and_no_fault() {
        let all = json!({"memory": 1, "memory_swap": 2});
        assert_eq!(judged(facts(all, true)).code(), 0);
        assert_eq!(judged(facts(json!({"memory": 1}), true)).code(), 1);
        assert_eq!(judged(facts(json!({"memory": 1}), false)).code(), 3);
        assert_eq!(judged(facts(json!({"memory": 5}), false)).code(), 1);
    }

    #[test]
    fn without_the_controller_nothing_can_be_told() {
        let facts = json!({"run": {"cgroup": "v1", "controllers": [], "error": "not yet: step 1 at x:1"}});
        assert_eq!(judged(facts).code(), 3);
    }

    #[test]
    fn a_wrong_turn_of_the_other_version_is_none_here() {
        let Outcome::Wrong(finding) = judged(facts(json!({"memory": 5}), true)) else { panic!("a pass") };
        assert_eq!(finding.diagnosis, "run.unnamed");
    }
}

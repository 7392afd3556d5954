//! What can go wrong in every chapter, and has no diagnosis of its own in any.

use super::{Chapter, chapter::Check, expect::fill, verdict::Finding, witness};
use serde_json::Value;

pub fn endless(flood: bool) -> Finding {
    let patience = format!("still running after {} seconds", witness::patience().as_secs());
    let (id, says, got) = match flood {
        true => ("run.flood", "it printed more than 1 MiB", "more, and no end in sight"),
        false => ("run.timeout", "it did not end", &*patience),
    };
    Finding {
        diagnosis: id.into(),
        step: 1,
        says: says.into(),
        expected: "one program that runs and ends".into(),
        got: got.into(),
        kernel: "nothing: everything it had started was killed with its pid namespace".into(),
        why: "a loop without an end, or something waits for what never comes".into(),
        next: "look at the loops you wrote, then: rubber learn check".into(),
        man: "pid_namespaces(7)".into(),
        did: None,
    }
}

pub fn forged() -> Finding {
    Finding {
        diagnosis: "run.forged".into(),
        step: 1,
        says: "somebody else answered in the probe's place".into(),
        expected: "answers of the probe, as the kernel sees it".into(),
        got: "answers that the kernel does not confirm".into(),
        kernel: "see /proc/PID/exe and /proc/PID/ns of who sent them".into(),
        why: "the right words are not enough: the kernel is asked too".into(),
        next: "let the container's own program answer, then: rubber learn check".into(),
        man: "unix(7)".into(),
        did: None,
    }
}

pub fn not_started(facts: &Value) -> Finding {
    let error = facts["run"]["error"].as_str().unwrap_or_default();
    let last = error.lines().find(|line| !line.trim().is_empty()).unwrap_or("nothing at all");
    let code = &facts["run"]["code"];
    Finding {
        diagnosis: "run.failed".into(),
        step: 1,
        says: "the container's program never started".into(),
        expected: "the probe runs and answers".into(),
        got: format!("rubber ended with exit code {code}"),
        kernel: last.to_owned(),
        why: "a step before it failed, so there was nobody to ask".into(),
        next: "mend the call named above, then: rubber learn check".into(),
        man: "errno(3)".into(),
        did: None,
    }
}

pub fn fallen(chapter: &Chapter, check: &Check, text: &str, facts: &Value) -> Finding {
    Finding {
        diagnosis: format!("earlier.{}", check.id),
        step: 1,
        says: format!("an earlier layer no longer holds: {}, {}", chapter.name(), check.id),
        expected: text.to_owned(),
        got: sides(text, facts),
        kernel: format!("rubber learn check {:02} --json has all the facts", chapter.number()),
        why: "each layer comes on top of those before it, and must leave them standing".into(),
        next: "look for what undoes it, then: rubber learn check".into(),
        man: "namespaces(7)".into(),
        did: None,
    }
}

pub fn unnamed(chapter: &Chapter, failed: Option<(&Check, &str)>, facts: &Value) -> Finding {
    let text = failed.map_or("the probe answers", |(_, text)| text);
    let (step, id) = failed.map_or((1, "probe"), |(check, _)| (check.step, &check.id));
    Finding {
        diagnosis: "run.unnamed".into(),
        step,
        says: format!("something else is not as it should be ({id})"),
        expected: text.to_owned(),
        got: sides(text, facts),
        kernel: format!("rubber learn check {:02} --json has all the facts", chapter.number()),
        why: "this comparison does not hold, and no known mistake explains it".into(),
        next: "read the chapter's step again, then: rubber learn check".into(),
        man: "namespaces(7)".into(),
        did: None,
    }
}

/// The comparison with its facts filled in.
fn sides(text: &str, facts: &Value) -> String {
    let value = |word: &str| match word.contains('.') && !word.starts_with('"') {
        true => fill(&format!("{{{word}}}"), facts),
        false => word.to_owned(),
    };
    text.split(' ').map(value).collect::<Vec<_>>().join(" ")
}

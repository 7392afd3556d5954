//! What the learner reads: at most twelve lines of eighty columns, and one failure at a time.

use super::{
    Chapter, Outcome,
    verdict::{Finding, Stand},
};
use crate::show::columns::{fit, wrap};
use std::iter;

const WIDTH: usize = 80;
const LABEL: usize = 15;
const LINES: usize = 12;

impl Outcome {
    /// The outcome of a check of `chapter`, for a terminal; `hints` of the three were read already.
    pub fn screen(&self, chapter: &Chapter, hints: usize) -> String {
        match self {
            Outcome::Pass(stand) => stand.screen(chapter),
            Outcome::NotYet { step, does, place } => format!(
                "{} {}{}{}{}",
                yellow("·"),
                heading(chapter, &format!("not yet: step {step}, {does}")),
                row("where", place),
                row("next", "write it, then: rubber learn check"),
                stuck(hints, ""),
            ),
            Outcome::Compiler { text, step } => {
                let step = step.map_or(String::new(), |step| format!(" (step {step})"));
                format!("{text}\n{} {}   the compiler says no{step}\n", red("✗"), chapter.name())
            }
            Outcome::Wrong(finding) => finding.screen(chapter, hints),
            Outcome::Cannot { why } => {
                format!("{} {}   this machine cannot tell\n{}", yellow("?"), chapter.name(), rows("why", why))
            }
        }
    }
}

impl Stand {
    fn screen(&self, chapter: &Chapter) -> String {
        let mut text = format!("{} {}   {}\n", green("✓"), chapter.name(), "the kernel confirms it");
        let stopped = self.stopped.iter().zip(["stopped"].into_iter().chain(iter::repeat("")));
        text.extend(stopped.map(|(says, label)| row(label, says)));
        text.extend(self.untold.iter().map(|why| rows("cannot tell", why)));
        if self.attacks + self.checks > 0 {
            let both = format!("{} earlier attacks fail, {} earlier checks hold", self.attacks, self.checks);
            text += &row("and still", &both);
        }
        for predict in &chapter.predict {
            text += &rows("asked", &predict.ask);
            text += &rows("answer", &predict.answer);
        }
        text
    }
}

impl Finding {
    fn screen(&self, chapter: &Chapter, hints: usize) -> String {
        let mut above = format!("{} {}", red("✗"), heading(chapter, &self.says));
        if let Some((call, place)) = &self.did {
            let room = WIDTH - LABEL - place.chars().count() - 1;
            above += &match call.chars().count() <= room {
                true => row("you did", format!("{call:<room$} {place}").trim_end()),
                false => labelled("you did", &[shortened(call, 1), vec![place.clone()]].concat()),
            };
        }
        above += &row("expected", &self.expected);
        above += &row("got", &self.got);
        let below = rows("why", &self.why) + &rows("next", &self.next) + &stuck(hints, &self.man);
        let room = LINES.saturating_sub(above.lines().count() + below.lines().count());
        above + &labelled("kernel says", &shortened(&self.kernel, room.clamp(1, 3))) + &below
    }
}

/// The first line, and what of it does not fit there on a second.
fn heading(chapter: &Chapter, text: &str) -> String {
    let lines = wrap(&format!("{}   {text}", chapter.name()), WIDTH - 2);
    lines.join("\n  ") + "\n"
}

/// At most so many lines: of what is too long the middle goes, for an errno stands at the end.
fn shortened(text: &str, lines: usize) -> Vec<String> {
    let all: Vec<char> = text.chars().collect();
    let ends = |count: usize| [&all[..count], &[' ', '.', '.', ' '], &all[all.len() - count..]].concat();
    let cut = (0..(all.len() / 2).min(WIDTH * lines)).rev().map(|count| ends(count).iter().collect());
    let mut tried = iter::once(text.to_owned()).chain(cut).map(|text| wrap(&text, WIDTH - LABEL));
    tried.find(|wrapped| wrapped.len() <= lines).unwrap_or_default()
}

fn stuck(hints: usize, man: &str) -> String {
    // As man(1) takes it: man 7 uts_namespaces.
    let page = man.strip_suffix(')').and_then(|man| man.split_once('('));
    let page = page.map_or(String::new(), |(name, section)| format!(" · man {section} {name}"));
    let hint = match hints {
        0..3 => format!("rubber learn hint ({} of 3)", hints + 1),
        _ => "rubber learn solution --give-up".into(),
    };
    row("stuck?", &(hint + &page))
}

fn row(label: &str, text: &str) -> String {
    format!("  {label:<13}{}\n", fit(text, WIDTH - LABEL))
}

/// As many lines as it takes.
fn rows(label: &str, text: &str) -> String {
    labelled(label, &wrap(text, WIDTH - LABEL))
}

fn labelled(label: &str, lines: &[String]) -> String {
    let label = |n: usize| if n == 0 { label } else { "" };
    lines.iter().enumerate().map(|(n, line)| row(label(n), line)).collect()
}

// Where the output is no terminal, these are taken out again on the way.
fn red(text: &str) -> String {
    format!("\x1b[1;31m{text}\x1b[0m")
}

fn green(text: &str) -> String {
    format!("\x1b[1;32m{text}\x1b[0m")
}

fn yellow(text: &str) -> String {
    format!("\x1b[1;33m{text}\x1b[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_keeps_its_end() {
        let call = format!("mount({}): EINVAL: Invalid argument", "x".repeat(300));
        for lines in 1..4 {
            let shown = shortened(&call, lines);
            assert!(
                shown.len() == lines && shown.iter().all(|line| line.len() <= WIDTH - LABEL),
                "{shown:?}"
            );
            assert!(shown[0].starts_with("mount(x") && shown.concat().ends_with("argument"), "{shown:?}");
        }
        assert_eq!(shortened("short", 1), ["short"]);
    }
}

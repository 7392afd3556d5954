//! What the learner reads: at most twelve lines of eighty columns, and one failure at a time.

use super::{
    Chapter, Outcome,
    verdict::{Finding, Stand},
};
use crate::show::columns::{fit, wrap};
use std::iter;

const WIDTH: usize = 80;
const LABEL: usize = 15;

impl Outcome {
    /// The outcome of a check of `chapter`, for a terminal; `hints` of the three were read already.
    pub fn screen(&self, chapter: &Chapter, hints: usize) -> String {
        match self {
            Outcome::Pass(stand) => stand.screen(chapter),
            Outcome::NotYet { step, does, place } => format!(
                "{} {}   not yet: step {step}, {does}\n{}{}{}",
                yellow("·"),
                chapter.name(),
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
        let mut text = format!("{} {}   {}\n", red("✗"), chapter.name(), self.says);
        if let Some((call, place)) = &self.did {
            let room = WIDTH - LABEL - place.chars().count() - 1;
            text += &row("you did", &format!("{:<room$} {place}", fit(call, room)));
        }
        text += &row("expected", &self.expected);
        text += &row("got", &self.got);
        text += &row("kernel says", &self.kernel);
        text += &rows("why", &self.why);
        text += &rows("next", &self.next);
        text + &stuck(hints, &self.man)
    }
}

fn stuck(hints: usize, man: &str) -> String {
    // As man(1) takes it: man 7 uts_namespaces.
    let page = man.strip_suffix(')').and_then(|man| man.split_once('('));
    let page = page.map_or(String::new(), |(name, section)| format!(" · man {section} {name}"));
    row("stuck?", &format!("rubber learn hint ({} of 3){page}", (hints + 1).min(3)))
}

fn row(label: &str, text: &str) -> String {
    format!("  {label:<13}{}\n", fit(text, WIDTH - LABEL))
}

/// As many lines as it takes.
fn rows(label: &str, text: &str) -> String {
    let lines = wrap(text, WIDTH - LABEL);
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

//! How far the learner is: a text file in the checkout, one line a fact, that anybody can read and mend.
//!
//! ```text
//! current 05_uts
//! 04_overlay passed 9f86d081884c7d65
//! 05_uts last uts.shared 1
//! 05_uts hints 2
//! 05_uts gave_up yes
//! ```

use super::{Chapter, Checkout, Outcome};
use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const FILE: &str = ".rubber-learn";

pub struct Progress {
    file: PathBuf,
    /// (chapter or "current", word) to the rest of the line.
    lines: BTreeMap<(String, String), String>,
}

impl Progress {
    pub fn read(checkout: &Checkout) -> Progress {
        let file = checkout.root().join(FILE);
        let text = fs::read_to_string(&file).unwrap_or_default();
        let lines = text.lines().filter_map(|line| {
            let mut words = line.splitn(3, ' ');
            let (name, word) = (words.next()?.to_owned(), words.next()?.to_owned());
            Some(((name, word), words.next().unwrap_or_default().to_owned()))
        });
        let lines = lines.collect();
        Progress { file, lines }
    }

    pub fn write(&self) -> Result<()> {
        let line = |((name, word), rest): (&(String, String), &String)| {
            format!("{name} {word} {rest}").trim_end().to_owned() + "\n"
        };
        let text: String = self.lines.iter().map(line).collect();
        fs::write(&self.file, text).with_context(|| format!("cannot write {}", self.file.display()))
    }

    fn get(&self, name: &str, word: &str) -> Option<&str> {
        self.lines.get(&(name.into(), word.into())).map(String::as_str)
    }

    fn set(&mut self, name: &str, word: &str, rest: impl ToString) {
        self.lines.insert((name.into(), word.into()), rest.to_string());
    }

    /// Where the learner is: the chapter they started; once it has passed, the next one that has not.
    pub fn current<'a>(&self, chapters: &'a [Chapter]) -> Option<&'a Chapter> {
        let started = self.lines.iter().find(|((name, _), _)| name == "current");
        let (id, state) = started.map(|((_, id), state)| (id.as_str(), state.as_str())).unwrap_or_default();
        let at = chapters.iter().position(|chapter| chapter.id == id);
        match at {
            Some(at) if state != "passed" => Some(&chapters[at]),
            _ => {
                let (before, after) = chapters.split_at(at.unwrap_or(0));
                after.iter().chain(before).find(|chapter| !self.passed(chapter)).or(chapters.last())
            }
        }
    }

    pub fn start(&mut self, chapter: &Chapter) {
        self.lines.retain(|(name, _), _| name != "current");
        self.set("current", &chapter.id, "");
    }

    pub fn passed(&self, chapter: &Chapter) -> bool {
        self.get(&chapter.id, "passed").is_some()
    }

    /// Whether the exercise is still the very file that passed: then it is built into later chapters, too.
    pub fn stands(&self, chapter: &Chapter) -> bool {
        self.get(&chapter.id, "passed").is_some_and(|passed| passed == digest(&chapter.exercise()))
    }

    pub fn gave_up(&self, chapter: &Chapter) -> bool {
        self.get(&chapter.id, "gave_up").is_some()
    }

    pub fn give_up(&mut self, chapter: &Chapter) {
        self.set(&chapter.id, "gave_up", "yes");
    }

    /// Writes down what a check found; hints begin anew with each new trouble.
    pub fn record(&mut self, chapter: &Chapter, outcome: &Outcome) {
        match outcome {
            Outcome::Pass(_) => {
                self.set(&chapter.id, "passed", digest(&chapter.exercise()));
                self.lines.retain(|(name, word), _| {
                    name != &chapter.id || !["last", "hints"].contains(&word.as_str())
                });
                // Whoever looks into another chapter again stays where they were.
                if self.lines.keys().all(|(name, id)| name != "current" || *id == chapter.id) {
                    self.set("current", &chapter.id, "passed");
                }
            }
            outcome => {
                let name = match outcome {
                    Outcome::NotYet { .. } => "not-yet",
                    Outcome::Compiler { .. } => "compiler",
                    Outcome::Wrong(finding) => &finding.diagnosis,
                    _ => return,
                };
                let last = format!("{name} {}", outcome.step().unwrap_or(1));
                // Hints may have been read before anything was checked.
                if self.get(&chapter.id, "last").unwrap_or("not-yet 1") != last {
                    self.set(&chapter.id, "hints", 0);
                }
                self.set(&chapter.id, "last", last);
            }
        }
    }

    /// The step in trouble, by the last check.
    pub fn step(&self, chapter: &Chapter) -> u8 {
        let last = self.get(&chapter.id, "last").and_then(|last| last.split(' ').next_back()?.parse().ok());
        last.unwrap_or(1)
    }

    /// How many hints were read, out of three.
    pub fn hints(&self, chapter: &Chapter) -> usize {
        self.get(&chapter.id, "hints").and_then(|hints| hints.parse().ok()).unwrap_or(0).min(3)
    }

    pub fn set_hints(&mut self, chapter: &Chapter, hints: usize) {
        self.set(&chapter.id, "hints", hints);
    }

    /// As if it had never been tried.
    pub fn forget(&mut self, chapter: &Chapter) {
        self.lines.retain(|(name, _), _| name != &chapter.id);
    }
}

fn digest(file: &Path) -> String {
    let bytes = fs::read(file).unwrap_or_default();
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

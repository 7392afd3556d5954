//! `rubber learn`: the workshop.

use crate::{
    Exit,
    learn::{self, Chapter, Checkout, Crates, Outcome, Progress},
    show::{
        columns::{print, wrap},
        json,
    },
};
use anyhow::{Context, Result, anyhow, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Build each layer yourself, and have the kernel confirm it
///
/// Without a command: shows the chapter you are at, and checks it each time you save.
/// Exit codes: 0 pass, 1 not yet, 2 usage, 3 this machine cannot tell, 4 rubber's own fault.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Learn {
    /// Go to this chapter first: 05 or uts
    chapter: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Write the exercises, with rubber's sources, into a new directory
    Init {
        dir: PathBuf,
        /// Put the crates beside them, for a room without a network
        #[arg(long)]
        vendor: bool,
    },
    /// List the chapters: minutes, and how far you are
    List,
    /// Build your layer, run it, and ask the kernel
    Check {
        /// Such as 05 or uts [default: where you are]
        chapter: Option<String>,
        /// Check every chapter
        #[arg(long, conflicts_with = "chapter")]
        all: bool,
        /// One JSON object per chapter, with all the facts
        #[arg(long)]
        json: bool,
        /// Ask the kernel about this rubber, and build none: nobody's progress
        #[arg(long, value_name = "BINARY", hide = true, conflicts_with = "all")]
        with: Option<PathBuf>,
        /// And only about its layers up to this one
        #[arg(long, value_name = "LAYER", hide = true, requires = "with")]
        stage: Option<String>,
    },
    /// Show the next of three hints for what is wrong right now
    Hint { chapter: Option<String> },
    /// Show the finished layer, after a pass
    Solution {
        chapter: Option<String>,
        /// Before a pass, too
        #[arg(long)]
        give_up: bool,
    },
    /// Go to a chapter: finished layers stand in for what you skip
    Start { chapter: String },
    /// Begin a chapter's exercise again; your file is kept as a backup
    Reset { chapter: String },
    /// Show what changes between two chapters: in the code, in the system calls, in the facts
    ///
    /// Of chapter 20 alone: where your config.json and ours differ, and what the kernel says of both containers.
    Diff { from: String, to: Option<String> },
    #[command(hide = true)]
    Probe,
}

impl Learn {
    pub fn main(self) -> Result<u8> {
        if let Some(Command::Probe) = self.command {
            return learn::probe();
        }
        // Whatever is not said to be something else is not the learner's doing.
        self.command().map_err(|error| match error.is::<Exit>() {
            true => error,
            false => anyhow!(Exit(4, format!("{error:#}"))),
        })
    }

    fn command(self) -> Result<u8> {
        if let Some(Command::Init { dir, vendor }) = &self.command {
            return init(dir, if *vendor { Crates::Vendored } else { Crates::Fetched });
        }
        let checkout = Checkout::find()?;
        match self.command {
            None => {
                if let Some(word) = &self.chapter {
                    let found = Chapter::find(&checkout, word);
                    go_to(
                        &checkout,
                        &found.context("neither a command (rubber learn --help) nor a chapter")?,
                    )?;
                }
                learn::watch(&checkout)
            }
            Some(Command::List) => list(&checkout),
            Some(Command::Check { all: true, json, .. }) => check_all(&checkout, json),
            Some(Command::Check { chapter, json, with: Some(binary), stage, .. }) => {
                let chapter = named(&checkout, chapter)?;
                let (outcome, facts) = learn::check_with(&checkout, &chapter, binary, stage)?;
                show(&chapter, &outcome, &facts, 0, json)
            }
            Some(Command::Check { chapter, json, .. }) => {
                let asked = named(&checkout, chapter)?;
                let code = check(&checkout, &asked, json)?;
                // What the screen says next (`rubber learn hint`) is about this chapter.
                if code == 1 {
                    go_to(&checkout, &asked)?;
                }
                Ok(code)
            }
            Some(Command::Hint { chapter }) => hint(&checkout, &named(&checkout, chapter)?),
            Some(Command::Solution { chapter, give_up }) => {
                solution(&checkout, &named(&checkout, chapter)?, give_up)
            }
            Some(Command::Start { chapter }) => start(&checkout, &Chapter::find(&checkout, &chapter)?),
            Some(Command::Reset { chapter }) => reset(&checkout, &Chapter::find(&checkout, &chapter)?),
            Some(Command::Diff { from, to }) => {
                let to = to.map(|word| Chapter::find(&checkout, &word)).transpose()?;
                diff(&checkout, &Chapter::find(&checkout, &from)?, to.as_ref())
            }
            Some(Command::Init { .. } | Command::Probe) => Ok(0),
        }
    }
}

fn init(dir: &Path, crates: Crates) -> Result<u8> {
    print(&learn::init(dir, crates)?)?;
    Ok(0)
}

/// The chapter that was named, else where the learner is.
fn named(checkout: &Checkout, word: Option<String>) -> Result<Chapter> {
    if let Some(word) = word {
        return Chapter::find(checkout, &word);
    }
    let chapters = Chapter::all(checkout)?;
    let current = Progress::read(checkout).current(&chapters).map(|chapter| chapter.id.clone());
    let current = current.context("there are no chapters in workshop/")?;
    Chapter::find(checkout, &current)
}

fn list(checkout: &Checkout) -> Result<u8> {
    let progress = Progress::read(checkout);
    let chapters = Chapter::all(checkout)?;
    let current = progress.current(&chapters).map(|chapter| chapter.id.clone());
    let (mut text, mut reasons) = (String::new(), Vec::<(String, Vec<String>)>::new());
    for chapter in &chapters {
        let state = match learn::why_not_here(chapter) {
            _ if progress.passed(chapter) => "done",
            Some(why) => {
                let name = chapter.name();
                match reasons.iter_mut().find(|(reason, _)| *reason == why) {
                    Some((_, names)) => names.push(name),
                    None => reasons.push((why, vec![name])),
                }
                "not here: see below"
            }
            None if progress.gave_up(chapter) => "not yet (solution seen)",
            None => "not yet",
        };
        let mark = if current.as_ref() == Some(&chapter.id) { ">" } else { " " };
        let minutes = chapter.minutes.talk + chapter.minutes.work;
        text += &format!("{mark} {:<14} {minutes:>3} min  {:<30} {state}\n", chapter.name(), chapter.title);
    }
    text += "\n";
    for (why, names) in reasons {
        let told = wrap(&format!("{}: {why}", names.join(", ")), 76);
        text += &format!("  {}\n", told.join("\n  "));
    }
    let attacks = |chapter: &Chapter| chapter.attack.len();
    let stopped: usize = chapters.iter().filter(|chapter| progress.passed(chapter)).map(attacks).sum();
    text += &format!("  attacks stopped: {stopped} of {}\n", chapters.iter().map(attacks).sum::<usize>());
    print(&text)?;
    Ok(0)
}

fn check(checkout: &Checkout, chapter: &Chapter, json: bool) -> Result<u8> {
    let mut progress = Progress::read(checkout);
    let (outcome, facts) = learn::check(checkout, chapter, &progress)?;
    progress.record(chapter, &outcome);
    progress.write()?;
    show(chapter, &outcome, &facts, progress.hints(chapter), json)
}

fn show(chapter: &Chapter, outcome: &Outcome, facts: &Value, hints: usize, json: bool) -> Result<u8> {
    let screen = outcome.screen(chapter, hints);
    print(&match json {
        true => {
            let screen = anstream::adapter::strip_str(&screen).to_string();
            let all = json!({"chapter": chapter.id, "result": outcome, "screen": screen, "facts": facts});
            json::line(&all)? + "\n"
        }
        false => screen,
    })?;
    if !json && matches!(outcome, Outcome::Pass(_)) {
        print(&chapter.untried(facts).unwrap_or_default())?;
        print(&chapter.whats_next())?;
    }
    Ok(outcome.code())
}

/// The worst of the answers is the exit code; what this machine cannot tell is worse than a pass.
fn check_all(checkout: &Checkout, json: bool) -> Result<u8> {
    let codes = Chapter::all(checkout)?
        .iter()
        .map(|chapter| check(checkout, chapter, json))
        .collect::<Result<Vec<_>>>()?;
    Ok([1, 3].into_iter().find(|code| codes.contains(code)).unwrap_or(0))
}

fn hint(checkout: &Checkout, chapter: &Chapter) -> Result<u8> {
    let mut progress = Progress::read(checkout);
    let (step, level) = (progress.step(chapter), progress.hints(chapter).min(2));
    let step = chapter.step(step).context("the chapter has no such step")?;
    let mut text =
        format!("{}   step {}: {}\n\nhint {} of 3\n", chapter.name(), step.id, step.does, level + 1);
    for line in step.hints[level].lines().flat_map(|line| match line.starts_with(' ') {
        true => vec![line.to_owned()],
        false => wrap(line, 76),
    }) {
        text += &format!("  {line}\n");
    }
    if level == 2 {
        text += &format!(
            "\nThat was the last one. Ours: rubber learn solution {:02} --give-up\n",
            chapter.number()
        );
    }
    print(&text)?;
    progress.set_hints(chapter, level + 1);
    progress.write()?;
    Ok(0)
}

fn solution(checkout: &Checkout, chapter: &Chapter, give_up: bool) -> Result<u8> {
    let mut progress = Progress::read(checkout);
    let file = checkout.solution(chapter);
    if !progress.passed(chapter) {
        if !give_up && !progress.gave_up(chapter) {
            bail!(Exit(
                1,
                format!("{} is not passed yet: rubber learn hint, or solution --give-up", chapter.name())
            ));
        }
        progress.give_up(chapter);
        progress.write()?;
    }
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    print(&if chapter.bundle { learn::with_own_ids(&text) } else { text })?;
    Ok(0)
}

fn diff(checkout: &Checkout, from: &Chapter, to: Option<&Chapter>) -> Result<u8> {
    print(&match to {
        Some(to) => learn::diff(checkout, from, to)?,
        None if from.bundle => learn::diff_bundle(checkout, from, &Progress::read(checkout))?,
        None => bail!(Exit(2, format!("{}, and which other chapter? rubber learn diff 04 05", from.name()))),
    })?;
    Ok(0)
}

fn start(checkout: &Checkout, chapter: &Chapter) -> Result<u8> {
    go_to(checkout, chapter)?;
    learn::tell_editor(checkout)?;
    let asked = chapter.predict.iter().flat_map(|predict| wrap(&predict.ask, 65));
    let asked = asked.zip(["predict"].into_iter().chain(std::iter::repeat("")));
    print(&format!(
        "{}   {}\n  read         {}\n  write        {}\n{}  then         rubber learn\n",
        chapter.name(),
        chapter.title,
        checkout.short(&chapter.dir.join("README.md")),
        checkout.short(&chapter.exercise()),
        asked.map(|(line, label)| format!("  {label:<13}{line}\n")).collect::<String>(),
    ))?;
    Ok(0)
}

fn go_to(checkout: &Checkout, chapter: &Chapter) -> Result<()> {
    let mut progress = Progress::read(checkout);
    progress.start(chapter);
    progress.write()
}

/// The exercise as it came.
fn reset(checkout: &Checkout, chapter: &Chapter) -> Result<u8> {
    let original = learn::original(checkout, chapter)?;
    let file = checkout.short(&chapter.exercise());
    let yours = fs::read(chapter.exercise()).ok().filter(|yours| *yours != original);
    let kept = yours.map(|_| backup(&chapter.exercise())).transpose()?;
    fs::write(chapter.exercise(), original).with_context(|| format!("cannot write {file}"))?;
    let mut progress = Progress::read(checkout);
    progress.forget(chapter);
    progress.write()?;
    let kept = kept.map_or(String::new(), |kept| format!("; yours is {}", checkout.short(&kept)));
    print(&format!("{file} is as it came{kept}\n"))?;
    Ok(0)
}

/// Copies the file beside itself, to the first free of `exercise.rs.1`, `.2` and so on.
fn backup(file: &Path) -> Result<PathBuf> {
    let numbered = |number: u32| PathBuf::from(format!("{}.{number}", file.display()));
    let free = (1..).map(numbered).find(|path| !path.exists()).context("no free name for a backup")?;
    fs::copy(file, &free).with_context(|| format!("cannot write {}", free.display()))?;
    Ok(free)
}

//! A chapter of the workshop, as its directory describes it.

use super::Checkout;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chapter {
    /// The name of its directory, such as `05_uts`.
    #[serde(skip)]
    pub id: String,
    #[serde(skip)]
    pub dir: PathBuf,
    pub title: String,
    pub minutes: Minutes,
    pub teaches: Vec<String>,
    /// What is written is no layer but a bundle's config.json: see `bundle`.
    #[serde(default)]
    pub bundle: bool,
    /// For `rubber run`, with `{run.id}` and the like filled in.
    #[serde(default)]
    pub flags: Vec<String>,
    /// More of them, for this chapter alone: `flags` stay on in those after it.
    #[serde(default)]
    pub flags_here: Vec<String>,
    pub step: Vec<Step>,
    pub check: Vec<Check>,
    #[serde(default)]
    pub cannot: Vec<Cannot>,
    pub diagnosis: Vec<Diagnosis>,
    pub attack: Vec<Attack>,
    pub predict: Vec<Predict>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Minutes {
    pub talk: u32,
    #[serde(rename = "do")]
    pub work: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub id: u8,
    pub does: String,
    /// Where to look, which call and flag, the shape of the code.
    pub hints: [String; 3],
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    pub id: String,
    /// The step that makes it hold.
    pub step: u8,
    /// The cgroup version it is about, where it is about one: `v1` or `v2`. Or `root`, where the kernel keeps
    /// an ordinary user from going wrong.
    #[serde(default)]
    pub only: Option<String>,
    /// All of these must hold: see `expect`.
    pub expect: Vec<String>,
    /// It is true at this stage, and need not be at a later one.
    #[serde(default)]
    pub only_here: bool,
}

/// What a machine may lack, so that it cannot tell right from wrong.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cannot {
    /// The check it cannot make; all of them where none is named.
    #[serde(default)]
    pub check: Option<String>,
    pub when: Vec<String>,
    pub why: String,
}

/// A way to be wrong that has a name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diagnosis {
    pub id: String,
    /// The step whose hints help.
    pub step: u8,
    /// The cgroup version on which one can be wrong in this way, where the other knows no such thing; or
    /// `root`, as only root can be.
    #[serde(default)]
    pub only: Option<String>,
    /// It is this one when all of these hold, and none above it in the file does.
    pub when: Vec<String>,
    pub says: String,
    /// The call to show, with the line of the exercise it is in; behind a space, what is in that call.
    #[serde(default)]
    pub did: Option<String>,
    pub expected: String,
    pub got: String,
    pub kernel: String,
    pub why: String,
    pub next: String,
    pub man: String,
    /// Wrong versions of the exercise in `mistakes/` that must get exactly this: the tests' business.
    #[serde(rename = "mistakes")]
    _mistakes: Vec<String>,
    /// Those that come to this where the kernel stops an ordinary user from making them.
    #[serde(rename = "as_user", default)]
    _as_user: Vec<String>,
}

/// What works before this chapter, and must fail from here on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// Its name in `attack.rs`.
    pub id: String,
    /// The step that stops it.
    pub step: u8,
    pub says: String,
    /// It has worked when all of these hold.
    pub worked: Vec<String>,
    pub got: String,
    pub kernel: String,
    pub why: String,
    pub next: String,
    pub man: String,
    /// Why an ordinary user cannot be shown that it works before.
    pub root_only: Option<String>,
    /// It is stopped by what this chapter alone asks for, its `flags_here`.
    #[serde(default)]
    pub only_here: bool,
}

/// To be answered before anything is built.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predict {
    pub ask: String,
    pub answer: String,
}

impl Chapter {
    /// All chapters of the checkout, in their order.
    pub fn all(checkout: &Checkout) -> Result<Vec<Chapter>> {
        let workshop = checkout.workshop();
        let entries = std::fs::read_dir(&workshop).with_context(|| format!("cannot list {workshop:?}"))?;
        let mut dirs: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        dirs.retain(|dir| dir.join("chapter.toml").is_file());
        dirs.sort();
        dirs.iter().map(|dir| Chapter::read(dir)).collect()
    }

    /// The chapter called `word`: `05`, `5`, `uts` or `05_uts`.
    pub fn find(checkout: &Checkout, word: &str) -> Result<Chapter> {
        let all = Chapter::all(checkout)?;
        let names: Vec<_> = all.iter().map(|chapter| chapter.id.clone()).collect();
        let number = word.parse::<u8>().ok();
        let known = |chapter: &Chapter| {
            chapter.id == word || chapter.layer() == word || number == Some(chapter.number())
        };
        match all.into_iter().find(known) {
            Some(chapter) => Ok(chapter),
            None => {
                bail!(crate::Exit(2, format!("no chapter {word:?}: there are {}", names.join(", "))))
            }
        }
    }

    fn read(dir: &Path) -> Result<Chapter> {
        let file = dir.join("chapter.toml");
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file:?}"))?;
        let chapter: Chapter = toml::from_str(&text).with_context(|| format!("{}", file.display()))?;
        let id = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Chapter { id, dir: dir.into(), ..chapter })
    }

    pub fn number(&self) -> u8 {
        self.id.split('_').next().and_then(|number| number.parse().ok()).unwrap_or(u8::MAX)
    }

    /// The layer it builds, which is also the name of its feature.
    pub fn layer(&self) -> &str {
        self.id.split_once('_').map_or(&self.id, |(_, layer)| layer)
    }

    pub fn exercise(&self) -> PathBuf {
        self.dir.join(if self.bundle { "config.json" } else { "exercise.rs" })
    }

    /// As the learner sees it named: `05 uts`.
    pub fn name(&self) -> String {
        format!("{:02} {}", self.number(), self.layer())
    }

    /// What there is to do after a pass.
    pub fn whats_next(&self) -> String {
        format!(
            "  next         rubber learn: the next chapter; rubber learn solution {:02}: ours\n",
            self.number()
        )
    }

    /// The attacks of which this user can be shown that they work without the layer.
    pub fn shown_here(&self) -> impl Iterator<Item = &Attack> {
        let is_root = nix::unistd::geteuid().is_root();
        self.attack.iter().filter(move |attack| is_root || attack.root_only.is_none())
    }

    /// What it asks of a container of its own, and what stays on in later chapters.
    pub fn all_flags(&self) -> impl Iterator<Item = &String> {
        self.flags.iter().chain(&self.flags_here)
    }

    /// The attacks that must fail in later chapters, too.
    pub fn lasting(&self) -> impl Iterator<Item = &Attack> {
        self.attack.iter().filter(|attack| !attack.only_here)
    }

    /// What of the chapter this machine did not try: it has one version of cgroups.
    pub fn untried(&self, facts: &Value) -> Option<String> {
        let (here, other) = if facts["run"]["cgroup"] == "v2" { (2, 1) } else { (1, 2) };
        let is_versions = |only: &String| only.starts_with('v');
        let has_both =
            self.diagnosis.iter().any(|diagnosis| diagnosis.only.as_ref().is_some_and(is_versions));
        has_both.then(|| {
            format!(
                "  tried        version {here} of cgroups; what you wrote for {other} was only compiled\n"
            )
        })
    }

    pub fn step(&self, id: u8) -> Option<&Step> {
        self.step.iter().find(|step| step.id == id)
    }
}

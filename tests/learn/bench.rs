//! A workbench: a copy of the sources in which exercises are swapped and checked, and built once for all.

use crate::lab;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Mutex, MutexGuard},
    thread::sleep,
    time::{Duration, Instant},
};

pub struct Chapter {
    pub id: String,
    pub layer: String,
    pub dir: PathBuf,
    /// As it is in the sources, whoever has been editing in the checkout.
    pub exercise: String,
    toml: toml::Table,
}

pub fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn chapters() -> Vec<Chapter> {
    let entries = fs::read_dir(sources().join("workshop")).unwrap().flatten();
    let mut dirs: Vec<_> = entries.map(|entry| entry.path()).collect();
    dirs.retain(|dir| dir.join("chapter.toml").is_file());
    dirs.sort();
    dirs.into_iter().map(chapter).collect()
}

fn chapter(dir: PathBuf) -> Chapter {
    let id = dir.file_name().unwrap().to_str().unwrap().to_owned();
    let toml = fs::read_to_string(dir.join("chapter.toml")).unwrap().parse().unwrap();
    let layer = id.split_once('_').unwrap().1.to_owned();
    let exercise = committed(&format!("workshop/{id}/exercise.rs"));
    let exercise = exercise.unwrap_or_else(|| fs::read_to_string(dir.join("exercise.rs")).unwrap());
    Chapter { layer, exercise, toml, id, dir }
}

/// What git has under this name: a learner's unfinished exercise is none of the tests' business.
fn committed(file: &str) -> Option<String> {
    let shown =
        Command::new("git").current_dir(sources()).args(["show", &format!("HEAD:./{file}")]).output().ok()?;
    shown.status.success().then(|| lab::text(&shown.stdout))
}

/// Each diagnosis and the files of its mistakes.
pub fn diagnoses(chapter: &Chapter) -> Vec<(String, Vec<String>)> {
    let all = chapter.toml["diagnosis"].as_array().unwrap().iter();
    let names = |entry: &toml::Value| {
        let files = entry["mistakes"].as_array().unwrap().iter();
        files.map(|file| file.as_str().unwrap().to_owned()).collect()
    };
    all.map(|entry| (entry["id"].as_str().unwrap().to_owned(), names(entry))).collect()
}

impl Chapter {
    pub fn steps(&self) -> Vec<i64> {
        self.toml["step"].as_array().unwrap().iter().map(|step| step["id"].as_integer().unwrap()).collect()
    }
}

/// The finished layer.
pub fn shipped(chapter: &Chapter) -> String {
    fs::read_to_string(sources().join("src/layers").join(&chapter.layer).with_extension("rs")).unwrap()
}

pub struct Bench {
    pub root: PathBuf,
    _only_one: MutexGuard<'static, ()>,
}

impl Bench {
    /// None where nothing can be built or isolated, which is told as a skip.
    pub fn lock() -> Option<Bench> {
        static ONLY_ONE: Mutex<()> = Mutex::new(());
        let only_one = ONLY_ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let cargo =
            Command::new("cargo").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !cargo.is_ok_and(|ended| ended.success()) {
            lab::skip_this("there is no cargo to build an exercise with");
            return None;
        }
        let root = lab::scratch().join("learn");
        copy_sources(&root);
        let bench = Bench { root, _only_one: only_one };
        bench.finish_all();
        Some(bench)
    }

    pub fn chapters(&self) -> Vec<Chapter> {
        chapters()
    }

    /// Every layer is the learner's own and passed: so one set of features is built throughout.
    fn finish_all(&self) {
        let mut progress = String::new();
        for chapter in chapters() {
            let shipped = self.shipped(&chapter);
            self.solve(&chapter, &shipped);
            let digest: String =
                Sha256::digest(&shipped).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            progress += &format!("{} passed {digest}\n", chapter.id);
        }
        fs::write(self.root.join(".rubber-learn"), progress).unwrap();
    }

    pub fn exercise(&self, chapter: &Chapter) -> PathBuf {
        self.root.join("workshop").join(&chapter.id).join("exercise.rs")
    }

    /// Writes the exercise, if it says something else than before.
    pub fn solve(&self, chapter: &Chapter, text: &str) {
        let file = self.exercise(chapter);
        if fs::read_to_string(&file).ok().as_deref() != Some(text) {
            fs::write(file, text).unwrap();
        }
    }

    pub fn shipped(&self, chapter: &Chapter) -> String {
        shipped(chapter)
    }

    pub fn mistakes(&self, chapter: &Chapter) -> Vec<(String, String)> {
        let pairs =
            |(id, files): (String, Vec<String>)| files.into_iter().map(move |file| (file, id.clone()));
        diagnoses(chapter).into_iter().flat_map(pairs).collect()
    }

    /// The shipped layer, with the functions of a mistake in the place of its own.
    pub fn spliced(&self, chapter: &Chapter, mistake: &str) -> String {
        let wrong = fs::read_to_string(chapter.dir.join("mistakes").join(mistake)).unwrap();
        splice(&self.shipped(chapter), &wrong)
    }

    /// `rubber learn` and `words`, in the copy.
    pub fn learn(&self, words: &[&str]) -> Output {
        let mut command = Command::new(lab::RUBBER);
        command.arg("learn").args(words).current_dir(&self.root).stdin(Stdio::null());
        command.output().unwrap()
    }

    /// What a check found, as JSON.
    pub fn check(&self, chapter: &Chapter) -> Value {
        let output = self.learn(&["check", &chapter.id, "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

/// What an arena could leave on the host. Containers of other tests may come and go meanwhile.
pub fn ledger() -> lab::Ledger {
    let mut ledger = lab::ledger();
    ledger.cgroups.retain(|group| group.to_string_lossy().contains("rubber-arena-"));
    ledger.containers.clear();
    ledger.processes = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            let read = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
            let comm = read("comm");
            let named = ["arena", "warden", "scout", "bomb"]
                .iter()
                .any(|name| comm.trim() == format!("rubber:{name}"));
            named || read("cgroup").contains("/rubber-arena-")
        })
        .map(|entry| entry.path().display().to_string())
        .collect();
    ledger
}

/// The ledger must come to balance: what was killed is gone a moment later.
pub fn assert_balanced(before: &lab::Ledger) {
    let begin = Instant::now();
    while ledger() != *before {
        assert!(begin.elapsed().as_secs() < 5, "before {before:#?}\nafter {:#?}", ledger());
        sleep(Duration::from_millis(20));
    }
}

/// Replaces each function of `text` that `wrong` has, too.
pub fn splice(text: &str, wrong: &str) -> String {
    let mut spliced = text.to_owned();
    for function in functions(wrong) {
        let old = functions(text).into_iter().find(|old| name(old) == name(function));
        let old = old.unwrap_or_else(|| panic!("no function like {function}"));
        spliced = spliced.replacen(old, function, 1);
    }
    spliced
}

/// The functions at the left margin, each from its `fn` to the brace that ends it.
pub fn functions(text: &str) -> Vec<&str> {
    let starts = text.match_indices("fn ").map(|(at, _)| text[..at].rfind('\n').map_or(0, |line| line + 1));
    let is_function = |at: &usize| ["fn ", "pub fn "].iter().any(|word| text[*at..].starts_with(word));
    let end = |at: usize| at + text[at..].find("\n}\n").map_or(text[at..].len(), |end| end + 3);
    starts.filter(is_function).map(|at| &text[at..end(at)]).collect()
}

pub fn name(function: &str) -> &str {
    let start = function.find("fn ").map_or(0, |at| at + 3);
    function[start..].split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
}

/// With their dates, so that cargo builds only what has changed since the last time.
fn copy_sources(root: &Path) {
    fs::create_dir_all(root).unwrap();
    for name in ["src", "workshop", "images", ".cargo", "Cargo.toml", "Cargo.lock"] {
        let (from, to) = (sources().join(name), root.join(name));
        let _ = fs::remove_dir_all(&to);
        let copied = Command::new("cp").arg("-a").arg(from).arg(&to).status().unwrap();
        assert!(copied.success(), "{name}");
    }
}

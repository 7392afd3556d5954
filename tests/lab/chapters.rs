//! The workshop's chapters as the tests see them: their wrong versions, and what an arena could leave behind.
#![allow(dead_code)]

#[path = "../../src/learn/pristine.rs"]
mod pristine;

use crate::lab;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
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

pub fn chapters() -> &'static [Chapter] {
    static ALL: OnceLock<Vec<Chapter>> = OnceLock::new();
    ALL.get_or_init(|| {
        let entries = fs::read_dir(sources().join("workshop")).unwrap().flatten();
        let mut dirs: Vec<_> = entries.map(|entry| entry.path()).collect();
        // A chapter without a layer has no versions of one: its wrong turns are in tests/workshop/bundles.
        dirs.retain(|dir| dir.join("chapter.toml").is_file() && !dir.join("config.json").is_file());
        dirs.sort();
        dirs.into_iter().map(chapter).collect()
    })
}

/// The chapter of this layer.
pub fn of(layer: &str) -> &'static Chapter {
    chapters().iter().find(|chapter| chapter.layer == layer).unwrap()
}

fn chapter(dir: PathBuf) -> Chapter {
    let id = dir.file_name().unwrap().to_str().unwrap().to_owned();
    let toml = fs::read_to_string(dir.join("chapter.toml")).unwrap().parse().unwrap();
    let layer = id.split_once('_').unwrap().1.to_owned();
    // A learner's unfinished exercise is none of the tests' business.
    let exercise = pristine::exercise(sources(), &format!("workshop/{id}/exercise.rs"));
    let exercise = lab::text(&exercise.unwrap_or_else(|| fs::read(dir.join("exercise.rs")).unwrap()));
    Chapter { layer, exercise, toml, id, dir }
}

/// Each diagnosis and the files of its mistakes: those in the list `mistakes`, or `as_user`, where the kernel
/// stops an ordinary user, so that the same mistake comes to something else.
pub fn diagnoses(chapter: &Chapter, list: &str) -> Vec<(String, Vec<String>)> {
    let all = chapter.toml["diagnosis"].as_array().unwrap().iter();
    let names = |entry: &toml::Value| {
        let files = entry.get(list).and_then(|files| files.as_array()).into_iter().flatten();
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

/// The diagnoses of what cannot go wrong with the cgroup version there is, or for who runs the tests.
fn only_elsewhere(chapter: &Chapter) -> Vec<&str> {
    let version = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "v2" } else { "v1" };
    let here = [version, if lab::is_root() { "root" } else { "user" }];
    let all = chapter.toml["diagnosis"].as_array().unwrap().iter();
    let elsewhere =
        all.filter(|entry| entry.get("only").is_some_and(|only| !here.contains(&only.as_str().unwrap())));
    elsewhere.map(|entry| entry["id"].as_str().unwrap()).collect()
}

/// Each mistake's file and the diagnosis it must get from who runs the tests.
pub fn mistakes(chapter: &Chapter) -> Vec<(String, String)> {
    let pairs = |(id, files): (String, Vec<String>)| files.into_iter().map(move |file| (file, id.clone()));
    let (elsewhere, here): (Vec<_>, Vec<_>) = diagnoses(chapter, "mistakes")
        .into_iter()
        .flat_map(pairs)
        .partition(|(_, id)| only_elsewhere(chapter).contains(&id.as_str()));
    for (mistake, id) in elsewhere {
        lab::note(&format!(
            "skipped: {} {mistake}: {id} is of another cgroup version, or root's",
            chapter.id
        ));
    }
    let mut all: BTreeMap<_, _> = here.into_iter().collect();
    if !lab::is_root() {
        all.extend(diagnoses(chapter, "as_user").into_iter().flat_map(pairs));
    }
    all.into_iter().collect()
}

/// What an arena could leave on the host, where containers of other tests may come and go meanwhile, and
/// other arenas, too: those whose check is still running are not ours.
pub fn ledger() -> lab::Ledger {
    let mut ledger = lab::ledger();
    let arena_of =
        |group: &Path| Some(group.file_name()?.to_str()?.strip_prefix("rubber-arena-")?.to_owned());
    ledger.cgroups.retain(|group| arena_of(group).is_some_and(|check| !is_running_check(&check)));
    ledger.containers.clear();
    let pids = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    ledger.processes = pids.filter(|pid| is_arenas(pid)).map(|pid| pid.display().to_string()).collect();
    ledger
}

fn is_arenas(process: &Path) -> bool {
    let read = |name: &str| fs::read_to_string(process.join(name)).unwrap_or_default();
    let names = ["arena", "warden", "scout", "bomb"].map(|name| format!("rubber:{name}\n"));
    let is_one = names.contains(&read("comm")) || read("cgroup").contains("/rubber-arena-");
    let mut pid = process.file_name().unwrap().to_str().unwrap().to_owned();
    while is_one && pid != "0" {
        if is_running_check(&pid) {
            return false;
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"));
        pid = parent.unwrap_or("0").to_owned();
    }
    is_one
}

/// The one that waits outside. (Ours have all ended when the ledger is looked at.)
fn is_running_check(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "rubber\n")
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
pub fn copy_sources(root: &Path, names: &[&str]) {
    fs::create_dir_all(root).unwrap();
    for name in names {
        let (from, to) = (sources().join(name), root.join(name));
        let _ = fs::remove_dir_all(&to);
        let copied = Command::new("cp").arg("-a").arg(from).arg(&to).status().unwrap();
        assert!(copied.success(), "{name}");
    }
}

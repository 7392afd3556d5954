//! A workbench: a copy of the sources in which exercises are swapped and checked, and built once for all.

pub use crate::chapters::*;
use crate::lab;
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{Mutex, MutexGuard, Once},
};

pub struct Bench {
    pub root: PathBuf,
    _only_one: MutexGuard<'static, ()>,
}

impl Bench {
    /// None where nothing can be built, which is told as a skip.
    pub fn lock() -> Option<Bench> {
        if !lab::has_cargo() {
            lab::skip_this("there is no cargo to build an exercise with");
            return None;
        }
        Some(Bench::lock_without_cargo())
    }

    pub fn lock_without_cargo() -> Bench {
        static ONLY_ONE: Mutex<()> = Mutex::new(());
        static COPY: Once = Once::new();
        let only_one = ONLY_ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let root = lab::scratch().join("learn");
        COPY.call_once(|| {
            copy_sources(&root, &["src", "workshop", "images", ".cargo", "Cargo.toml", "Cargo.lock"])
        });
        let bench = Bench { root, _only_one: only_one };
        bench.finish_all();
        bench
    }

    /// Every layer is the learner's own and passed: so one set of features is built throughout.
    fn finish_all(&self) {
        let mut progress = String::new();
        for chapter in chapters() {
            let shipped = shipped(chapter);
            self.solve(chapter, &shipped);
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

    /// The shipped layer, with the functions of a mistake in the place of its own.
    pub fn spliced(&self, chapter: &Chapter, mistake: &str) -> String {
        let wrong = fs::read_to_string(chapter.dir.join("mistakes").join(mistake)).unwrap();
        splice(&shipped(chapter), &wrong)
    }

    /// `rubber learn` and `words`, in the copy.
    pub fn learn(&self, words: &[&str]) -> Output {
        let mut command = Command::new(lab::RUBBER);
        command.arg("learn").args(words).current_dir(&self.root).stdin(Stdio::null());
        command.output().unwrap()
    }
}

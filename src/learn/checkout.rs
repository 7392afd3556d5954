//! The checkout the exercises are in, and the layers' shipped files, which are the solutions.

use super::Chapter;
use crate::Exit;
use anyhow::{Result, bail};
use std::{
    env,
    path::{Path, PathBuf},
};

pub struct Checkout {
    root: PathBuf,
}

impl Checkout {
    pub fn at(root: &Path) -> Checkout {
        Checkout { root: root.into() }
    }

    /// The one we stand in, else the one this binary was built in.
    pub fn find() -> Result<Checkout> {
        let places = [env::current_dir().ok(), env::current_exe().ok()];
        let above = places.iter().flatten().flat_map(|place| place.ancestors());
        match above.into_iter().find(|dir| is_checkout(dir)) {
            Some(root) => Ok(Checkout::at(root)),
            None => bail!(Exit(
                2,
                "the exercises are in rubber's sources: cd into a checkout of them, \
                 or have one written: rubber learn init DIR"
                    .into()
            )),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn workshop(&self) -> PathBuf {
        self.root.join("workshop")
    }

    /// The finished layer of a chapter.
    pub fn solution(&self, chapter: &Chapter) -> PathBuf {
        if chapter.bundle {
            let user = if nix::unistd::geteuid().is_root() { "" } else { "-user" };
            return chapter.dir.join(format!("solution{user}.json"));
        }
        self.root.join("src/layers").join(chapter.layer()).with_extension("rs")
    }

    /// A path in it as the learner would type it.
    pub fn short(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}

fn is_checkout(dir: &Path) -> bool {
    dir.join("Cargo.toml").is_file() && dir.join("workshop").is_dir() && dir.join("src/layers").is_dir()
}

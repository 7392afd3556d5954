//! The record of a container: what of it could outlive it, written down before
//! it is made.
//!
//! A record is locked by the processes that run the container, and the kernel
//! drops the lock when the last of them ends, however it ends. So a record that
//! can be locked has no living owner, and what it names may go.

use super::removal::remove_tree;
use crate::{config::Config, image::store::Store, layers::cgroup, sys};
use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    id: String,
    /// Groups in the cgroup trees; they may hold processes.
    cgroups: Vec<PathBuf>,
}

/// A record of ours. Keep it for as long as the container runs.
pub struct Claim {
    file: PathBuf,
    dir: PathBuf,
    _lock: Flock<File>,
}

/// Sweeps away what others left, and makes the directory and the record of a
/// new container.
pub fn claim(config: &Config, store: &Store) -> Result<Claim> {
    let _only_one = lock(store)?;
    for leftover in dead(store)? {
        leftover.remove()?;
    }
    let file = config.dir.with_extension("json");
    let mut open = OpenOptions::new();
    let mut handle =
        open.write(true).create_new(true).mode(0o600).open(&file).with_context(|| display(&file))?;
    let cgroups = config.cgroup.groups.iter().map(|group| group.dir.clone()).collect();
    let record = Record { version: 1, id: config.id.clone(), cgroups };
    handle.write_all(&serde_json::to_vec(&record)?).with_context(|| display(&file))?;
    let lock = Flock::lock(handle, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    sys::mkdir(&config.dir, 0o700)?;
    Ok(Claim { file, dir: config.dir.clone(), _lock: lock })
}

impl Claim {
    /// When all that the record names is gone, so can the record be.
    pub fn release(self) -> Result<()> {
        sys::remove_tree(&self.dir)?;
        fs::remove_file(&self.file).with_context(|| display(&self.file))
    }
}

/// What is left of a container whose processes are gone.
pub struct Leftover {
    file: PathBuf,
    lock: Flock<File>,
}

/// Removes all that dead containers left, and returns their ids.
pub fn sweep(store: &Store) -> Result<Vec<String>> {
    let _only_one = lock(store)?;
    dead(store)?.into_iter().map(Leftover::remove).collect()
}

fn dead(store: &Store) -> Result<Vec<Leftover>> {
    let mut dead = Vec::new();
    for entry in fs::read_dir(store.containers())? {
        let file = entry?.path();
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let Ok(handle) = File::open(&file) else { continue };
        if let Ok(lock) = Flock::lock(handle, FlockArg::LockExclusiveNonblock) {
            dead.push(Leftover { file, lock });
        }
    }
    Ok(dead)
}

impl Leftover {
    fn remove(mut self) -> Result<String> {
        let about = || format!("cannot remove what a dead container left ({})", self.file.display());
        let mut text = String::new();
        self.lock.read_to_string(&mut text).with_context(about)?;
        let record: Record = serde_json::from_str(&text)
            .context("its record is damaged; remove it and the directory beside it by hand")
            .with_context(about)?;
        for group in record.cgroups.iter().rev() {
            cgroup::remove_group(group).with_context(about)?;
        }
        remove_tree(&self.file.with_extension(""))?;
        fs::remove_file(&self.file).with_context(about)?;
        Ok(record.id)
    }
}

/// Whoever holds this sees no record half made.
fn lock(store: &Store) -> Result<Flock<File>> {
    let containers = store.containers();
    let directory = match File::open(&containers) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let _ = fs::create_dir(&containers);
            File::open(&containers)
        }
        opened => opened,
    };
    let directory = directory.with_context(|| display(&containers))?;
    Flock::lock(directory, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .with_context(|| format!("cannot lock {}", containers.display()))
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

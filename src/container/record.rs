//! The record of a container: what of it could outlive it, written down before
//! it is made.
//!
//! A record is locked by the processes that run the container, and the kernel
//! drops the lock when the last of them ends, however it ends. So a record that
//! can be locked has no living owner, and what it names may go.

use crate::{config::Config, image::store::Store, layers::cgroup, removal::remove_tree, sys};
use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsStr,
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
        // Worth a line, but no reason for this container not to run.
        let _ = leftover.remove().map_err(crate::report);
    }
    let file = config.dir.with_extension("json");
    let mut open = OpenOptions::new();
    let handle = open.write(true).create_new(true).mode(0o600).open(&file).with_context(|| display(&file))?;
    let lock = Flock::lock(handle, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    match write_down(config, &lock) {
        Ok(()) => Ok(Claim { file, dir: config.dir.clone(), _lock: lock }),
        Err(error) => {
            let _ = fs::remove_file(&file);
            Err(error)
        }
    }
}

/// The record is whole before anything it names is made: one that is cut short names nothing.
fn write_down(config: &Config, mut file: &File) -> Result<()> {
    let cgroups = config.cgroup.groups.iter().map(|group| group.dir.clone()).collect();
    let record = Record { version: 1, id: config.id.clone(), cgroups };
    file.write_all(&serde_json::to_vec(&record)?).context("cannot write the container's record")?;
    sys::mkdir(&config.dir, 0o700)
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

/// Removes all that dead containers left, and returns the id of each, or why it could not be removed.
pub fn sweep(store: &Store) -> Result<Vec<Result<String>>> {
    let _only_one = lock(store)?;
    Ok(dead(store)?.into_iter().map(Leftover::remove).collect())
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
        let file = self.file.clone();
        self.remove_what_it_names()
            .with_context(|| format!("cannot remove what a dead container left ({})", file.display()))
    }

    fn remove_what_it_names(&mut self) -> Result<String> {
        let id = self.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut text = String::new();
        self.lock.read_to_string(&mut text)?;
        // It is empty when its maker was killed before writing it: then nothing else was made.
        for group in self.cgroups(&id, &text)?.iter().rev() {
            cgroup::remove_group(group)?;
        }
        remove_tree(&self.file.with_extension(""))?;
        match fs::remove_file(&self.file) {
            // It was no leftover, but at its end: its own rubber has removed it.
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(id),
        }
    }

    /// The groups in the record, whose processes will be killed: none but groups of this container.
    fn cgroups(&self, id: &str, text: &str) -> Result<Vec<PathBuf>> {
        const DAMAGED: &str = "its record is damaged; remove it and the directory beside it by hand";
        if text.is_empty() {
            return Ok(vec![]);
        }
        let record: Record = serde_json::from_str(text).context(DAMAGED)?;
        let name = format!("rubber-{id}");
        let is_ours = |group: &PathBuf| group.is_absolute() && group.file_name() == Some(OsStr::new(&name));
        if record.id != id || !record.cgroups.iter().all(is_ours) {
            bail!("{DAMAGED}: it names what is not this container's");
        }
        Ok(record.cgroups)
    }
}

/// Whoever holds this sees no record half made.
fn lock(store: &Store) -> Result<Flock<File>> {
    let containers = store.containers();
    let directory = match File::open(&containers) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // Another rubber may be faster: no error then.
            fs::create_dir_all(&containers).with_context(|| display(&containers))?;
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

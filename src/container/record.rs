//! The record of a container: what it was asked to be, and what of it could outlive it, written down before
//! it is made.
//!
//! In the store's `containers/`, each a file that is written once, beside the container's own directory `ID`:
//! `ID.json` is the record, `ID.pid` says which process is its first, `ID.ended` how it ended, `ID.name` how
//! it was renamed, `ID.log` what it printed.
//!
//! A record is locked by the processes that run the container, and the kernel drops the lock when the last
//! of them ends, however it ends. So a record that can be locked has no living owner, and what it names may
//! go: all of it, or, where it was to be kept until `rubber rm`, what takes no room on the disk.

use super::volume;
use crate::{
    config::Config,
    flock::Flock,
    image::store::{Store, make_private},
    layers::cgroup,
    removal::remove_tree,
    sys, trust,
};
use anyhow::{Context, Result, bail};
use nix::{fcntl::FlockArg, unistd::Pid};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

pub const VERSION: u32 = 2;

#[derive(Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    /// As it was given with `--name`.
    pub name: Option<String>,
    pub image: String,
    pub created: String,
    pub labels: BTreeMap<String, String>,
    pub stop: Stop,
    pub config: Config,
}

/// How it is asked to end.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Stop {
    pub signal: i32,
    /// Seconds until it is made to.
    pub timeout: u64,
}

/// How it ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ended {
    pub code: u8,
    pub at: String,
    /// Its rubber was killed, or the machine went down: the exit code is a guess.
    #[serde(default)]
    pub lost: bool,
}

impl Ended {
    pub fn now(code: u8) -> Ended {
        Ended { code, at: now(), lost: false }
    }
}

/// RFC 3339, in UTC.
pub fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// What belongs to a container, by what comes behind its id.
pub const BESIDE: &[&str] = &["pid", "ended", "ended.new", "name", "name.new", "log", "log.1", "attach"];

/// A record of ours. Keep it for as long as the container runs.
pub struct Claim {
    file: PathBuf,
    _lock: Flock,
}

/// Sweeps away what others left, and makes the directory and the record of a new container.
pub fn claim(record: &Record, store: &Store) -> Result<Claim> {
    let _only_one = lock(store)?;
    for leftover in dead(store)? {
        // Worth a line, but no reason for this container not to run.
        let _ = leftover.clear(store).map_err(crate::report);
    }
    if let Some(name) = &record.name {
        super::find::is_free(store, name)?;
    }
    let file = record.config.dir.with_extension("json");
    let mut open = OpenOptions::new();
    let handle = open.write(true).create_new(true).mode(0o600).open(&file).with_context(|| display(&file))?;
    let lock = Flock::lock(handle, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    match write_down(record, &lock) {
        Ok(()) => Ok(Claim { file, _lock: lock }),
        Err(error) => {
            let _ = fs::remove_file(&file);
            Err(error)
        }
    }
}

/// The record is whole before anything it names is made: one that is cut short names nothing.
fn write_down(record: &Record, mut file: &File) -> Result<()> {
    file.write_all(&serde_json::to_vec(record)?).context("cannot write the container's record")?;
    if record.config.keep {
        file.sync_all()?;
    }
    sys::mkdir(&record.config.dir, 0o700)
}

/// Which process is the container's first: its number, and when it began, as a number may be used again.
pub fn note_first(config: &Config, pid: Pid) -> Result<()> {
    if config.dir.as_os_str().is_empty() || crate::narrate::is_dry() {
        return Ok(());
    }
    let Some(began) = super::find::start_time(pid.as_raw()) else { return Ok(()) };
    let file = config.dir.with_extension("pid");
    fs::write(&file, format!("{pid} {began}\n")).with_context(|| display(&file))
}

impl Claim {
    /// When all that the record names is gone, so can the record be.
    pub fn release(self, store: &Store, config: &Config) -> Result<()> {
        // A group that could not be removed stays named, for the next command to remove.
        if config.cgroup.groups.iter().any(|group| group.dir.try_exists().unwrap_or(true)) {
            return Ok(());
        }
        if volume::any_anonymous(config) {
            let _only_one = lock(store)?;
            volume::remove_anonymous(store, config)?;
        }
        sys::remove_tree(&self.file.with_extension(""))?;
        remove_files(&self.file)
    }

    /// It stays, as one that has ended.
    pub fn keep(self, code: u8) -> Result<()> {
        write_ended(&self.file, &Ended::now(code))
    }
}

fn write_ended(record: &Path, ended: &Ended) -> Result<()> {
    replace(&record.with_extension("ended"), &serde_json::to_vec(ended)?)
}

/// Gives container `id` another name. Whoever asks by the old one finds nobody from now on.
pub fn rename(store: &Store, id: &str, name: &str) -> Result<()> {
    let _only_one = lock(store)?;
    super::find::is_free(store, name)?;
    let record = store.containers().join(id).with_extension("json");
    if !record.exists() {
        bail!("container {id} has just been removed");
    }
    replace(&record.with_extension("name"), name.as_bytes())
}

/// Whoever reads `file` sees it whole, as it was or as it is.
fn replace(file: &Path, content: &[u8]) -> Result<()> {
    let mut new = file.to_owned().into_os_string();
    new.push(".new");
    let write = || {
        let mut to = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        to.write_all(content)?;
        to.sync_all()?;
        fs::rename(&new, file)
    };
    write().with_context(|| display(file))
}

/// Removes the directory of the container whose record is `file`, and the record last.
fn remove(file: &Path) -> Result<()> {
    remove_tree(&file.with_extension(""))?;
    remove_files(file)
}

fn remove_files(file: &Path) -> Result<()> {
    for beside in BESIDE.iter().map(|name| file.with_extension(name)).chain([file.to_owned()]) {
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| display(&beside));
            }
            _ => {}
        }
    }
    Ok(())
}

/// What is left of a container whose processes are gone.
pub struct Leftover {
    file: PathBuf,
    lock: Flock,
}

/// Removes all that dead containers left, and returns the id of each, or why it could not be removed.
pub fn sweep(store: &Store) -> Result<Vec<Result<String>>> {
    let _only_one = lock(store)?;
    Ok(dead(store)?.into_iter().filter_map(|leftover| leftover.clear(store).transpose()).collect())
}

/// What becomes of a container's volumes without a name, when it goes.
#[derive(Clone, Copy, PartialEq)]
pub enum Anonymous {
    Stay,
    Go,
}

/// Removes one that has ended, with all that was kept of it. None where it still runs.
pub fn discard(store: &Store, id: &str, volumes: Anonymous) -> Result<Option<()>> {
    let _only_one = lock(store)?;
    let file = store.containers().join(id).with_extension("json");
    let Some(mut leftover) = unowned(file)? else { return Ok(None) };
    if let (Anonymous::Go, Some(record)) = (volumes, leftover.record()?) {
        volume::remove_anonymous(store, &record.config)?;
    }
    leftover.remove().map(|_| Some(()))
}

fn dead(store: &Store) -> Result<Vec<Leftover>> {
    let mut dead = Vec::new();
    for entry in fs::read_dir(store.containers())? {
        let file = entry?.path();
        let is_record = file.extension().is_some_and(|extension| extension == "json");
        // What is to be kept and has said how it ended is in order.
        if is_record && !file.with_extension("ended").exists() {
            dead.extend(unowned(file)?);
        }
    }
    Ok(dead)
}

fn unowned(file: PathBuf) -> Result<Option<Leftover>> {
    let Ok(handle) = File::open(&file) else { return Ok(None) };
    let lock = Flock::lock(handle, FlockArg::LockExclusiveNonblock);
    Ok(lock.ok().map(|lock| Leftover { file, lock }))
}

impl Leftover {
    /// The id of what was removed; none where it is to be kept, and only says now that it has ended.
    fn clear(mut self, store: &Store) -> Result<Option<String>> {
        let file = self.file.clone();
        let cleared = self.record().and_then(|record| match record {
            Some(record) if record.config.keep => self.settle(&record).map(|()| None),
            Some(record) => {
                volume::remove_anonymous(store, &record.config).and_then(|()| self.remove()).map(Some)
            }
            None => self.remove().map(Some),
        });
        cleared.with_context(|| format!("cannot remove what a dead container left ({})", file.display()))
    }

    /// Nobody was there to say how it ended.
    fn settle(&self, record: &Record) -> Result<()> {
        remove_groups(record)?;
        write_ended(&self.file, &Ended { lost: true, ..Ended::now(137) })
    }

    fn remove(&mut self) -> Result<String> {
        // It is empty, or cut short, when its maker was killed before it was written: then nothing else was made.
        if let Some(record) = self.record()? {
            remove_groups(&record)?;
        }
        remove(&self.file)?;
        Ok(self.file.file_stem().unwrap_or_default().to_string_lossy().into_owned())
    }

    fn record(&mut self) -> Result<Option<Record>> {
        let mut text = String::new();
        trust::ensure_ours(&self.file, &self.lock.metadata()?)?;
        std::io::Seek::rewind(&mut *self.lock)?;
        self.lock.read_to_string(&mut text)?;
        parse(&self.file, &text)
    }
}

const DAMAGED: &str = "its record is damaged; remove it and the directory beside it by hand";

/// A record, which is believed only where it speaks of its own container: the processes in the groups it
/// names will be killed.
pub fn parse(file: &Path, text: &str) -> Result<Option<Record>> {
    if text.is_empty() {
        return Ok(None);
    }
    let record: Record = match serde_json::from_str(text) {
        // Its maker was killed, or the machine went down, while it was written.
        Err(error) if error.is_eof() => return Ok(None),
        read => read.context(DAMAGED)?,
    };
    let id = file.file_stem().unwrap_or_default();
    let name = format!("rubber-{}", id.to_string_lossy());
    let is_ours = |dir: &PathBuf| dir.is_absolute() && dir.file_name() == Some(OsStr::new(&name));
    let place = &record.config.cgroup;
    let owns_its_groups = place.groups.iter().map(|group| &group.dir).chain(&place.freezer).all(is_ours);
    if OsStr::new(&record.config.id) != id || !owns_its_groups || record.version != VERSION {
        bail!("{DAMAGED}: it names what is not this container's");
    }
    Ok(Some(Record { config: Config { dir: file.with_extension(""), ..record.config }, ..record }))
}

fn remove_groups(record: &Record) -> Result<()> {
    let place = &record.config.cgroup;
    let freezer = cgroup::remove_freezer(place);
    freezer.and(cgroup::remove_groups(place.groups.iter().map(|group| &*group.dir)))
}

/// Whoever holds this sees no record half made.
pub fn lock(store: &Store) -> Result<Flock> {
    let containers = store.containers();
    // Another rubber may be faster: no error then.
    make_private(&containers)?;
    let directory = File::open(&containers).with_context(|| display(&containers))?;
    Flock::lock(directory, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .with_context(|| format!("cannot lock {}", containers.display()))
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

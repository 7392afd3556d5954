//! Which containers there are, and what is known of each: from its record, its lock and /proc.

use super::{
    pause,
    record::{self, Ended, Record},
};
use crate::{
    config::What,
    flock::Flock,
    image::{Store, name::near},
    trust,
};
use anyhow::{Context, Result, bail};
use nix::{fcntl::FlockArg, unistd::Pid};
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

pub struct Container {
    pub id: String,
    pub name: String,
    pub record: Record,
    pub state: State,
}

#[derive(Clone, Debug)]
pub enum State {
    /// Being made: its command does not run yet.
    Created,
    /// Its first process, as we see it.
    Running(Pid),
    /// Running, but the kernel lets none of its processes run.
    Paused(Pid),
    Ended(Ended),
}

impl State {
    pub fn word(&self) -> &'static str {
        match self {
            State::Created => "created",
            State::Running(_) => "running",
            State::Paused(_) => "paused",
            State::Ended(_) => "exited",
        }
    }

    /// Its first process, while there is one.
    pub fn pid(&self) -> Option<Pid> {
        match self {
            State::Running(pid) | State::Paused(pid) => Some(*pid),
            State::Created | State::Ended(_) => None,
        }
    }
}

/// All of them, the oldest first.
pub fn all(store: &Store) -> Result<Vec<Container>> {
    let containers = store.containers();
    if !trust::directory(&containers)? {
        return Ok(vec![]);
    }
    let entries = fs::read_dir(&containers).with_context(|| containers.display().to_string())?;
    let files = entries.flatten().map(|entry| entry.path());
    let records = files.filter(|file| file.extension().is_some_and(|extension| extension == "json"));
    let mut all: Vec<_> = records.filter_map(|file| read(&file)).collect();
    all.sort_by(|a, b| a.record.created.cmp(&b.record.created));
    Ok(all)
}

/// One that is being made or removed right now is none.
fn read(file: &Path) -> Option<Container> {
    let mut handle = trust::open(file).ok()?;
    let mut text = String::new();
    handle.read_to_string(&mut text).ok()?;
    let record = record::parse(file, &text).ok()??;
    let id = record.config.id.clone();
    let name = fs::read_to_string(file.with_extension("name")).ok();
    let name = name.or(record.name.clone()).unwrap_or_else(|| super::name::of(&id));
    let state = match state(file, handle)? {
        State::Running(pid) if pause::is_paused(&record.config.cgroup) => State::Paused(pid),
        state => state,
    };
    Some(Container { id, name, record, state })
}

fn state(file: &Path, handle: File) -> Option<State> {
    let ended = || serde_json::from_slice(&fs::read(file.with_extension("ended")).ok()?).ok();
    if let Some(ended) = ended() {
        return Some(State::Ended(ended));
    }
    // Shared, so that two who look do not take each other for its owner.
    match Flock::lock(handle, FlockArg::LockSharedNonblock) {
        Err(_) => Some(first(file).map_or(State::Created, State::Running)),
        // It may have ended just now. Else nobody was left to write down how: the next sweep does.
        Ok(_) => ended().map(State::Ended).or(file.exists().then(|| {
            let at = record::now();
            State::Ended(Ended { code: 137, at, lost: true })
        })),
    }
}

/// Its first process, if that is still the one that was written down.
fn first(file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(file.with_extension("pid")).ok()?;
    let (pid, began) = text.trim().split_once(' ')?;
    let pid = pid.parse().ok()?;
    (start_time(pid)? == began.parse::<u64>().ok()?).then_some(Pid::from_raw(pid))
}

/// When process `pid` began, in clock ticks since the machine started (proc_pid_stat(5), field 22).
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Its name is in brackets and may have anything in it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// The container called `word`: its name, its id, or the beginning of its id that no other has.
pub fn find(store: &Store, word: &str) -> Result<Container> {
    let mut all = all(store)?;
    if let Some(at) = all.iter().position(|container| container.name == word || container.id == word) {
        return Ok(all.swap_remove(at));
    }
    let begins = |container: &Container| !word.is_empty() && container.id.starts_with(word);
    let matching: Vec<_> = (0..all.len()).filter(|at| begins(&all[*at])).collect();
    match matching[..] {
        [one] => Ok(all.swap_remove(one)),
        [] => bail!("no container {word:?}{}: rubber ps -a lists them", did_you_mean(word, &all)),
        _ => {
            let ids: Vec<_> = matching.iter().map(|at| all[*at].id.as_str()).collect();
            bail!("{word:?} begins the ids of {} containers: {}", ids.len(), ids.join(", "))
        }
    }
}

fn did_you_mean(word: &str, all: &[Container]) -> String {
    let near = near(word, all.iter().map(|container| container.name.as_str()));
    if near.is_empty() { String::new() } else { format!(" (did you mean {}?)", near.join(" or ")) }
}

/// A name may be anything that is no id of another, and tells well from a flag and a path.
pub fn is_free(store: &Store, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !name.chars().all(plain) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || name.len() > 64 {
        bail!(
            "{name:?} is no name for a container: letters, digits, _ . and -, a letter or digit first, \
             at most 64"
        );
    }
    match all(store)?.iter().find(|container| container.name == name || container.id == name) {
        Some(other) => bail!("the name {name:?} is in use by container {}: rubber rm {name}", other.id),
        None => Ok(()),
    }
}

impl Container {
    /// The names of those it has, each once.
    pub fn volumes(&self) -> BTreeSet<&str> {
        let names = self.record.config.mounts.iter().filter_map(|mount| match &mount.what {
            What::Volume { name, .. } => Some(name.as_str()),
            _ => None,
        });
        names.collect()
    }

    pub fn file(&self, extension: &str) -> PathBuf {
        self.record.config.dir.with_extension(extension)
    }

    /// Its first process, held so that its number cannot become another's.
    pub fn pidfd(&self) -> Result<(Pid, OwnedFd)> {
        let Some(pid) = self.state.pid() else {
            bail!("container {} is not running ({})", self.name, self.state.word())
        };
        let fd = crate::sys::pidfd_open(pid)?;
        // Opened by its number: is it still the one?
        match first(&self.file("json")) == Some(pid) {
            true => Ok((pid, fd)),
            false => bail!("container {} has just ended", self.name),
        }
    }
}

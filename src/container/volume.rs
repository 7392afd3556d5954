//! Named volumes: directories of the store's that outlive the containers that share them.

use super::find::{self, Container};
use crate::{
    config::{Config, What},
    image::{Store, store::make_private},
    removal, trust,
};
use anyhow::{Context, Result, bail};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Permissions},
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

#[derive(Serialize)]
pub struct Volume {
    pub name: String,
    pub path: PathBuf,
    /// The names of the containers that have it, ended ones too.
    pub containers: Vec<String>,
}

/// Where the volume `name` is, or would be.
pub fn path(store: &Store, name: &str) -> Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if !name.chars().all(plain) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || name.len() > 128
    {
        bail!(
            "{name:?} is no name for a volume: letters, digits, _ . and -, a letter or digit first, at most 128 \
             (a path begins with / or ./)"
        );
    }
    Ok(store.volumes().join(name))
}

/// Makes it where it is not there yet.
pub fn make(store: &Store, name: &str) -> Result<PathBuf> {
    let path = path(store, name)?;
    make_private(&store.volumes())?;
    if path.is_dir() {
        return Ok(path);
    }
    match fs::create_dir(&path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(path),
        Err(error) => Err(error).with_context(|| format!("cannot make volume {name}: mkdir({path:?})")),
        // Whoever is in the container may look inside; outside, the store is for nobody else.
        Ok(()) => Ok(fs::set_permissions(&path, Permissions::from_mode(0o755)).map(|()| path)?),
    }
}

/// All of them, by name.
pub fn all(store: &Store) -> Result<Vec<Volume>> {
    if !trust::directory(&store.volumes())? {
        return Ok(vec![]);
    }
    let entries = fs::read_dir(store.volumes()).with_context(|| store.volumes().display().to_string())?;
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| path(store, name).is_ok()).collect();
    names.sort();
    let containers = find::all(store)?;
    let mut users: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for container in &containers {
        for name in container.volumes() {
            users.entry(name).or_default().push(container.name.clone());
        }
    }
    let mut users_of = |name: &str| users.remove(name).unwrap_or_default();
    names
        .into_iter()
        .map(|name| Ok(Volume { path: path(store, &name)?, containers: users_of(&name), name }))
        .collect()
}

pub fn find(store: &Store, name: &str) -> Result<Volume> {
    let all = all(store)?;
    let near = crate::image::name::near(name, all.iter().map(|volume| volume.name.as_str())).join(" or ");
    match all.into_iter().find(|volume| volume.name == name) {
        Some(volume) => Ok(volume),
        None if near.is_empty() => bail!("no volume {name:?}: rubber volume ls lists them"),
        None => bail!("no volume {name:?}: did you mean {near}?"),
    }
}

/// Makes those of `config` that have no name of the user's.
pub fn make_anonymous(store: &Store, config: &Config) -> Result<()> {
    anonymous(config).try_for_each(|name| make(store, name).map(drop))
}

/// Removes them, but for one that another container has, too. Whoever calls this holds the records' lock.
pub fn remove_anonymous(store: &Store, config: &Config) -> Result<()> {
    if !any_anonymous(config) {
        return Ok(());
    }
    let others: Vec<_> = find::all(store)?.into_iter().filter(|other| other.id != config.id).collect();
    let theirs: BTreeSet<_> = others.iter().flat_map(Container::volumes).collect();
    let is_ours = |name: &&str| !theirs.contains(name) && store.volumes().join(name).is_dir();
    // One that cannot be removed keeps no other.
    anonymous(config).filter(is_ours).map(|name| destroy(store, name)).fold(Ok(()), Result::and)
}

pub fn any_anonymous(config: &Config) -> bool {
    anonymous(config).next().is_some()
}

fn anonymous(config: &Config) -> impl Iterator<Item = &str> {
    config.mounts.iter().filter_map(|mount| match &mount.what {
        What::Volume { name, anonymous: true, .. } => Some(name.as_str()),
        _ => None,
    })
}

/// Removes it with all that is in it, unless a container has it.
pub fn remove(store: &Store, name: &str) -> Result<()> {
    // No container comes to be meanwhile, and none is half removed.
    let _only_one = super::record::lock(store)?;
    let volume = find(store, name)?;
    if !volume.containers.is_empty() {
        let containers = volume.containers.join(", ");
        bail!("volume {name} is in use by {containers}: rubber rm {}", volume.containers.join(" "));
    }
    destroy(store, name)
}

/// Under another name first: a kill in the middle leaves no volume that has lost half of its files.
fn destroy(store: &Store, name: &str) -> Result<()> {
    let path = path(store, name)?;
    let doomed = store.volumes().join(format!(".removed-{name}"));
    if doomed.exists() {
        removal::remove_tree(&doomed)?;
    }
    fs::rename(&path, &doomed).with_context(|| format!("rename({path:?}, {doomed:?})"))?;
    removal::remove_tree(&doomed)
}

/// Removes what a killed `remove` has left: what cannot be removed does not keep the others.
pub fn sweep(store: &Store) -> Vec<Result<PathBuf>> {
    let entries = fs::read_dir(store.volumes()).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_doomed =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    entries.filter(is_doomed).map(|path| removal::remove_tree(&path).map(|()| path)).collect()
}

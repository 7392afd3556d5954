//! What there is in the store, and how much of the disk it takes.

use super::{Store, below, find::is_nameless, name::Name};
use anyhow::{Context, Result};
use nix::{errno::Errno, sys::stat::SFlag};
use oci_spec::image::ImageConfiguration;
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

#[derive(serde::Serialize)]
pub struct Listed {
    /// `<none>` for one that nobody has named.
    pub name: String,
    /// The first twelve digits of the SHA-256 of its configuration, as docker shows it.
    pub id: String,
    pub created: String,
    /// Bytes on disk, of all its layers.
    pub size: u64,
    /// Of these, in layers that another image has as well.
    pub shared: u64,
    /// And in those that would go with it.
    pub unique: u64,
}

pub fn list(store: &Store) -> Result<Vec<Listed>> {
    let mut images = Vec::new();
    for name in store.names()? {
        let Some(config) = store.image(&name)? else { continue }; // removed since
        let Some(id) = store.id_if_there(&name)? else { continue };
        images.push((name, id, config));
    }
    let users = users(store, &images)?;
    let mut sizes = HashMap::new();
    let mut listed = Vec::new();
    for (name, id, config) in images {
        let mut one = Listed {
            name: if is_nameless(&name) { "<none>".to_owned() } else { name.to_string() },
            id: short(&id).to_owned(),
            created: config.created().clone().unwrap_or_default(),
            size: 0,
            shared: 0,
            unique: 0,
        };
        for layer in layers(store, &config)? {
            let size = match sizes.get(&layer) {
                Some(size) => *size,
                None => disk_usage(&layer)?,
            };
            *if users[&layer].len() > 1 { &mut one.shared } else { &mut one.unique } += size;
            one.size += size;
            sizes.insert(layer, size);
        }
        listed.push(one);
    }
    Ok(listed)
}

/// The ids of the images that each layer is in: two names of one image share nothing with each other.
fn users(
    store: &Store,
    images: &[(Name, String, ImageConfiguration)],
) -> Result<HashMap<PathBuf, HashSet<String>>> {
    let mut users: HashMap<PathBuf, HashSet<String>> = HashMap::new();
    for (_, id, config) in images {
        for layer in store.layer_paths(config)? {
            users.entry(layer).or_default().insert(id.clone());
        }
    }
    Ok(users)
}

/// Each of its layers once.
fn layers(store: &Store, config: &ImageConfiguration) -> Result<Vec<PathBuf>> {
    let mut seen = HashSet::new();
    let layers = store.layer_paths(config)?.into_iter();
    Ok(layers.filter(|layer| seen.insert(layer.clone())).collect())
}

/// Bytes on disk of all layers of an image.
pub fn size(layers: &[PathBuf]) -> Result<u64> {
    let distinct: HashSet<_> = layers.iter().collect();
    distinct.into_iter().map(|layer| disk_usage(layer)).sum()
}

/// Twelve digits of an id are enough for people.
pub fn short(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}

/// The bytes that the files below `directory` take on disk, each file once, however many names it has.
pub fn disk_usage(directory: &Path) -> Result<u64> {
    let root = below::Below::open(directory)?;
    let (mut blocks, mut counted) = (0u64, HashSet::<below::Key>::new());
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let at = match root.directory(&path) {
            // Closed to its owner too, who is no root; or deeper than a path can say, which no honest image is.
            Err(Errno::EACCES | Errno::ENAMETOOLONG) => continue,
            other => other.with_context(|| format!("cannot look into {:?}", directory.join(&path)))?,
        };
        let names = match below::names(&at) {
            Err(error) if error.downcast_ref() == Some(&Errno::EACCES) => continue,
            other => other?,
        };
        for name in names {
            let Some(stat) = below::look(&at, &name)? else { continue };
            if below::kind(&stat) == SFlag::S_IFDIR {
                open.push(path.join(&name));
            } else if stat.st_nlink > 1 && !counted.insert(below::key(&stat)) {
                continue;
            }
            blocks += stat.st_blocks as u64;
        }
    }
    Ok(blocks * 512) // stat(2): st_blocks counts 512 bytes, whatever the filesystem's block
}

/// Bytes for people, in decimal units as docker counts them.
pub fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 999.5 {
            return match value < 9.95 && unit != "B" {
                true => format!("{value:.1} {unit}"),
                false => format!("{value:.0} {unit}"),
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn sizes_are_short() {
        let short: Vec<String> = [0, 999, 1000, 9_949, 12_345_678, 999_600_000].map(human).into();
        assert_eq!(short, ["0 B", "999 B", "1.0 kB", "9.9 kB", "12 MB", "1.0 GB"]);
    }
}

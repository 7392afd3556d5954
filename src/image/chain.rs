//! Under what name an unpacked layer is kept, and which images may share it.
//!
//! Images share what depends on the bytes of a layer alone. Those say everything, but for the directories that the
//! layer fills and does not list: these are as the layers below have them. So a layer with such directories belongs to
//! the one chain of layers that it was unpacked on. (Under its own digest alone, the image that came first would say
//! who may write to a directory of all others.) Which of the two a layer is depends on its bytes again.

use super::{
    digest,
    store::{Locked, Store, hex},
};
use anyhow::{Context, Result};
use oci_spec::image::ImageConfiguration;
use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// The two places where one layer of an image can be.
pub struct Kept {
    /// For all images: it lists each directory that it fills.
    pub shared: PathBuf,
    /// For those that have the same layers below it.
    pub own: PathBuf,
}

impl Kept {
    pub fn place(&self, lists_all: bool) -> &Path {
        if lists_all { &self.shared } else { &self.own }
    }
}

impl Store {
    /// For each of these layers, the lowest first.
    pub fn kept(&self, diff_ids: &[String]) -> Result<Vec<Kept>> {
        let layers = self.root().join("layers");
        let mut chain = String::new();
        let mut one = |diff_id: &String| {
            // "Layer ChainID" in the image specification's config.md.
            chain = match chain.is_empty() {
                true => diff_id.clone(),
                false => digest(format!("{chain} {diff_id}").as_bytes()),
            };
            let hex_of_layer = hex(diff_id)?;
            let own = layers.join(format!("{hex_of_layer}-{}", hex(&chain)?));
            Ok(Kept { shared: layers.join(hex_of_layer), own })
        };
        diff_ids.iter().map(&mut one).collect()
    }

    /// The directories of these layers, lowest first. One that is not there is named as if all shared it.
    ///
    /// The chain's own comes first: a release before this one kept all layers as if they were shared, and one that it
    /// has left may have been unpacked on other layers.
    pub fn layer_paths(&self, config: &ImageConfiguration) -> Result<Vec<PathBuf>> {
        self.paths(config.rootfs().diff_ids())
    }

    pub fn paths(&self, diff_ids: &[String]) -> Result<Vec<PathBuf>> {
        let path = |kept: Kept| if kept.own.is_dir() { kept.own } else { kept.shared };
        Ok(self.kept(diff_ids)?.into_iter().map(path).collect())
    }

    /// Where the layer is, if it is unpacked, nothing of it was found damaged, and it owes nothing to layers that are
    /// not below it.
    pub fn unpacked(&self, kept: &Kept) -> Option<PathBuf> {
        let layer = match kept.own.is_dir() {
            true => &kept.own,
            false if kept.shared.is_dir() && self.lists_all(&kept.shared) => &kept.shared,
            false => return None,
        };
        (!self.is_damaged(layer)).then(|| layer.clone())
    }

    /// In the store's directory `kind`, the file that says something of the layer.
    pub fn note(&self, kind: &str, layer: &Path) -> PathBuf {
        self.root().join(kind).join(layer.file_name().unwrap_or_default())
    }

    /// Whether this release has unpacked it, and it was complete. (The release before has left no such marks.)
    pub fn lists_all(&self, layer: &Path) -> bool {
        self.note(LISTED, layer).exists()
    }
}

/// The marks of layers that list each directory that they fill.
pub const LISTED: &str = "listed";

impl Locked<'_> {
    /// Marks the layer as one that all images may share, if it is: it must be in its place by then.
    pub fn allow(&self, kept: &Kept, lists_all: bool) -> Result<()> {
        match lists_all && !self.store().lists_all(&kept.shared) {
            true => self.write(&self.store().note(LISTED, &kept.shared), b""),
            false => Ok(()),
        }
    }

    pub fn remove_note(&self, kind: &str, layer: &Path) -> Result<()> {
        let path = self.store().note(kind, layer);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("unlink({path:?})"))
            }
            _ => Ok(()),
        }
    }
}

/// The layer's own digest, as its name says it.
pub fn diff_id(layer: &Path) -> Option<String> {
    let name = layer.file_name()?.to_str()?;
    let digest = format!("sha256:{}", name.split_once('-').map_or(name, |(digest, _)| digest));
    hex(&digest).is_ok().then_some(digest)
}

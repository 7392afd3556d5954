//! What is removed from the store: leftovers of the killed, and what no name needs any more.

use super::{
    below,
    blobs::{self, PARTIAL},
    chain::LISTED,
    contents::CONTENTS,
    damage::DAMAGED,
    manifest::{self, Document, Manifest},
    name::Name,
    store::{Locked, Store, sync_directory},
};
use crate::{container::find, flock::Flock, removal, trust};
use anyhow::{Context, Result, ensure};
use nix::fcntl::FlockArg;
use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::ErrorKind,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// What was removed, and why the others could not be: one does not keep the next.
pub type Swept = Vec<Result<PathBuf>>;

/// Removes what a killed rubber left behind and what nothing needs. Does nothing while another one is at work.
pub fn sweep(store: &Store) -> Result<Swept> {
    if !store.root().join("tmp").exists() {
        return Ok(Vec::new());
    }
    match store.try_lock(Duration::ZERO).map_err(|error| store.explain(error))? {
        Some(locked) => {
            let leftovers = locked.clear_leftovers(Begun::Removed);
            let others = [leftovers, locked.remove_unused_layers(), locked.remove_unused_blobs()];
            Ok(others.into_iter().flat_map(|swept| swept.unwrap_or_else(|error| vec![Err(error)])).collect())
        }
        None => Ok(Vec::new()),
    }
}

/// What becomes of blobs that were begun and that nobody writes.
#[derive(Clone, Copy, PartialEq)]
pub enum Begun {
    /// Somebody may go on with it.
    Kept,
    Removed,
}

/// The manifest that the image with this id came by.
pub fn manifest_of(store: &Store, id: &str) -> Result<Option<Manifest>> {
    let path = store.manifest_path(id)?;
    let Some(bytes) = trust::read(&path)? else { return Ok(None) };
    match manifest::read(&bytes, None).with_context(|| format!("{path:?} is damaged"))? {
        Document::Manifest(manifest) => Ok(Some(manifest)),
        Document::Index(_) => Ok(None),
    }
}

impl Locked<'_> {
    pub fn clear_leftovers(&self, begun: Begun) -> Result<Swept> {
        let tmp = self.store().root().join("tmp");
        let directory = File::open(&tmp).with_context(|| format!("cannot open {tmp:?}"))?;
        let remove = |name: OsString| {
            let path = tmp.join(&name);
            let removed = match name.as_bytes().starts_with(PARTIAL.as_bytes()) {
                true => remove_partial(&path, begun),
                false => removal::remove_tree(&path).map(|()| true),
            };
            removed.map(|removed| removed.then_some(path)).transpose()
        };
        Ok(below::names(&directory.into())?.into_iter().filter_map(remove).collect())
    }

    /// Forgets `name` and removes all that no image uses any more. Returns false when there was no such image.
    pub fn remove_image(&self, name: &Name) -> Result<bool> {
        let id = self.store().id_if_there(name)?;
        match fs::remove_file(self.store().image_path(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            other => other.with_context(|| format!("cannot remove image {name}"))?,
        }
        // The name goes first: a layer without an image is swept later, an image without a layer would be broken.
        sync_directory(&self.store().root().join("images"))?;
        if let Some(id) = id {
            self.forget(&id)?;
        }
        Ok(true)
    }

    /// Removes what only the image with this id needed, which has lost a name.
    pub fn forget(&self, id: &str) -> Result<()> {
        self.remove_unused_layers()?.into_iter().collect::<Result<Vec<_>>>()?;
        let store = self.store();
        let needed = self.manifests_needed()?;
        let path = store.manifest_path(id)?;
        if needed.contains(&path) || !path.exists() {
            return Ok(());
        }
        let blobs = manifest_of(store, id).ok().flatten().map(|manifest| manifest.layers).unwrap_or_default();
        fs::remove_file(&path).with_context(|| format!("unlink({path:?})"))?;
        self.write_missing_contents()?;
        self.drop_blobs(blobs.into_iter().map(|blob| blob.digest).collect())
    }

    /// Removes those of these blobs that no manifest names.
    pub fn drop_blobs(&self, digests: Vec<String>) -> Result<()> {
        if digests.is_empty() {
            return Ok(());
        }
        let used = self.blobs_used()?;
        for digest in digests.iter().filter(|digest| !used.contains(*digest)) {
            blobs::remove(self.store(), digest)?;
        }
        Ok(())
    }

    fn manifests_needed(&self) -> Result<HashSet<PathBuf>> {
        let store = self.store();
        let mut needed = HashSet::new();
        for name in store.names()? {
            if let Some(id) = store.id_if_there(&name)? {
                needed.insert(store.manifest_path(&id)?);
            }
        }
        Ok(needed)
    }

    /// The digests of all blobs that some manifest names.
    fn blobs_used(&self) -> Result<HashSet<String>> {
        let mut used = HashSet::new();
        for path in entries(&self.store().root().join("manifests"))? {
            let hex = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
            // One that cannot be read may name any blob: then none is removed.
            let manifest = manifest_of(self.store(), &format!("sha256:{hex}"))?;
            used.extend(manifest.into_iter().flat_map(|manifest| manifest.layers).map(|blob| blob.digest));
        }
        Ok(used)
    }

    /// Removes the manifests of no image and the blobs of no manifest, but for those somebody has open.
    fn remove_unused_blobs(&self) -> Result<Swept> {
        let store = self.store();
        let mut removed = Vec::new();
        let needed = self.manifests_needed()?;
        for path in
            entries(&store.root().join("manifests"))?.into_iter().filter(|path| !needed.contains(path))
        {
            let gone = fs::remove_file(&path).with_context(|| format!("unlink({path:?})"));
            removed.push(gone.map(|()| path));
        }
        let used = self.blobs_used()?;
        for path in entries(&store.root().join("blobs/sha256"))? {
            let digest = format!("sha256:{}", path.file_name().and_then(OsStr::to_str).unwrap_or_default());
            if !used.contains(&digest) {
                let gone = blobs::remove(store, &digest);
                removed.extend(gone.map(|gone| gone.then_some(path)).transpose());
            }
        }
        Ok(removed)
    }

    /// Removes the layers that no image names and no container holds (see `Image::hold`), and returns which.
    pub fn remove_unused_layers(&self) -> Result<Swept> {
        let mut used = Vec::new();
        for name in self.store().names()? {
            // An image that cannot be read may use any layer: then none is removed.
            if let Some(config) = self.store().image(&name)? {
                used.extend(self.store().layer_paths(&config)?);
            }
        }
        // What has ended can still be looked at, whatever has become of its image's name.
        used.extend(find::all(self.store())?.into_iter().flat_map(|container| container.record.config.image));
        let mut removed = Vec::new();
        for path in entries(&self.store().root().join("layers"))? {
            if !used.contains(&path) {
                let gone = self.remove_layer(&path);
                removed.extend(gone.map(|gone| gone.then_some(path)).transpose());
            }
        }
        for path in [LISTED, CONTENTS, DAMAGED].map(|kind| entries(&self.store().root().join(kind))) {
            for note in path? {
                let layer = self.store().root().join("layers").join(note.file_name().unwrap_or_default());
                if !layer.exists() {
                    fs::remove_file(&note).with_context(|| format!("unlink({note:?})"))?;
                }
            }
        }
        Ok(removed)
    }

    /// Takes a layer away that was found damaged: another is there for its place.
    pub fn make_room(&self, layer: &Path) -> Result<()> {
        if !self.store().is_damaged(layer) {
            return Ok(());
        }
        if layer.is_dir() {
            self.remove_damaged(layer)?;
        }
        self.unmark(layer)
    }

    pub fn remove_damaged(&self, layer: &Path) -> Result<()> {
        ensure!(
            self.remove_layer(layer)?,
            "the damaged layer {layer:?} is a container's root: end that first, then get the image again"
        );
        Ok(())
    }

    /// False when a container holds it.
    fn remove_layer(&self, layer: &Path) -> Result<bool> {
        let directory = File::open(layer).with_context(|| format!("cannot open {layer:?}"))?;
        let Ok(_held) = Flock::lock(directory, FlockArg::LockExclusiveNonblock) else { return Ok(false) };
        self.remove_note(LISTED, layer)?;
        // Renamed first, so that a kill in the middle leaves a leftover and never half a layer.
        let name = layer.file_name().unwrap_or(OsStr::new("layer"));
        let doomed = self.store().root().join("tmp").join(name);
        fs::rename(layer, &doomed).with_context(|| format!("rename({layer:?}, {doomed:?})"))?;
        removal::remove_tree(&doomed)?;
        Ok(true)
    }
}

/// False for one that stays: somebody writes it, or may go on with it.
fn remove_partial(path: &Path, begun: Begun) -> Result<bool> {
    let is_known = path.file_name().is_some_and(|name| name.len() == PARTIAL.len() + 64);
    if begun == Begun::Kept && is_known {
        return Ok(false);
    }
    let file = File::open(path).with_context(|| format!("cannot open {path:?}"))?;
    let Ok(_held) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(false) };
    fs::remove_file(path).with_context(|| format!("unlink({path:?})"))?;
    Ok(true)
}

/// What is in a directory, which need not be there.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
            .with_context(|| format!("cannot list {directory:?}")),
    }
}

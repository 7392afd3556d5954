//! The images in the store: whether all they are made of is there, and is what it was.

use super::{Finding, Images, host::Here, no, ok};
use crate::image::{Store, assemble, blobs, damage, name::Name};
use anyhow::Result;
use std::{collections::HashMap, path::Path};

/// Reads every blob there is: those are known by what is in them. The files of a layer are not, and are compared with
/// what comes out of its blob if that is asked for.
pub fn whole(here: &Here) -> Finding {
    // An examination makes no store.
    if !here.store.join("images").is_dir() {
        return ok("none yet");
    }
    let store = Store::named(Some(here.store.clone()));
    let names = store
        .as_ref()
        .map_err(|error| format!("{error:#}"))
        .and_then(|store| store.names().map_err(|error| format!("{error:#}")));
    let (store, names) = match (store, names) {
        (Ok(store), Ok(names)) => (store, names),
        (_, names) => return no(names.err().unwrap_or_default(), "rubber --root DIR …".to_owned()),
    };
    let mut files = Files { store: &store, known: HashMap::new(), apart: Vec::new() };
    let (mut found, mut fixes) = (Vec::new(), Vec::new());
    for name in &names {
        let damage = damage(&store, name).and_then(|damage| match (damage, here.images) {
            (None, Images::Blobs) => marked(&store, name),
            (None, Images::Files) => files.damage(name),
            (damage, _) => Ok(damage),
        });
        if let Some(damage) = damage.unwrap_or_else(|error| Some(format!("{error:#}"))) {
            found.push(format!("image {name} is damaged: {damage}"));
            fixes.push(format!("rubber pull {name}"));
        }
    }
    if !found.is_empty() {
        let fix = fixes.join(" && ");
        return no(
            found.join("; "),
            format!("{fix}   # or import it again: only what is damaged is made anew"),
        );
    }
    let apart = match files.apart.len() {
        0 => String::new(),
        _ => format!("; made here, with no archive to compare with: {}", files.apart.join(", ")),
    };
    ok(format!("{} whole{apart}", names.len()))
}

fn damage(store: &Store, name: &Name) -> Result<Option<String>> {
    let Some(config) = store.image(name)? else { return Ok(None) }; // removed since
    if let Some(layer) = store.layer_paths(&config)?.iter().find(|layer| !layer.is_dir()) {
        return Ok(Some(format!("{} is missing", layer.display())));
    }
    for layer in assemble::stored(store, name)?.iter().flat_map(|manifest| &manifest.layers) {
        match blobs::whole(store, &layer.digest)? {
            None => return Ok(Some(format!("the blob {} is missing", layer.digest))),
            Some(blob) if !blob.is_sound()? => {
                return Ok(Some(format!("the blob {} was changed", layer.digest)));
            }
            Some(_) => (),
        }
    }
    Ok(None)
}

/// What `Images::Files` has found before.
fn marked(store: &Store, name: &Name) -> Result<Option<String>> {
    let Some(config) = store.image(name)? else { return Ok(None) };
    for diff_id in config.rootfs().diff_ids() {
        if store.is_damaged(diff_id)? {
            return Ok(Some(format!("files of the layer {diff_id} are (rubber doctor --store names them)")));
        }
    }
    Ok(None)
}

struct Files<'a> {
    store: &'a Store,
    /// What was found of a layer: images share them.
    known: HashMap<String, Option<String>>,
    /// Images that did not come in an archive of images.
    apart: Vec<String>,
}

impl Files<'_> {
    fn damage(&mut self, name: &Name) -> Result<Option<String>> {
        let Some(config) = self.store.image(name)? else { return Ok(None) };
        let Some(manifest) = assemble::stored(self.store, name)? else {
            self.apart.push(name.to_string());
            return Ok(None);
        };
        for (layer, diff_id) in manifest.layers.iter().zip(config.rootfs().diff_ids()) {
            let found = match self.known.get(diff_id) {
                Some(found) => found.clone(),
                None => told(diff_id, &damage::of_layer(self.store, layer, diff_id)?),
            };
            self.known.insert(diff_id.clone(), found.clone());
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

fn told(diff_id: &str, found: &[damage::Damage]) -> Option<String> {
    let one = |damage: &damage::Damage| format!("{:?} {}", Path::new("/").join(&damage.path), damage.what);
    let all: Vec<_> = found.iter().map(one).collect();
    (!all.is_empty()).then(|| format!("in the layer {diff_id}, {}", all.join(", ")))
}

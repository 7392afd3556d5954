//! The images in the store: whether all they are made of is there, and is what it was.

use super::{Finding, Images, host::Here, no, ok};
use crate::image::{Store, assemble, blobs, builtin, contents, damage, name::Name, save};
use anyhow::Result;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// Reads every blob there is: those are known by what is in them. The files of a layer are not, and are compared with
/// what comes out of its blob, or with what was written down of them, if that is asked for.
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
            fixes.push(fix(&store, name));
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
        _ => format!(
            "; made here by a release before, with nothing to compare with: {}",
            files.apart.join(", ")
        ),
    };
    ok(format!("{} whole{apart}", names.len()))
}

/// What was made here is made again once it is gone.
fn fix(store: &Store, name: &Name) -> String {
    match assemble::stored(store, name) {
        Ok(None) if name.as_str() == builtin::NAME => format!("rubber rmi {name}"),
        Ok(None) => format!("rubber rmi {name} && rubber import SOURCE {name}"),
        _ => format!("rubber pull {name}"),
    }
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
    for (diff_id, layer) in config.rootfs().diff_ids().iter().zip(store.layer_paths(&config)?) {
        if store.is_damaged(&layer) {
            return Ok(Some(format!("files of the layer {diff_id} are (rubber doctor --store names them)")));
        }
    }
    Ok(None)
}

struct Files<'a> {
    store: &'a Store,
    /// What was found of a layer: images share them.
    known: HashMap<PathBuf, Option<String>>,
    /// Images of which a layer cannot be compared with anything.
    apart: Vec<String>,
}

impl Files<'_> {
    fn damage(&mut self, name: &Name) -> Result<Option<String>> {
        let Some(config) = self.store.image(name)? else { return Ok(None) };
        let layers = self.store.layer_paths(&config)?;
        let blobs: HashMap<_, _> = match assemble::stored(self.store, name)? {
            Some(manifest) => config.rootfs().diff_ids().iter().cloned().zip(manifest.layers).collect(),
            // It may be made on top of one that came.
            None => save::known(self.store).unwrap_or_default(),
        };
        let mut is_apart = false;
        for (number, diff_id) in config.rootfs().diff_ids().iter().enumerate() {
            let layer = &layers[number];
            let found = match (self.known.get(layer), blobs.get(diff_id)) {
                (Some(found), _) => found.clone(),
                (None, Some(blob)) => {
                    told(diff_id, &damage::of_layer(self.store, blob, diff_id, &layers[..=number])?)
                }
                (None, None) => match contents::damages(self.store, layer)? {
                    Some(found) => told(diff_id, &found),
                    None => {
                        is_apart = true;
                        continue;
                    }
                },
            };
            self.known.insert(layer.clone(), found.clone());
            if found.is_some() {
                return Ok(found);
            }
        }
        self.apart.extend(is_apart.then(|| name.to_string()));
        Ok(None)
    }
}

fn told(diff_id: &str, found: &[damage::Damage]) -> Option<String> {
    let one = |damage: &damage::Damage| format!("{:?} {}", Path::new("/").join(&damage.path), damage.what);
    let all: Vec<_> = found.iter().map(one).collect();
    (!all.is_empty()).then(|| format!("in the layer {diff_id}, {}", all.join(", ")))
}

//! The images in the store: whether all they are made of is there, and is what it was.

use super::{Finding, host::Here, no, ok};
use crate::image::{Store, assemble, blobs, name::Name};
use anyhow::Result;

/// Reads every blob there is: those are known by what is in them. (The files of a layer may not be as they came, but
/// one that is not there at all is told.)
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
    for name in &names {
        if let Some(damage) = damage(&store, name).unwrap_or_else(|error| Some(format!("{error:#}"))) {
            let fix = format!("rubber pull {name}   # or import it again: only what is damaged is made anew");
            return no(format!("image {name} is damaged: {damage}"), fix);
        }
    }
    ok(format!("{} whole", names.len()))
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

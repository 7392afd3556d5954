//! Images: where a container's files come from.
//!
//! Reading order: `store` (what is on disk), `import` (how it gets there), `unpack` and `below` (why an archive
//! cannot reach outside), `recipe` and `builtin` (images that are made here).

mod attributes;
mod below;
pub mod builtin;
mod copy;
pub mod elf;
pub mod import;
pub mod list;
pub mod name;
mod pack;
pub mod recipe;
pub mod store;
mod stream;
pub mod unpack;

pub use copy::copy;
pub use store::{Store, sweep};
use stream::digest;

use anyhow::{Context, Result, bail};
use name::Name;
use nix::fcntl::{Flock, FlockArg};
use oci_spec::image::ImageConfiguration;
use std::{fs::File, path::PathBuf};

pub struct Image {
    pub name: String,
    /// The directories of its unpacked layers, lowest first.
    pub layers: Vec<PathBuf>,
    pub config: ImageConfiguration,
}

impl Image {
    pub fn new(store: &Store, name: &Name, config: ImageConfiguration) -> Result<Image> {
        let layers = store.layer_paths(&config)?;
        for layer in &layers {
            if !layer.is_dir() {
                bail!("image {name} is damaged: {layer:?} is missing; rubber rmi {name}, then get it again");
            }
        }
        Ok(Image { name: name.to_string(), layers, config })
    }

    /// Keeps the layers from being removed for as long as the answer (or a copy of its fds) is open.
    pub fn hold(&self) -> Result<Vec<Flock<File>>> {
        let hold = |layer: &PathBuf| {
            let directory = File::open(layer).with_context(|| format!("image {}: {layer:?}", self.name))?;
            let lock = Flock::lock(directory, FlockArg::LockSharedNonblock).map_err(|(_, errno)| errno);
            lock.with_context(|| format!("image {} is being removed", self.name))
        };
        self.layers.iter().map(hold).collect()
    }
}

/// The image called `name`: from the store, else made here, else an error that names the command to get it with.
pub fn resolve(store: &Store, name: &str) -> Result<Image> {
    let name = Name::parse(name)?;
    let config = match name.as_str() {
        builtin::NAME => builtin::resolve(store)?,
        _ => match store.image(&name)? {
            Some(config) => config,
            None => missing(store, &name)?,
        },
    };
    Image::new(store, &name, config)
}

fn missing(store: &Store, name: &Name) -> Result<ImageConfiguration> {
    match recipe::find(name.as_str()) {
        Some(recipe) if recipe.quick => recipe::make(store, recipe),
        Some(_) => bail!(
            "no image \"{name}\" yet: it takes minutes and the network, so make it with: \
             rubber import --recipe {name}"
        ),
        None => {
            let known = known(store)?;
            let near = name::near(name.as_str(), known.iter().map(String::as_str));
            let hint = match near.is_empty() {
                true => String::new(),
                false => format!(" (did you mean {}?)", near.join(" or ")),
            };
            bail!(
                "no image \"{name}\"{hint}: this machine cannot make it; get one with: \
                 docker export $(docker create {name}) | rubber import - {name}"
            )
        }
    }
}

/// Every name that `resolve` could make something of.
fn known(store: &Store) -> Result<Vec<String>> {
    let mut known: Vec<String> = store.names()?.iter().map(Name::to_string).collect();
    known.extend(recipe::RECIPES.iter().map(|recipe| recipe.name.to_owned()));
    known.push(builtin::NAME.to_owned());
    known.sort();
    known.dedup();
    Ok(known)
}

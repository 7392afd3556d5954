//! `rubber rmi`: remove images.

use crate::{
    container::find::{self, Container},
    image::{
        Store,
        name::{self, Name},
    },
};
use anyhow::{Result, bail};
use std::io::Write;

/// Remove images, and the layers that no other image uses
#[derive(clap::Args)]
pub struct Rmi {
    /// Names as `rubber images` shows them
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Rmi {
    pub fn main(self, store: &Store) -> Result<()> {
        let names = self.names.iter().map(|name| Name::parse(name)).collect::<Result<Vec<_>>>()?;
        let locked = store.lock()?;
        for name in names {
            refuse_if_kept(store, &name)?;
            if !locked.remove_image(&name).map_err(|error| store.explain(error))? {
                return unknown(store, &name);
            }
            writeln!(std::io::stdout(), "removed {name}")?;
        }
        Ok(())
    }
}

/// What a container wrote is of little use without what it wrote it over.
fn refuse_if_kept(store: &Store, name: &Name) -> Result<()> {
    let uses =
        |container: &Container| container.record.config.keep && container.record.image == name.as_str();
    let users: Vec<_> = find::all(store)?.into_iter().filter(uses).map(|container| container.name).collect();
    match &users[..] {
        [] => Ok(()),
        [one] => bail!("image {name} is used by container {one}: rubber rm {one} first"),
        more => {
            bail!("image {name} is used by {} containers: rubber rm {} first", more.len(), more.join(" "))
        }
    }
}

fn unknown(store: &Store, name: &Name) -> Result<()> {
    let known = store.names()?;
    match name::near(name.as_str(), known.iter().map(Name::as_str)).join(" or ") {
        near if near.is_empty() => bail!("no image \"{name}\": rubber images lists what there is"),
        near => bail!("no image \"{name}\": did you mean {near}?"),
    }
}

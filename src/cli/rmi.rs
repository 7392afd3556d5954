//! `rubber rmi`: remove images.

use super::end::each;
use crate::{
    container::find::{Container, all},
    image::{Store, find, name::Name},
};
use anyhow::{Result, bail};
use std::io::Write;

/// Remove images, and the layers that no other image uses
#[derive(clap::Args)]
pub struct Rmi {
    /// Names as `rubber images` shows them, or ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Rmi {
    pub fn main(self, store: &Store) -> Result<()> {
        let locked = store.lock()?;
        each(&self.names, |name| {
            let name = find::find(store, name)?;
            refuse_if_kept(store, &name)?;
            locked.remove_image(&name).map_err(|error| store.explain(error))?;
            Ok(writeln!(std::io::stdout(), "removed {name}")?)
        })
    }
}

/// What a container wrote is of little use without what it wrote it over.
fn refuse_if_kept(store: &Store, name: &Name) -> Result<()> {
    let uses =
        |container: &Container| container.record.config.keep && container.record.image == name.as_str();
    let users: Vec<_> = all(store)?.into_iter().filter(uses).map(|container| container.name).collect();
    match &users[..] {
        [] => Ok(()),
        [one] => bail!("image {name} is used by container {one}: rubber rm {one} first"),
        more => {
            bail!("image {name} is used by {} containers: rubber rm {} first", more.len(), more.join(" "))
        }
    }
}

//! `rubber commit`: an image of what a container has become.

use crate::{
    container::{commit, find},
    image::{Image, Store, builtin, list, name::Name},
};
use anyhow::{Result, ensure};

/// Make an image of what a container has become: its image's layers, and what it wrote on top
#[derive(clap::Args)]
pub struct Commit {
    /// Its name, its id, or the beginning of its id
    container: String,
    /// What to call the image
    image: String,
}

impl Commit {
    pub fn main(self, store: &Store) -> Result<()> {
        let name = Name::parse(&self.image)?;
        ensure!(
            name.as_str() != builtin::NAME,
            "the name {name} is taken: it is the image that rubber makes of itself; choose another"
        );
        let container = find::find(store, &self.container)?;
        let committed = commit::commit(store, &container, &name)?;
        let image = Image::new(store, &name, committed.config)?;
        let size = list::size(&image.layers)?;
        let (id, size, added) = (store.id(&name)?, list::human(size), list::human(committed.added));
        super::line(&format!("{name}  {}  {size} ({added} new)", list::short(&id)))
    }
}

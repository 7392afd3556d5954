//! `rubber rename`: another name for a container.

use crate::{
    container::{find, record},
    image::Store,
};
use anyhow::{Context, Result};

/// Give a container another name
#[derive(clap::Args)]
pub struct Rename {
    /// Its name, its id, or the beginning of its id
    container: String,
    name: String,
}

impl Rename {
    pub fn main(self, store: &Store) -> Result<()> {
        let container = find::find(store, &self.container)?;
        record::rename(store, &container.id, &self.name)
            .with_context(|| format!("cannot rename {}", container.name))
    }
}

//! `rubber tag`: another name for an image.

use crate::image::{Store, builtin, find, name::Name};
use anyhow::{Context, Result, ensure};

/// Give an image another name
#[derive(clap::Args)]
pub struct Tag {
    /// Its name or its id
    image: String,
    /// The name it gets as well
    #[arg(value_name = "NAME")]
    other: String,
}

impl Tag {
    pub fn main(self, store: &Store) -> Result<()> {
        let other = Name::parse(&self.other)?;
        ensure!(
            other.as_str() != builtin::NAME && !find::is_nameless(&other),
            "the name {other} is taken: rubber makes it itself; choose another"
        );
        let locked = store.lock()?;
        let name = find::find(store, &self.image)?;
        let config = store.config_bytes(&name)?.with_context(|| format!("no image \"{name}\""))?;
        locked.write_config(&other, &config).map_err(|error| store.explain(error))
    }
}

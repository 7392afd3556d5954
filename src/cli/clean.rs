//! `rubber clean`: remove what killed containers and imports have left.

use crate::{
    container::{record, volume},
    image::{self, Store},
};
use anyhow::Result;
use std::io::{Write, stdout};

/// Remove what killed containers and imports have left behind
///
/// Only what their records name, never across a mount, and nothing of what still runs.
/// Every `rubber run` does this too.
#[derive(clap::Args)]
pub struct Clean {}

impl Clean {
    pub fn main(self, store: &Store) -> Result<()> {
        let containers = record::sweep(store).unwrap_or_else(|error| vec![Err(error)]);
        let containers = containers.into_iter().map(|swept| swept.map(|id| format!("container {id}")));
        let images = image::sweep(store).unwrap_or_else(|error| vec![Err(error)]);
        let files = images.into_iter().chain(volume::sweep(store));
        let files = files.map(|swept| swept.map(|path| path.display().to_string()));
        let mut failed = Ok(());
        for swept in containers.chain(files) {
            match swept {
                Ok(what) => writeln!(stdout(), "removed {what}")?,
                // The others can go all the same.
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed
    }
}

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
        let mut failed = Ok(());
        for swept in record::sweep(store)? {
            match swept {
                Ok(id) => writeln!(stdout(), "removed container {id}")?,
                // The others can go all the same.
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        for path in image::sweep(store)?.into_iter().chain(volume::sweep(store)?) {
            writeln!(stdout(), "removed {}", path.display())?;
        }
        failed
    }
}

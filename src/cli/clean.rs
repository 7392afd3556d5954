//! `rubber clean`: remove what killed containers and imports have left.

use crate::{
    container::record,
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
        for id in record::sweep(store)? {
            writeln!(stdout(), "removed container {id}")?;
        }
        for path in image::sweep(store)? {
            writeln!(stdout(), "removed {}", path.display())?;
        }
        Ok(())
    }
}

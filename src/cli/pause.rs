//! `rubber pause` and `rubber unpause`: containers that stand still.

use super::end::each;
use crate::{
    container::{
        find::{self, State},
        pause,
    },
    image::Store,
};
use anyhow::{Result, bail};

/// Stop all processes of containers where they are, so that none of them can tell
#[derive(clap::Args)]
pub struct Pause {
    /// Names, ids, or beginnings of ids
    #[arg(required = true)]
    containers: Vec<String>,
}

/// Let paused containers go on
#[derive(clap::Args)]
pub struct Unpause {
    /// Names, ids, or beginnings of ids
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Pause {
    pub fn main(self, store: &Store) -> Result<()> {
        each(&self.containers, |word| {
            let container = find::find(store, word)?;
            match container.state {
                State::Running(_) => pause::freeze(&container)?,
                State::Paused(_) => bail!("container {word} is paused already"),
                _ => bail!("container {word} is not running ({})", container.state.word()),
            }
            super::line(&container.name)
        })
    }
}

impl Unpause {
    pub fn main(self, store: &Store) -> Result<()> {
        each(&self.containers, |word| {
            let container = find::find(store, word)?;
            match container.state {
                State::Paused(_) => pause::thaw(&container)?,
                _ => bail!("container {word} is not paused ({})", container.state.word()),
            }
            super::line(&container.name)
        })
    }
}

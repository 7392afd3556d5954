//! `rubber image`: the commands for images, as docker has them under one word.

use super::{history::History, images::Images, import::Import, inspect, rmi::Rmi, save::Save, tag::Tag};
use crate::{
    container,
    image::{
        self, Store, builtin, find,
        list::{human, size},
        name::Name,
    },
    show::columns::print,
};
use anyhow::Result;

/// The commands for images
#[derive(clap::Args)]
pub struct Image {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the images in the store
    Ls(Images),
    /// Make an image from an archive, or from a directory
    Import(Import),
    /// Write images as an archive that others read
    Save(Save),
    /// Give an image another name
    Tag(Tag),
    /// Show how an image was made
    History(History),
    /// Print all that is known of images, as JSON
    Inspect {
        /// Names, ids, or as in docker-archive:FILE
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Remove images
    Rm(Rmi),
    /// Remove the images that nobody has named, and what killed imports have left
    Prune {
        /// And all those that no container uses
        #[arg(short, long)]
        all: bool,
    },
}

impl Image {
    pub fn main(self, store: &Store) -> Result<()> {
        match self.command {
            Command::Ls(images) => images.main(store),
            Command::Import(import) => import.main(store),
            Command::Save(save) => save.main(store),
            Command::Tag(tag) => tag.main(store),
            Command::History(history) => history.main(store),
            Command::Inspect { names } => inspect::images(store, &names),
            Command::Rm(rmi) => rmi.main(store),
            Command::Prune { all } => prune(store, all),
        }
    }
}

fn prune(store: &Store, all: bool) -> Result<()> {
    let before = layers_size(store)?;
    let used: Vec<String> =
        container::find::all(store)?.into_iter().map(|container| container.record.image).collect();
    let goes = |name: &Name| find::is_nameless(name) || all && name.as_str() != builtin::NAME;
    let locked = store.lock()?;
    let mut failed = Ok(());
    for name in store.names()?.into_iter().filter(|name| goes(name) && !used.contains(&name.to_string())) {
        match locked.remove_image(&name) {
            Ok(_) => print(&format!("removed {name}\n"))?,
            Err(error) => failed = failed.and(Err(store.explain(error))),
        }
    }
    drop(locked);
    for swept in image::sweep(store)? {
        match swept {
            Ok(path) => print(&format!("removed {}\n", path.display()))?,
            Err(error) => failed = failed.and(Err(error)),
        }
    }
    print(&format!("freed {}\n", human(before.saturating_sub(layers_size(store)?))))?;
    failed
}

/// Bytes on disk of all layers and blobs.
fn layers_size(store: &Store) -> Result<u64> {
    let parts = ["layers", "blobs", "tmp"].map(|part| store.root().join(part));
    size(&parts.into_iter().filter(|part| part.is_dir()).collect::<Vec<_>>())
}

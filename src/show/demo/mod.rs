//! The demos: the same command at a layer's stage and at the one before, side by side.
//!
//! Reading order: `beats` (what is shown and what it promises; data), `bundle` (the chapter without a layer), `stand_in`
//! (where it may break things), `side` (runs a beat at one stage), `compare` (what differs, and whether it is as
//! promised), `plain` (told line by line), `screen` (laid out for a projector), `keys` (the instructor's), `cast` (a
//! recording).

mod beats;
mod bundle;
mod cast;
mod compare;
mod keys;
mod plain;
mod screen;
pub mod service;
mod side;
mod stand_in;
mod terminal;

pub use beats::{all, find};
pub use cast::record;
pub use keys::present;
pub use plain::{check, tell};
pub use terminal::is_fit;

use crate::{
    doctor,
    ids::Ids,
    image::{self, Image, Pull, Store, elf},
    layers::Layer,
    narrate,
};
use anyhow::{Context, Result};
use nix::sys::statfs::{OVERLAYFS_SUPER_MAGIC, statfs};
use std::{fs::File, path::Path};

/// What every beat needs to run.
pub struct Ground {
    store: Store,
    /// What containers are made of: busybox, or else programs borrowed from this machine.
    image: Image,
    /// More files for the stand-in host: what rubber itself is linked with, if it is not static.
    libraries: Option<Image>,
    chapters: Vec<doctor::Chapter>,
    /// Asked out here: within the stand-in host everybody is.
    is_roots: bool,
}

impl Ground {
    /// Makes the image, if there is none yet, which is told.
    pub fn prepare(store: Store) -> Result<Ground> {
        let busybox = image::resolve(&store, "busybox", Pull::Never);
        let image = busybox.or_else(|error| {
            narrate::warn(format_args!("{error:#}\n        going on with programs of this machine"));
            image::resolve(&store, "borrowed", Pull::Never)
        })?;
        let own = File::open("/proc/self/exe").context("cannot find our own binary: is /proc mounted?")?;
        let is_dynamic = elf::interpreter(&mut { own }).is_some();
        let libraries =
            is_dynamic.then(|| image::resolve(&store, image::builtin::NAME, Pull::Never)).transpose()?;
        let chapters = doctor::examine(Some(store.root()), doctor::Images::Blobs).chapters;
        Ok(Ground { store, image, libraries, chapters, is_roots: stand_in::is_able() })
    }

    /// What this machine lacks for a beat, or for all of its chapter.
    fn why_not(&self, chapter: &beats::Chapter, beat: usize) -> Option<String> {
        let root_only = chapter.beats[beat].root_only.clone().filter(|_| !stand_in::is_able());
        root_only.or_else(|| chapter.layer.and_then(|layer| self.lacks(layer)))
    }

    fn lacks(&self, layer: Layer) -> Option<String> {
        if layer == Layer::User && !stand_in::is_able() && Ids::of_caller() == Ids::One {
            return Some(
                "an ordinary user has one id here, and nobody to become (rubber doctor: ids)".into(),
            );
        }
        if layer == Layer::Userns && !stand_in::is_able() {
            return Some("an ordinary user's container is in a user namespace at every stage".into());
        }
        let is_overlay =
            |store: &Path| statfs(store).is_ok_and(|about| about.filesystem_type() == OVERLAYFS_SUPER_MAGIC);
        if layer == Layer::Userns && is_overlay(self.store.root()) {
            return Some("the store is on an overlay, whose files cannot be shown with other owners".into());
        }
        let found = self.chapters.iter().find(|found| found.name == layer.name())?;
        (!found.runs).then(|| found.why.clone())
    }

    fn layers_directory(&self) -> &Path {
        self.image.layers.first().and_then(|layer| layer.parent()).unwrap_or(self.store.root())
    }
}

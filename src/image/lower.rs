//! What the layers below have of a directory that a layer fills and does not list: it shows as it was there.

use super::{
    attributes::Attributes,
    below::{Below, DIRECTORY},
    whiteout,
};
use anyhow::{Result, ensure};
use nix::{
    errno::Errno,
    fcntl::openat,
    sys::stat::{Mode, fstat},
};
use std::{
    fs::File,
    path::{Path, PathBuf},
};

/// Each directory is looked for in up to five hundred layers. No honest layer leaves so many out.
const MOST: u32 = 100_000;

#[derive(Default)]
pub struct Lower {
    /// The lowest first.
    layers: Vec<PathBuf>,
    asked: u32,
}

/// What one layer has of a name.
enum Seen {
    Directory(File),
    /// Nothing, and the layers below do not show there.
    Hidden,
    Nothing,
}

impl Lower {
    pub fn new(layers: Vec<PathBuf>) -> Lower {
        Lower { layers, asked: 0 }
    }

    /// Owner, mode, time and extended attributes of the directory `path`, as these layers show it together; `None` if
    /// there is none.
    pub fn attributes(&mut self, path: &Path) -> Result<Option<Attributes>> {
        if self.layers.is_empty() {
            return Ok(None);
        }
        self.asked += 1;
        ensure!(self.asked <= MOST, "more than {MOST} directories that it fills and does not list");
        for layer in self.layers.iter().rev() {
            match look(&Below::open(layer)?, path)? {
                Seen::Directory(found) => return Attributes::of(&fstat(&found)?, Some(&found)).map(Some),
                Seen::Hidden => break,
                Seen::Nothing => continue,
            }
        }
        Ok(None)
    }
}

/// One name after the other, as overlayfs does. A link is no way on: the directory of the layer above covers it.
fn look(layer: &Below, path: &Path) -> Result<Seen> {
    let mut at = File::from(openat(layer.root(), ".", DIRECTORY, Mode::empty())?);
    let mut is_opaque = false;
    for name in path {
        at = match openat(&at, name, DIRECTORY, Mode::empty()) {
            Ok(found) => found.into(),
            Err(Errno::ENOENT) if !is_opaque => return Ok(Seen::Nothing),
            // A file, a link or a whiteout; or closed to us, who are not root.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES) => return Ok(Seen::Hidden),
            Err(errno) => return Err(errno.into()),
        };
        is_opaque |= whiteout::is_opaque(&at, &[whiteout::TRUSTED, whiteout::USER]);
    }
    Ok(Seen::Directory(at))
}

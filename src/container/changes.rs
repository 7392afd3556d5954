//! What a container has changed in its root: its upper layer, read against the image.

use super::{find::Container, inside};
use crate::image::{
    below::{self, Below, DIRECTORY, Way},
    whiteout,
};
use anyhow::{Context, Result};
use nix::{
    fcntl::openat,
    sys::stat::{FileStat, Mode, SFlag},
};
use std::{
    ffi::OsString,
    fs::File,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Added,
    Changed,
    Deleted,
}

pub struct Change {
    pub kind: Kind,
    pub path: PathBuf,
}

/// All of them, by path. This process becomes the container's root, as far as files go.
pub fn of(container: &Container) -> Result<Vec<Change>> {
    let config = &container.record.config;
    inside::become_its_root(config)?;
    // Opened before the image is mounted over it.
    let upper = inside::upper(container)?;
    let walk = Walk { upper, image: inside::image(config)?, opaque: inside::opaque(config), changes: vec![] };
    let mut changes = walk.run()?;
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(changes)
}

struct Walk {
    upper: Below,
    image: Below,
    opaque: &'static str,
    changes: Vec<Change>,
}

impl Walk {
    fn run(mut self) -> Result<Vec<Change>> {
        let mut way = Way::from(self.upper.directory(Path::new(""))?);
        let mut left = vec![self.look_into(way.here(), way.path(), true)?];
        while let Some(directories) = left.last_mut() {
            let Some((name, in_image)) = directories.pop() else {
                left.pop();
                way.leave()?;
                continue;
            };
            // It may have been removed meanwhile.
            let Ok(directory) = openat(way.here(), name.as_os_str(), DIRECTORY, Mode::empty()) else {
                continue;
            };
            let path = way.path().join(&name);
            left.push(self.look_into(&directory, &path, in_image)?);
            way.enter(&name, directory)?;
        }
        Ok(self.changes)
    }

    /// Tells of all that is in a directory of the upper layer, and returns the directories among it, each with whether
    /// the image has one of that name.
    fn look_into(
        &mut self,
        directory: &OwnedFd,
        path: &Path,
        in_image: bool,
    ) -> Result<Vec<(OsString, bool)>> {
        let image = match in_image {
            true => Some(self.image.directory(path).with_context(|| format!("{path:?} of the image"))?),
            false => None,
        };
        if let Some(image) = &image {
            self.hidden(directory, image, path)?;
        }
        let mut directories = Vec::new();
        for name in below::names(directory)? {
            let Some(found) = below::look(directory, &name)? else { continue };
            let before = image.as_ref().map(|image| below::look(image, &name)).transpose()?.flatten();
            self.tell(path.join(&name), &found, before);
            if below::kind(&found) == SFlag::S_IFDIR {
                let was = before.is_some_and(|stat| below::kind(&stat) == SFlag::S_IFDIR);
                directories.push((name, was));
            }
        }
        Ok(directories)
    }

    fn tell(&mut self, path: PathBuf, found: &FileStat, before: Option<FileStat>) {
        let kind = match (whiteout::is_whiteout(found), before) {
            // Of what was never there, nothing is gone.
            (true, None) => return,
            (true, Some(_)) => Kind::Deleted,
            (false, Some(_)) => Kind::Changed,
            (false, None) => Kind::Added,
        };
        self.changes.push(Change { kind, path: Path::new("/").join(path) });
    }

    /// A directory that was removed and made anew hides what the image has in it.
    fn hidden(&mut self, directory: &OwnedFd, image: &OwnedFd, path: &Path) -> Result<()> {
        let handle = File::from(openat(directory, ".", DIRECTORY, Mode::empty())?);
        if !whiteout::is_opaque(&handle, &[self.opaque]) {
            return Ok(());
        }
        for name in below::names(image)? {
            if below::look(directory, &name)?.is_none() {
                self.changes.push(Change { kind: Kind::Deleted, path: Path::new("/").join(path).join(name) });
            }
        }
        Ok(())
    }
}

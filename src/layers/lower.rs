//! The layers of an image as the lower directories of an overlay, however many there are.
//!
//! The options of a mount are a text that must fit into one page (mount(2)). The names of some forty layers do. Where
//! there are more each is held open, and /proc/self/fd has a short name for what is open.

use super::idmap;
use crate::{config::Config, sys};
use anyhow::Result;
use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::AsRawFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

/// What the names of the layers may take of the page; the rest of it is for upper, work and the words between.
const MOST: usize = 3400;

/// Whether they are too many for the overlay that the container mounts itself.
pub fn any_nameless(config: &Config) -> bool {
    are_many(config) && !idmap::any(config)
}

pub fn are_many(config: &Config) -> bool {
    let length: usize = config.image.iter().map(|layer| escape(layer).len() + 1).sum();
    length + 2 * escape(&config.dir).len() > MOST
}

pub fn hold(config: &Config) -> Result<()> {
    for layer in &config.image {
        let directory = sys::open_directory(layer)?;
        config.held.borrow_mut().insert(layer.clone(), directory);
    }
    sys::chdir(Path::new("/proc/self/fd"))
}

/// Nothing of the store may stay open in a process of the container.
pub fn let_go(config: &Config) -> Result<()> {
    for layer in &config.image {
        config.held.borrow_mut().remove(layer);
    }
    sys::chdir(Path::new("/"))
}

/// Does `mount` while all of them have names that fit.
pub fn named<T>(config: &Config, mount: impl FnOnce() -> Result<T>) -> Result<T> {
    if !are_many(config) {
        return mount();
    }
    hold(config)?;
    let mounted = mount();
    let_go(config)?;
    mounted
}

/// What stands behind `lowerdir=`: overlay wants the topmost layer first.
pub fn names(config: &Config) -> OsString {
    let held = config.held.borrow();
    let name = |layer: &PathBuf| match held.get(layer) {
        Some(open) => open.as_raw_fd().to_string().into(),
        None => escape(layer),
    };
    let names: Vec<OsString> = config.image.iter().rev().map(name).collect();
    names.join(OsStr::new(":"))
}

/// A colon ends a path here and a comma an option.
pub fn escape(path: &Path) -> OsString {
    let bytes = path.as_os_str().as_bytes();
    let escaped = |byte: &u8| if b":,\\".contains(byte) { vec![b'\\', *byte] } else { vec![*byte] };
    OsString::from_vec(bytes.iter().flat_map(escaped).collect())
}

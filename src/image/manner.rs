//! How an archive is unpacked: what for, whose the files become, and what its names mean.

use super::lower::Lower;
use anyhow::{Result, bail, ensure};
use nix::libc::ino_t;
use std::{
    collections::HashSet,
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};

/// What is to be said of what was unpacked.
#[derive(Default)]
pub struct LeftOut {
    /// Not taken over from the archive, for one line to the user.
    pub devices: Vec<String>,
    pub owners: u64,
    /// The directories that the archive fills and did not list by then, by inode number; the first MOST_UNLISTED.
    pub unlisted: HashSet<ino_t>,
    /// It has names that would mean something else in a layer.
    pub has_marks: bool,
}

pub(super) const MOST_UNLISTED: usize = 100_000;

impl LeftOut {
    /// Whether the tree depends on nothing but the archive.
    pub fn lists_all(&self) -> bool {
        self.unlisted.is_empty()
    }

    /// What the tree is known by whose archive has this digest: by another one for a root filesystem of which the same
    /// archive, as a layer of an image, would make another tree.
    pub fn name_of(&self, purpose: Purpose, digest: String) -> String {
        match purpose == Purpose::Image && (self.has_marks || !self.devices.is_empty()) {
            true => super::digest(format!("root filesystem {digest}").as_bytes()),
            false => digest,
        }
    }
}

/// What becomes of the entries.
pub struct Manner {
    pub owner: Owner,
    pub purpose: Purpose,
    /// How many parts of each name fall away, and what comes in their place.
    pub strip: usize,
    pub prefix: PathBuf,
    /// What the layers below have of the directories that are not listed here.
    pub lower: Lower,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Owner {
    Archived,
    /// Everything belongs to this user and group. Who owned it before must not come by the new owner's power:
    /// setuid bits stay only where the owner does.
    Given(u32, u32),
    /// The same, and whoever made the file is not to be trusted with setuid bits at all.
    Caller(u32, u32),
}

#[derive(Clone, Copy, PartialEq)]
pub enum Purpose {
    /// A root filesystem: a later entry replaces an earlier one of its name, whatever both are.
    Image,
    /// A layer of an image: some names stand for what is gone (see `whiteout`).
    Layer,
    /// Into a directory that is somebody's: its directories stay as they are, and only files are replaced.
    Copy,
    /// The same, and the uppermost entry must be a directory.
    CopyDirectory,
}

impl Manner {
    pub fn of(purpose: Purpose) -> Manner {
        Manner { owner: Owner::Archived, purpose, strip: 0, prefix: PathBuf::new(), lower: Lower::default() }
    }

    /// For a layer on top of those unpacked in `below`, the lowest first.
    pub fn of_layer(below: Vec<PathBuf>) -> Manner {
        Manner { lower: Lower::new(below), ..Manner::of(Purpose::Layer) }
    }

    pub(super) fn place(&self, path: PathBuf) -> PathBuf {
        // `join` with an empty path would end the name with a slash.
        path.components().skip(self.strip).fold(self.prefix.clone(), |path, part| path.join(part))
    }

    pub(super) fn copies(&self) -> bool {
        matches!(self.purpose, Purpose::Copy | Purpose::CopyDirectory)
    }
}

/// The path that an entry's name means below the root, `.` and repeated slashes taken out, read from its byte `start`.
pub(super) fn inside(name: &[u8], start: usize) -> Result<PathBuf> {
    ensure!(!name.is_empty(), "the name is empty");
    ensure!(!name.contains(&0), "the name has a NUL in it");
    let mut path = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(&name[start..])).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => (),
            Component::ParentDir => bail!("a name with .. in it may lead outside the image: refused"),
            Component::RootDir | Component::Prefix(_) => {
                bail!("an absolute name leads outside the image: refused")
            }
        }
    }
    Ok(path)
}

/// 2^32-1 is "no change" to chown(2), and what lies beyond would be cut down to some other user.
pub(super) fn id(number: i64) -> Result<u32> {
    match u32::try_from(number) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => bail!("its owner {number} is no user or group id"),
    }
}

/// A name as it may be printed: control characters escaped, and not longer than a line.
pub fn shown(name: &[u8]) -> String {
    let text = format!("{:?}", String::from_utf8_lossy(&name[..name.len().min(500)]));
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…\"", &text[..end]),
        None => text,
    }
}

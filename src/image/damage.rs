//! Whether the files of an unpacked layer are still what its archive made of them.
//!
//! Nothing is written down of them when they are unpacked: the layer's blob says it all, and is known by its digest.
//! So it is unpacked once more, beside the other, and the two trees are compared.

use super::{
    assemble,
    attributes::Attributes,
    below::{self, Below, DIRECTORY},
    manifest::Descriptor,
    store::{Locked, Store},
    whiteout,
};
use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, readlinkat},
    libc::ino_t,
    sys::stat::{FileStat, Mode, SFlag, fstat, stat},
};
use std::{
    collections::{BTreeSet, HashSet},
    ffi::{OsStr, OsString},
    fs::File,
    io::{BufRead, BufReader},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

/// What is wrong with one name of a layer.
pub struct Damage {
    pub path: PathBuf,
    pub what: &'static str,
}

/// So many are told of one layer.
pub const MOST: usize = 20;

/// Unpacks the layer once more and looks for what is another file there. Writes down whether there was any: then
/// whoever gets the image again makes the layer anew.
///
/// `layers` are those of an image up to the one that is meant, unpacked, the lowest first.
pub fn of_layer(store: &Store, layer: &Descriptor, diff_id: &str, layers: &[PathBuf]) -> Result<Vec<Damage>> {
    let Some((unpacked, below)) = layers.split_last() else { return Ok(Vec::new()) };
    let locked = store.lock()?;
    let (_scratch, files, fresh) = assemble::unpack(&locked, layer, diff_id, below.to_vec(), &|_| Ok(()))?;
    let found = between(&files, unpacked, &fresh.unlisted)?;
    locked.tell(unpacked, &found)?;
    Ok(found)
}

/// What of the tree `found` is not as in `fresh`, which was just unpacked in a scratch directory. Its archive has not
/// listed the directories `unlisted`.
pub fn between(fresh: &Path, found: &Path, unlisted: &HashSet<ino_t>) -> Result<Vec<Damage>> {
    let began = stat(fresh.parent().unwrap_or(fresh)).with_context(|| format!("stat({fresh:?})"))?;
    // Of two files the one that was made first may have the later time, by some milliseconds.
    let mut walk =
        Walk { began: began.st_mtime - 1, unlisted, open: vec![PathBuf::new()], damages: Vec::new() };
    let (fresh, found) = (Below::open(fresh)?, Below::open(found)?);
    while let Some(path) = walk.open.pop().filter(|_| walk.damages.len() < MOST) {
        let (parent, name) = below::split(&path);
        let name = if name.is_empty() { OsStr::new(".") } else { &name };
        let (ours, theirs) = (fresh.directory(&parent)?, found.directory(&parent)?);
        let ours = One::look(&ours, name)?.with_context(|| format!("{path:?} vanished"))?;
        match One::look(&theirs, name)? {
            None => walk.damages.push(Damage { path, what: "is missing" }),
            Some(theirs) => {
                walk.compare(path.clone(), &ours, &theirs).with_context(|| format!("{path:?}"))?
            }
        }
    }
    walk.damages.truncate(MOST);
    Ok(walk.damages)
}

struct Walk<'a> {
    unlisted: &'a HashSet<ino_t>,
    /// When `fresh` was made, in seconds.
    began: i64,
    open: Vec<PathBuf>,
    damages: Vec<Damage>,
}

impl Walk<'_> {
    fn compare(&mut self, path: PathBuf, ours: &One, theirs: &One) -> Result<()> {
        let mut what = ours.differs(theirs)?;
        if what.is_none() && ours.is(SFlag::S_IFDIR) {
            let names = (ours.names()?, theirs.names()?);
            let added = names.1.difference(&names.0).map(|name| path.join(name));
            self.damages.extend(added.map(|path| Damage { path, what: "does not belong there" }));
            self.open.extend(names.0.iter().map(|name| path.join(name)));
            if names.0 != names.1 {
                return Ok(()); // that has changed its time as well
            }
        }
        // A directory that the archive does not list, or a whiteout, has the time at which it was made.
        let is_made_up = self.unlisted.contains(&ours.stat.st_ino)
            || (ours.stat.st_mtime >= self.began && (ours.is(SFlag::S_IFDIR) || ours.is(SFlag::S_IFCHR)));
        let (ours, mut theirs) = (ours.attributes()?, theirs.attributes()?);
        if is_made_up {
            theirs.mtime = ours.mtime;
        }
        if what.is_none() && ours != theirs {
            what = Some("has other attributes");
        }
        self.damages.extend(what.map(|what| Damage { path, what }));
        Ok(())
    }
}

/// A name, and where it is.
struct One<'a> {
    parent: &'a OwnedFd,
    name: &'a OsStr,
    stat: FileStat,
}

impl<'a> One<'a> {
    fn look(parent: &'a OwnedFd, name: &'a OsStr) -> Result<Option<One<'a>>> {
        Ok(below::look(parent, name)?.map(|stat| One { parent, name, stat }))
    }

    fn is(&self, kind: SFlag) -> bool {
        below::kind(&self.stat) == kind
    }

    /// How `found` is not as this one, apart from its attributes and from what is in a directory.
    fn differs(&self, found: &One) -> Result<Option<&'static str>> {
        let kind = below::kind(&self.stat);
        if kind != below::kind(&found.stat) || self.stat.st_rdev != found.stat.st_rdev {
            return Ok(Some("is something else"));
        }
        let has_changed = match kind {
            SFlag::S_IFLNK => readlinkat(self.parent, self.name)? != readlinkat(found.parent, found.name)?,
            SFlag::S_IFREG => match (self.open()?, found.open()?) {
                _ if self.stat.st_size != found.stat.st_size => true,
                (Some(file), Some(other)) => have_changed(&file, &other)?,
                _ => false,
            },
            SFlag::S_IFDIR => self.is_opaque()? != found.is_opaque()?,
            _ => false,
        };
        Ok(has_changed.then_some("was changed"))
    }

    /// Whether it hides what the layers below have in it.
    fn is_opaque(&self) -> Result<bool> {
        let directory = self.open()?;
        Ok(directory.is_some_and(|file| whiteout::is_opaque(&file, &[whiteout::TRUSTED, whiteout::USER])))
    }

    fn names(&self) -> Result<BTreeSet<OsString>> {
        let Some(directory) = self.open()? else { return Ok(BTreeSet::new()) };
        Ok(below::names(&directory.into())?.into_iter().collect())
    }

    fn attributes(&self) -> Result<Attributes> {
        let mut attributes = Attributes::of(&self.stat, self.open()?.as_ref())?;
        attributes.xattrs.sort();
        Ok(attributes)
    }

    /// A file or a directory, open to be read. `None` for others, and for what forbids an ordinary user, who owns it,
    /// to read it.
    fn open(&self) -> Result<Option<File>> {
        let file = match below::kind(&self.stat) {
            SFlag::S_IFREG => OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
            SFlag::S_IFDIR => DIRECTORY,
            _ => return Ok(None),
        };
        match openat(self.parent, self.name, file, Mode::empty()) {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::EACCES) => Ok(None),
            Err(errno) => Err(errno).context("openat()"),
        }
    }
}

fn have_changed(file: &File, other: &File) -> Result<bool> {
    // One file under two names of a layer, or of the same blob twice.
    if below::key(&fstat(file)?) == below::key(&fstat(other)?) {
        return Ok(false);
    }
    let reader = |file| BufReader::with_capacity(1 << 16, file);
    let (mut file, mut other) = (reader(file), reader(other));
    loop {
        let (ours, theirs) = (file.fill_buf().context("read()")?, other.fill_buf().context("read()")?);
        let count = ours.len().min(theirs.len());
        if ours[..count] != theirs[..count] {
            return Ok(true);
        }
        if count == 0 {
            return Ok(ours.len() != theirs.len());
        }
        file.consume(count);
        other.consume(count);
    }
}

/// The marks of layers that were found to be.
pub const DAMAGED: &str = "damaged";

impl Store {
    pub fn is_damaged(&self, layer: &Path) -> bool {
        self.note(DAMAGED, layer).exists()
    }
}

impl Locked<'_> {
    /// Writes down whether the layer has damages.
    pub fn tell(&self, layer: &Path, found: &[Damage]) -> Result<()> {
        match found.is_empty() {
            true => self.unmark(layer),
            false => self.write(&self.store().note(DAMAGED, layer), b""),
        }
    }

    pub fn unmark(&self, layer: &Path) -> Result<()> {
        self.remove_note(DAMAGED, layer)
    }
}

//! What was in a layer that was made here, for the day when its files are to be looked at.
//!
//! A layer that came has its blob, which says it all: see `damage`. One that was made here (of the archive of a root
//! filesystem, of a container, of rubber itself) has none, so what was made is written down: for each name its kind, a
//! digest of what is in it and one of its attributes, in the order in which the tree is walked.

use super::{
    attributes::Attributes,
    below::{self, Below, DIRECTORY},
    damage::{Damage, MOST},
    save,
    store::{Locked, Store, make_private, sync_directory},
    stream, whiteout,
};
use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, readlinkat},
    sys::stat::{FileStat, Mode, SFlag},
};
use sha2::{Digest, Sha256};
use std::{
    cmp::Ordering,
    ffi::{OsStr, OsString},
    fs::File,
    io::{BufRead, BufReader, BufWriter, ErrorKind, Write},
    iter::Peekable,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
    vec::IntoIter,
};

pub const CONTENTS: &str = "contents";

impl Locked<'_> {
    /// Writes down what is in the layer, in place of what was there before.
    pub fn write_contents(&self, layer: &Path) -> Result<()> {
        let path = self.store().note(CONTENTS, layer);
        let directory = self.store().root().join(CONTENTS);
        make_private(&directory)?;
        let mut file = tempfile::NamedTempFile::new_in(self.store().root().join("tmp"))?;
        let mut out = BufWriter::with_capacity(1 << 16, file.as_file_mut());
        for one in Walk::of(layer)? {
            one?.write(&mut out)?;
        }
        out.flush()?;
        drop(out);
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error).with_context(|| format!("rename({path:?})"))?;
        sync_directory(&directory)
    }

    /// The same for the layers of images made here that came with an image whose blobs are no more.
    pub fn write_missing_contents(&self) -> Result<()> {
        let store = self.store();
        let known = save::known(store)?;
        for name in store.names()? {
            let Some(config) = store.image(&name)? else { continue };
            for (diff_id, layer) in config.rootfs().diff_ids().iter().zip(store.layer_paths(&config)?) {
                let is_missing = !known.contains_key(diff_id) && !store.note(CONTENTS, &layer).exists();
                if is_missing && layer.is_dir() && !store.is_damaged(&layer) {
                    self.write_contents(&layer)?;
                }
            }
        }
        Ok(())
    }
}

/// What of the layer is not as it was written down; `None` where nothing was. Writes down whether there is any.
pub fn damages(store: &Store, layer: &Path) -> Result<Option<Vec<Damage>>> {
    let locked = store.lock()?;
    let path = store.note(CONTENTS, layer);
    let written = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => Written(BufReader::new(file.with_context(|| format!("open({path:?})"))?)),
    };
    let found = between(written.peekable(), Walk::of(layer)?.peekable())
        .with_context(|| format!("{path:?} and {layer:?}"))?;
    locked.tell(layer, &found)?;
    Ok(Some(found))
}

/// Both are in the same order: one walk over the two tells what only one of them has.
fn between(mut was: Peekable<Written>, mut is: Peekable<Walk>) -> Result<Vec<Damage>> {
    let mut damages: Vec<Damage> = Vec::new();
    while damages.len() < MOST {
        let order = match (was.peek(), is.peek()) {
            (None, None) => break,
            (Some(Ok(was)), Some(Ok(is))) => was.path.cmp(&is.path),
            (Some(Err(_)), _) | (Some(_), None) => Ordering::Less,
            (_, Some(Err(_))) | (None, Some(_)) => Ordering::Greater,
        };
        let (path, what) = match order {
            Ordering::Less => (was.next().context("it has an end")??.path, Some("is missing")),
            Ordering::Greater => (is.next().context("it has an end")??.path, Some("does not belong there")),
            Ordering::Equal => {
                let (Some(was), Some(is)) = (was.next().transpose()?, is.next().transpose()?) else { break };
                (is.path.clone(), was.differs(&is))
            }
        };
        // Of a directory that is not there, nothing else is either.
        let is_told = |damage: &Damage| order != Ordering::Equal && path.starts_with(&damage.path);
        if let Some(what) = what
            && !damages.last().is_some_and(|last| last.what == what && is_told(last))
        {
            damages.push(Damage { path, what });
        }
    }
    Ok(damages)
}

/// One name in a layer.
struct One {
    path: PathBuf,
    /// The digests of what a file has in it, where a link leads, which device it is; and of owner, mode, time and
    /// extended attributes.
    words: [String; 3],
}

impl One {
    fn look(parent: &OwnedFd, name: &OsStr, path: PathBuf, stat: &FileStat) -> Result<One> {
        let file = open(parent, name, stat)?;
        let mut attributes = Attributes::of(stat, file.as_ref())?;
        attributes.xattrs.sort();
        let (owner, time) = (attributes.owner, attributes.mtime);
        let text = format!("{owner:?} {:o} {time:?} {:?}", attributes.mode, attributes.xattrs);
        let content = match (below::kind(stat), &file) {
            (SFlag::S_IFREG, Some(file)) => {
                let mut sha256 = Sha256::new();
                stream::add_all(file, &mut sha256).context("read()")?;
                stream::written(&sha256.finalize())
            }
            (SFlag::S_IFDIR, Some(file)) => {
                whiteout::is_opaque(file, &[whiteout::TRUSTED, whiteout::USER]).to_string()
            }
            (SFlag::S_IFLNK, _) => stream::digest(readlinkat(parent, name)?.as_bytes()),
            _ => stat.st_rdev.to_string(),
        };
        let kind = format!("{:o}", below::kind(stat).bits());
        Ok(One { path, words: [kind, content, stream::digest(text.as_bytes())] })
    }

    /// As `Written` reads it. No name has a NUL in it.
    fn write(&self, out: &mut impl Write) -> Result<()> {
        write!(out, "{} ", self.words.join(" "))?;
        out.write_all(self.path.as_os_str().as_bytes())?;
        Ok(out.write_all(b"\0")?)
    }

    fn differs(&self, is: &One) -> Option<&'static str> {
        let told = ["is something else", "was changed", "has other attributes"];
        let mut words = self.words.iter().zip(&is.words).zip(told);
        words.find(|((was, is), _)| was != is).map(|(_, what)| what)
    }
}

/// A file or a directory, open to be read; `None` for others, and for what an ordinary user may not read.
fn open(parent: &OwnedFd, name: &OsStr, stat: &FileStat) -> Result<Option<File>> {
    let how = match below::kind(stat) {
        SFlag::S_IFREG => OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC,
        SFlag::S_IFDIR => DIRECTORY,
        _ => return Ok(None),
    };
    match openat(parent, name, how, Mode::empty()) {
        Ok(file) => Ok(Some(file.into())),
        Err(Errno::EACCES) => Ok(None),
        Err(errno) => Err(errno).context("openat()"),
    }
}

/// Every name in a tree, a directory before what is in it, and these in order: the order that paths have.
struct Walk {
    root: Below,
    /// The directories on the way, and what is still to come of each.
    open: Vec<(PathBuf, IntoIter<OsString>)>,
}

impl Walk {
    fn of(layer: &Path) -> Result<Walk> {
        Ok(Walk {
            root: Below::open(layer)?,
            open: vec![(PathBuf::new(), vec![OsString::from(".")].into_iter())],
        })
    }

    fn look(&mut self, parent: &Path, name: &OsStr) -> Result<Option<One>> {
        let directory = self.root.directory(parent)?;
        let Some(stat) = below::look(&directory, name)? else { return Ok(None) };
        let path = if name == "." { PathBuf::new() } else { parent.join(name) };
        let one = One::look(&directory, name, path.clone(), &stat).with_context(|| format!("{path:?}"))?;
        if below::kind(&stat) == SFlag::S_IFDIR {
            let mut names = match self.root.directory(&path) {
                // Closed to its owner too, who is no root; or deeper than a path can say, which no honest image is.
                Err(Errno::EACCES | Errno::ENAMETOOLONG) => Vec::new(),
                at => below::names(&at?).or_else(when_closed)?,
            };
            names.sort();
            self.open.push((path, names.into_iter()));
        }
        Ok(Some(one))
    }
}

fn when_closed(error: anyhow::Error) -> Result<Vec<OsString>> {
    match error.downcast_ref() == Some(&Errno::EACCES) {
        true => Ok(Vec::new()),
        false => Err(error),
    }
}

impl Iterator for Walk {
    type Item = Result<One>;

    fn next(&mut self) -> Option<Result<One>> {
        loop {
            let (parent, names) = self.open.last_mut()?;
            let Some(name) = names.next() else {
                self.open.pop();
                continue;
            };
            let parent = parent.clone();
            match self.look(&parent, &name).transpose() {
                None => continue, // it has vanished
                one => return one,
            }
        }
    }
}

/// What `One::write` has written.
struct Written(BufReader<File>);

impl Written {
    fn read(&mut self) -> Result<Option<One>> {
        let mut bytes = Vec::new();
        if self.0.read_until(0, &mut bytes)? == 0 {
            return Ok(None);
        }
        let is_whole = bytes.pop_if(|byte| *byte == 0).is_some();
        let mut words = bytes.splitn(4, |byte| *byte == b' ');
        let mut word = || words.next().filter(|_| is_whole).context("the list is cut off");
        let mut text = || Ok::<_, anyhow::Error>(String::from_utf8_lossy(word()?).into_owned());
        let words = [text()?, text()?, text()?];
        Ok(Some(One { path: OsStr::from_bytes(word()?).into(), words }))
    }
}

impl Iterator for Written {
    type Item = Result<One>;

    fn next(&mut self) -> Option<Result<One>> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_has_the_order_of_paths() {
        let place = tempfile::tempdir().unwrap();
        for name in ["a/b", "a-b", "a", "b/c/d", "b.c", "a/b.c"] {
            std::fs::create_dir_all(place.path().join(name)).unwrap();
        }
        let paths: Vec<_> = Walk::of(place.path()).unwrap().map(|one| one.unwrap().path).collect();
        assert!(paths.is_sorted() && paths.len() == 9, "{paths:?}");
    }
}

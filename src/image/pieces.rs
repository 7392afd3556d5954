//! The files of an archive of images, wherever they are: in a directory, in a file that can be read at any place, or
//! gone by in a stream (then the store has them as blobs).

use super::{
    below::Below,
    blobs::{self, Blob},
    manifest::MOST_BYTES,
    store::Store,
    tape::{Member, Tape},
};
use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};
use tar::EntryType;

const DAMAGED: &str = "the archive is cut off or damaged";

/// An archive of more files than this is no archive of images.
const MOST_FILES: usize = 100_000;

pub enum Pieces<'a> {
    Directory(Below),
    File(File, Index),
    Stream(Stream<'a>),
}

/// Where in an archive each file begins, and its size.
pub type Index = HashMap<PathBuf, At>;

pub enum At {
    Bytes(u64, u64),
    Link(PathBuf),
}

pub struct Stream<'a> {
    store: &'a Store,
    /// The tables of contents.
    small: HashMap<PathBuf, Vec<u8>>,
    blobs: HashMap<PathBuf, Blob>,
    links: HashMap<PathBuf, PathBuf>,
}

impl<'a> Pieces<'a> {
    /// A plain archive.
    pub fn of_file(mut file: File) -> Result<Pieces<'a>> {
        file.rewind()?;
        let length = file.metadata()?.len();
        let mut index = Index::new();
        let mut tape = Tape::new(BufReader::new(&file));
        while let Some(member) = tape.next().context(DAMAGED)? {
            ensure!(index.len() < MOST_FILES, "it has more than {MOST_FILES} files");
            let at = match member.kind {
                EntryType::Regular | EntryType::Continuous => {
                    let (at, name) = (tape.position(), named(&member));
                    ensure!(member.size <= length.saturating_sub(at), "the archive is cut off in {name:?}");
                    At::Bytes(at, member.size)
                }
                EntryType::Symlink | EntryType::Link => At::Link(leads_to(&member)?),
                _ => continue,
            };
            index.insert(named(&member), at);
            tape.leap()?;
        }
        Ok(Pieces::File(file, index))
    }

    /// Reads it to its end, and puts all that could belong to an image into the store.
    pub fn of_stream(store: &'a Store, tar: impl Read) -> Result<Pieces<'a>> {
        let stream = Stream { store, small: HashMap::new(), blobs: HashMap::new(), links: HashMap::new() };
        let mut pieces = Pieces::Stream(stream);
        match pieces.fill(tar) {
            Ok(()) => Ok(pieces),
            Err(error) => pieces.used(store, |_| Err(error)),
        }
    }

    fn fill(&mut self, tar: impl Read) -> Result<()> {
        let Pieces::Stream(stream) = self else { return Ok(()) };
        let mut tape = Tape::new(BufReader::with_capacity(1 << 16, tar));
        while let Some(member) = tape.next().context(DAMAGED)? {
            let count = stream.small.len() + stream.blobs.len() + stream.links.len();
            ensure!(count < MOST_FILES, "it has more than {MOST_FILES} files");
            match member.kind {
                EntryType::Regular | EntryType::Continuous => {
                    stream.take(named(&member), &mut tape.content(), member.size)?;
                }
                EntryType::Symlink | EntryType::Link => {
                    stream.links.insert(named(&member), leads_to(&member)?);
                }
                _ => continue,
            }
        }
        Ok(())
    }

    /// Does something with what is in it, and lets nothing of it stay that no image needs then.
    pub fn used<T>(self, store: &Store, work: impl FnOnce(&Pieces) -> Result<T>) -> Result<T> {
        let done = work(&self);
        let brought = self.brought();
        let dropped = if brought.is_empty() { Ok(()) } else { store.lock()?.drop_blobs(brought) };
        let done = done?;
        dropped.map(|()| done)
    }

    /// A file of text; `None` where there is none of that name.
    pub fn small(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some((source, size)) = self.open(name)? else { return Ok(None) };
        ensure!(size <= MOST_BYTES, "its {name:?} has {size} bytes: more than {MOST_BYTES} are refused");
        let mut bytes = Vec::new();
        source.take(MOST_BYTES).read_to_end(&mut bytes).with_context(|| format!("cannot read {name:?}"))?;
        Ok(Some(bytes))
    }

    /// The file and its size in bytes.
    pub fn open(&self, name: &str) -> Result<Option<(Box<dyn Read + '_>, u64)>> {
        self.open_path(&inner(Path::new(name)), 0)
    }

    fn open_path(&self, name: &Path, links: usize) -> Result<Option<(Box<dyn Read + '_>, u64)>> {
        ensure!(links < 10, "its {name:?} is a link that leads to itself");
        let link = match self {
            Pieces::Directory(below) => {
                let file = match below.file(name) {
                    Err(error) if is_missing(&error) => return Ok(None),
                    file => file?,
                };
                let size = file.metadata()?.len();
                return Ok(Some((Box::new(file), size)));
            }
            Pieces::File(file, index) => match index.get(name) {
                Some(At::Bytes(position, size)) => {
                    let mut file = file;
                    file.seek(SeekFrom::Start(*position))?;
                    return Ok(Some((Box::new(file.take(*size)), *size)));
                }
                Some(At::Link(target)) => Some(target),
                None => None,
            },
            Pieces::Stream(stream) => {
                if let Some(bytes) = stream.small.get(name) {
                    return Ok(Some((Box::new(&bytes[..]), bytes.len() as u64)));
                }
                if let Some(blob) = stream.blobs.get(name) {
                    return Ok(Some((Box::new(blob.again()?), blob.size)));
                }
                stream.links.get(name)
            }
        };
        match link {
            Some(target) => self.open_path(target, links + 1),
            None => Ok(None),
        }
    }

    /// The blobs that came with it and that nobody may need.
    fn brought(self) -> Vec<String> {
        match self {
            Pieces::Stream(stream) => stream.blobs.into_values().map(|blob| blob.digest).collect(),
            _ => Vec::new(),
        }
    }
}

impl Stream<'_> {
    fn take(&mut self, name: PathBuf, entry: &mut impl Read, size: u64) -> Result<()> {
        let is_table =
            ["index.json", "manifest.json", "oci-layout"].iter().any(|table| name == Path::new(table));
        if is_table {
            let mut bytes = Vec::new();
            entry.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
            ensure!(
                bytes.len() as u64 <= MOST_BYTES,
                "its {name:?} has more than {MOST_BYTES} bytes: refused"
            );
            self.small.insert(name, bytes);
            return Ok(());
        }
        let extension = name.extension().unwrap_or_default();
        if name.starts_with("blobs/sha256") || extension == "tar" || extension == "json" {
            let mut blob = blobs::unknown(self.store)?;
            let copied = io::copy(entry, &mut blob).context("the archive is cut off or damaged");
            let copied = copied.map_err(|error| self.store.explain(error));
            let blob = match copied {
                Ok(there) if there == size => blob.finish()?,
                Ok(there) => {
                    blob.forget()?;
                    bail!("the archive is cut off: {there} of {size} bytes of {name:?} are there");
                }
                Err(error) => {
                    blob.forget()?;
                    return Err(error);
                }
            };
            self.blobs.insert(name, blob);
        }
        Ok(())
    }
}

/// A name without the `./` that some begin with.
pub fn inner(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}

fn named(member: &Member) -> PathBuf {
    inner(Path::new(OsStr::from_bytes(&member.name)))
}

/// The name in the archive that a link stands for: docker saves a layer once, and links.
fn leads_to(member: &Member) -> Result<PathBuf> {
    let (name, target) = (named(member), Path::new(OsStr::from_bytes(&member.link)));
    let mut path = match member.kind {
        EntryType::Symlink => name.parent().unwrap_or(Path::new("")).to_owned(),
        _ => PathBuf::new(),
    };
    for part in target.components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => (),
            Component::ParentDir if path.pop() => (),
            _ => bail!("the link {name:?} leads out of the archive: refused"),
        }
    }
    Ok(path)
}

fn is_missing(error: &anyhow::Error) -> bool {
    matches!(error.root_cause().downcast_ref(), Some(Errno::ENOENT | Errno::ENOTDIR))
}

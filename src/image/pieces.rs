//! The files of an archive of images, wherever they are: in a directory, in a file that can be read at any place, or
//! gone by in a stream (then the store has them as blobs).

use super::{
    below::Below,
    blobs::{self, Blob},
    manifest::MOST_BYTES,
    store::Store,
};
use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
};
use tar::{Archive, EntryType};

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
        let mut index = Index::new();
        let mut archive = Archive::new(&file);
        for entry in archive.entries_with_seek().context("not a tar archive")? {
            let entry = entry.context("the archive is cut off or damaged")?;
            ensure!(index.len() < MOST_FILES, "it has more than {MOST_FILES} files");
            let name = inner(&entry.path()?);
            let at = match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => {
                    At::Bytes(entry.raw_file_position(), entry.size())
                }
                EntryType::Symlink | EntryType::Link => At::Link(leads_to(&entry, &name)?),
                _ => continue,
            };
            index.insert(name, at);
        }
        Ok(Pieces::File(file, index))
    }

    /// Reads it to its end, and puts all that could belong to an image into the store.
    pub fn of_stream(store: &'a Store, tar: impl Read) -> Result<Pieces<'a>> {
        let mut stream =
            Stream { store, small: HashMap::new(), blobs: HashMap::new(), links: HashMap::new() };
        let mut archive = Archive::new(tar);
        for entry in archive.entries().context("not a tar archive")? {
            let mut entry = entry.context("the archive is cut off or damaged")?;
            let count = stream.small.len() + stream.blobs.len() + stream.links.len();
            ensure!(count < MOST_FILES, "it has more than {MOST_FILES} files");
            let name = inner(&entry.path()?);
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => stream.take(name, &mut entry)?,
                EntryType::Symlink | EntryType::Link => {
                    let target = leads_to(&entry, &name)?;
                    stream.links.insert(name, target);
                }
                _ => continue,
            }
        }
        Ok(Pieces::Stream(stream))
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
    pub fn brought(self) -> Vec<String> {
        match self {
            Pieces::Stream(stream) => stream.blobs.into_values().map(|blob| blob.digest).collect(),
            _ => Vec::new(),
        }
    }
}

impl Stream<'_> {
    fn take(&mut self, name: PathBuf, entry: &mut impl Read) -> Result<()> {
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
                Ok(_) => blob.finish()?,
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
fn inner(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}

/// The name in the archive that a link stands for: docker saves a layer once, and links.
fn leads_to(entry: &tar::Entry<impl Read>, name: &Path) -> Result<PathBuf> {
    let target = entry.link_name()?.with_context(|| format!("the link {name:?} leads nowhere"))?;
    let mut path = match entry.header().entry_type() {
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

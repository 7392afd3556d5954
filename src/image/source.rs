//! Where an image can come from besides its name: a file, a directory or stdin, in whatever form, which is seen from
//! what is in it. Where a name is expected, podman's words stand for a place: `docker-archive:FILE[:NAME]`,
//! `oci-archive:FILE[:NAME]`, `oci:DIR[:NAME]`; and `tar:FILE` is the archive of a root filesystem.

use super::{
    Image, archive, import,
    import::{Imported, Origin},
    manifest::Platform,
    name::Name,
    pieces::{Pieces, inner},
    store::Store,
    stream::{self, Hashing},
    tape::Tape,
};
use crate::show::bars::Bars;
use anyhow::{Context, Result, bail};
use oci_spec::image::ImageConfiguration;
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Cursor, Read, Seek},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

pub struct Source {
    pub form: Form,
    pub path: PathBuf,
    /// Which of several images.
    pub which: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// An archive of images, or the directory of one.
    Images,
    /// A tar archive of a root filesystem.
    Root,
    /// One of these, or the directory of a root filesystem.
    Any,
}

/// What is there.
pub enum Opened<'a> {
    Images(Pieces<'a>),
    /// The bytes of a plain tar.
    Root(Box<dyn Read + 'a>),
    Directory,
}

/// `None` for a word that is the name of an image.
pub fn parse(word: &str) -> Option<Source> {
    let (transport, rest) = word.split_once(':')?;
    let (path, which) = match transport {
        "docker-archive" | "oci-archive" | "oci" => path_and_name(rest),
        "tar" => (rest, None),
        _ => return None,
    };
    let form = if transport == "tar" { Form::Root } else { Form::Images };
    Some(Source { form, path: path.into(), which: which.map(str::to_owned) })
}

/// A path may have colons in it, and a name always may: the longest beginning that is there is the path.
fn path_and_name(text: &str) -> (&str, Option<&str>) {
    let ends = std::iter::once(text.len()).chain(text.rmatch_indices(':').map(|(at, _)| at));
    let there = ends.filter(|end| *end > 0).find(|end| Path::new(&text[..*end]).exists());
    match there.or(text.find(':')) {
        Some(end) if end < text.len() => (&text[..end], Some(&text[end + 1..])),
        _ => (text, None),
    }
}

impl Source {
    pub fn any(path: PathBuf) -> Source {
        Source { form: Form::Any, path, which: None }
    }

    /// What is in it. `watched` is put around what is read from beginning to end, with its size where it has one.
    pub fn open<'a>(
        &self,
        store: &'a Store,
        watched: impl FnOnce(Box<dyn Read>, Option<u64>) -> Box<dyn Read>,
    ) -> Result<Opened<'a>> {
        if self.path == Path::new("-") {
            let tar = stream::decompress(watched(Box::new(io::stdin()), None))?;
            return recognised(store, tar, self.form);
        }
        let mut file = File::open(&self.path)?;
        let found = file.metadata()?;
        if found.is_dir() {
            return directory(&self.path, self.form);
        }
        if found.is_file() {
            let mut start = Vec::new();
            file.by_ref().take(PEEK).read_to_end(&mut start)?;
            file.rewind()?;
            if self.form != Form::Root && is_of_images(&start) {
                return Pieces::of_file(file).map(Opened::Images);
            }
        }
        let size = found.is_file().then_some(found.len());
        recognised(store, stream::decompress(watched(Box::new(file), size))?, self.form)
    }

    /// The image, unpacked, under a name made of its content: what is unpacked already is not unpacked again, wherever
    /// it lies and whatever it is called now.
    pub fn resolve(&self, store: &Store) -> Result<Image> {
        let platform = Platform::here();
        let name = match self.open(store, |source, _| source)? {
            Opened::Images(pieces) => pieces.used(store, |pieces| {
                let offered = archive::offered(pieces)?;
                let chosen = archive::choose(&offered, self.which.as_deref())?;
                let name = by_content(&chosen.find(pieces, &platform)?.id())?;
                if !is_there(store, &name)? {
                    let bars = Bars::of_copies_of_a_run();
                    let imported = import::image_as(store, pieces, chosen, &name, &platform, &bars);
                    bars.clear();
                    imported?;
                }
                Ok(name)
            })?,
            Opened::Root(tar) => {
                let mut hashing = Hashing::new(tar);
                io::copy(&mut hashing, &mut io::sink()).context("it is cut off or damaged")?;
                let name = by_content(&hashing.digest())?;
                if !is_there(store, &name)? {
                    self.unpack_root(store, &name)?;
                }
                name
            }
            Opened::Directory => bail!("it is a directory: rubber run --rootfs DIR takes one as it is"),
        };
        let config = store.image(&name)?.with_context(|| format!("image {name} is being removed"))?;
        Image::new(store, &name, config)
    }

    fn unpack_root(&self, store: &Store, name: &Name) -> Result<Imported> {
        if self.path == Path::new("-") {
            bail!("stdin can be read once only: rubber import - NAME, then run that");
        }
        let origin = Origin::new(format!("rubber import {}", self.path.display()));
        let tar = stream::decompress(File::open(&self.path)?)?;
        import::archive(&store.lock()?, name, tar, origin)
    }

    /// The configuration of an image that is in an archive; the store is not touched for it.
    pub fn look(&self, store: &Store) -> Result<Option<(String, ImageConfiguration)>> {
        let Opened::Images(pieces) = self.open(store, |source, _| source)? else { return Ok(None) };
        pieces.used(store, |pieces| {
            let offered = archive::offered(pieces)?;
            let found = archive::choose(&offered, self.which.as_deref())?.find(pieces, &Platform::here())?;
            let config = serde_json::from_slice(&found.config).context("its config makes no sense")?;
            Ok(Some((found.id(), config)))
        })
    }
}

/// Whole, so that it can be run.
fn is_there(store: &Store, name: &Name) -> Result<bool> {
    let Some(config) = store.image(name)? else { return Ok(false) };
    Ok(store.layer_paths(&config)?.iter().all(|layer| layer.is_dir() && !store.is_damaged(layer)))
}

/// The digits of a digest are a name like any other, and nobody gives that one.
fn by_content(digest: &str) -> Result<Name> {
    Name::parse(digest.trim_start_matches("sha256:"))
}

fn directory<'a>(path: &Path, form: Form) -> Result<Opened<'a>> {
    let pieces = Pieces::Directory(super::below::Below::open(path)?);
    let is_of_images = path.join("oci-layout").is_file() && path.join("index.json").is_file();
    match form {
        Form::Images => Ok(Opened::Images(pieces)),
        Form::Any if is_of_images => Ok(Opened::Images(pieces)),
        Form::Any => Ok(Opened::Directory),
        Form::Root => bail!("it is a directory, and no tar archive"),
    }
}

/// Enough to have the first name in an archive.
const PEEK: u64 = 1 << 16;

fn recognised<'a>(store: &'a Store, mut tar: Box<dyn Read + 'a>, form: Form) -> Result<Opened<'a>> {
    let mut start = Vec::new();
    tar.by_ref().take(PEEK).read_to_end(&mut start).context("not a tar archive, or cut off or damaged")?;
    let of_images = is_of_images(&start);
    let whole = Cursor::new(start).chain(tar);
    match form {
        Form::Any | Form::Images if of_images => Pieces::of_stream(store, whole).map(Opened::Images),
        Form::Images => {
            bail!("this is no archive of images: a root filesystem is imported with rubber import FILE NAME")
        }
        Form::Any | Form::Root => Ok(Opened::Root(Box::new(whole))),
    }
}

/// An archive of images begins with one of their files, whatever the order: no root filesystem has these.
fn is_of_images(start: &[u8]) -> bool {
    let mut tape = Tape::new(start);
    while let Ok(Some(member)) = tape.next() {
        let name = inner(Path::new(OsStr::from_bytes(&member.name)));
        let Some(first) = name.components().next() else { continue }; // the directory itself
        let mut text = Vec::new();
        let _ = tape.content().take(512).read_to_end(&mut text);
        return begins_images(&first.as_os_str().to_string_lossy(), &text);
    }
    false
}

/// A web page may have a manifest.json, too, but docker's is a list.
fn begins_images(name: &str, text: &[u8]) -> bool {
    let stem = name.strip_suffix(".json").or(name.strip_suffix(".tar")).unwrap_or(name);
    let is_digest = stem.len() == 64 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
    match name {
        "manifest.json" => text.trim_ascii_start().starts_with(b"["),
        "index.json" => text.windows(11).any(|window| window == b"\"manifests\""),
        "blobs" | "oci-layout" | "repositories" => true,
        _ => is_digest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_has_a_path_and_may_have_a_name() {
        let parts = |word: &str| {
            let source = parse(word)?;
            Some((source.form, source.path.to_str()?.to_owned(), source.which))
        };
        let which = |text: &str| Some(text.to_owned());
        assert_eq!(parts("busybox:latest"), None);
        assert_eq!(parts("tar:a:b"), Some((Form::Root, "a:b".into(), None)));
        assert_eq!(parts("oci:/no/where"), Some((Form::Images, "/no/where".into(), None)));
        assert_eq!(parts("oci:x:a/b:1"), Some((Form::Images, "x".into(), which("a/b:1"))));
        assert_eq!(
            parts("oci-archive:/proc/version:v:1"),
            Some((Form::Images, "/proc/version".into(), which("v:1")))
        );
    }
}

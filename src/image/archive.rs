//! Archives of images: OCI's layout, and what `docker save` writes. Which images are in it, and one of them into the
//! store.

use super::{
    assemble,
    blobs::{self, Blob, Wanted},
    find::is_nameless,
    manifest::{self, Descriptor, Document, MOST_BYTES, Manifest, Platform},
    name::Name,
    pieces::Pieces,
    store::{Store, hex},
    stream::digest,
};
use crate::show::bars::Bars;
use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::ImageConfiguration;
use serde::Deserialize;
use std::{
    fmt,
    io::{self, Cursor, Read},
};

/// One image in an archive.
pub struct Offered {
    /// What it is called there.
    pub names: Vec<String>,
    kind: Kind,
}

enum Kind {
    Oci(Descriptor),
    Docker(Entry),
}

/// An image in the manifest.json of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The index.json of an OCI layout.
#[derive(Deserialize)]
struct Contents {
    manifests: Vec<Descriptor>,
}

/// What an image is, its layers not yet looked at.
pub struct Found<'a> {
    pub config: Vec<u8>,
    offered: &'a Offered,
    /// The manifest it has there, if it has one.
    manifest: Option<Manifest>,
}

const CONTAINERD_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// All the images in it.
pub fn offered(pieces: &Pieces) -> Result<Vec<Offered>> {
    if let Some(index) = pieces.small("index.json")? {
        let contents: Contents = serde_json::from_slice(&index).context("its index.json makes no sense")?;
        let offer = |entry: Descriptor| {
            let names = [CONTAINERD_NAME, REF_NAME].iter().filter_map(|key| entry.annotation(key));
            let mut names: Vec<String> = names.map(str::to_owned).collect();
            names.dedup();
            Offered { names, kind: Kind::Oci(entry) }
        };
        return some(contents.manifests.into_iter().map(offer).collect());
    }
    if let Some(list) = pieces.small("manifest.json")? {
        let entries: Vec<Entry> =
            serde_json::from_slice(&list).context("its manifest.json makes no sense")?;
        let offer = |entry: Entry| {
            let names = entry.repo_tags.clone().unwrap_or_default();
            Offered { names, kind: Kind::Docker(entry) }
        };
        return some(entries.into_iter().map(offer).collect());
    }
    bail!("it has neither an index.json, as OCI's archives have, nor a manifest.json, as docker's")
}

fn some(offered: Vec<Offered>) -> Result<Vec<Offered>> {
    ensure!(!offered.is_empty(), "there is no image in it");
    Ok(offered)
}

/// The image called `wanted`, or the one at `@N`, counted from 0; the only one, where nothing is said.
pub fn choose<'a>(offered: &'a [Offered], wanted: Option<&str>) -> Result<&'a Offered> {
    let list = || offered.iter().map(Offered::to_string).collect::<Vec<_>>().join(", ");
    let Some(wanted) = wanted else {
        ensure!(
            offered.len() == 1,
            "there are {} images in it ({}): say which, as in docker-archive:FILE:NAME or docker-archive:FILE:@0",
            offered.len(),
            list()
        );
        return Ok(&offered[0]);
    };
    let by_number = wanted.strip_prefix('@').and_then(|number| number.parse().ok());
    let chosen = match by_number {
        Some(number) => offered.get::<usize>(number),
        None => offered.iter().find(|offered| offered.names.iter().any(|name| is_same(name, wanted))),
    };
    chosen.with_context(|| format!("there is no {wanted:?} in it: there is {}", list()))
}

fn is_same(name: &str, wanted: &str) -> bool {
    let both = (Name::parse(name), Name::parse(wanted));
    name == wanted || matches!(both, (Ok(name), Ok(wanted)) if name == wanted)
}

impl Offered {
    /// A name that it can have here. An archive's word for a digest is no digest: neither `NAME@sha256:...`, which
    /// promises a registry's manifest, nor the name that rubber makes of an image's content is the archive's to give.
    pub fn name(&self) -> Option<Name> {
        // "latest" alone is a tag that skopeo gave it, and no name.
        let names = self.names.iter().filter(|name| name.contains([':', '/']));
        let mut names = names.filter_map(|name| Name::parse(name).ok());
        names.find(|name| name.digest().is_none() && !is_nameless(name))
    }

    /// Its configuration and, from OCI's archives, its manifest.
    pub fn find(&self, pieces: &Pieces, platform: &Platform) -> Result<Found<'_>> {
        match &self.kind {
            Kind::Docker(entry) => {
                let config = pieces.small(&entry.config)?;
                let config = config.with_context(|| format!("its config {:?} is missing", entry.config))?;
                Ok(Found { config, offered: self, manifest: None })
            }
            Kind::Oci(entry) => {
                let manifest = manifest_for(pieces, entry, platform)?;
                let config = document(pieces, &manifest.config)?;
                Ok(Found { config, offered: self, manifest: Some(manifest) })
            }
        }
    }
}

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.names[..] {
            [] => f.write_str("one without a name"),
            names => write!(f, "{:?}", names.join(" ")),
        }
    }
}

/// The index.json is a table of contents: what it names may be an index, but what that names may not.
fn manifest_for(pieces: &Pieces, entry: &Descriptor, platform: &Platform) -> Result<Manifest> {
    match read(pieces, entry)? {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index(index) => match read(pieces, manifest::choose(&index, platform)?)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => bail!("an index in an index: refused"),
        },
    }
}

fn read(pieces: &Pieces, descriptor: &Descriptor) -> Result<Document> {
    let bytes = document(pieces, descriptor)?;
    manifest::read(&bytes, Some(&descriptor.media_type))
        .with_context(|| format!("manifest {}", descriptor.digest))
}

/// A small blob, which must be what it is called.
fn document(pieces: &Pieces, descriptor: &Descriptor) -> Result<Vec<u8>> {
    let promised = &descriptor.digest;
    let bytes = pieces.small(&blob_name(promised)?)?;
    let bytes = bytes.with_context(|| format!("its blob {promised} is missing"))?;
    let (size, there) = (descriptor.size, bytes.len());
    ensure!(there as u64 == size, "its blob {promised} has {there} bytes, and {size} were promised: refused");
    let found = digest(&bytes);
    ensure!(found == *promised, "what is in it as {promised} is {found}: refused");
    Ok(bytes)
}

fn blob_name(digest: &str) -> Result<String> {
    Ok(format!("blobs/sha256/{}", hex(digest)?))
}

impl Found<'_> {
    pub fn id(&self) -> String {
        digest(&self.config)
    }

    /// Brings the layers into the store, as blobs, and says what they make up. Those that are there already are not
    /// read again. The blobs must stay open until the image has been assembled of them.
    pub fn fetch(
        &self,
        store: &Store,
        pieces: &Pieces,
        platform: &Platform,
        bars: &Bars,
    ) -> Result<(Manifest, Vec<Blob>)> {
        match (&self.offered.kind, &self.manifest) {
            (Kind::Docker(entry), _) => self.fetch_docker(store, pieces, entry, platform, bars),
            (_, None) => bail!("it has no manifest"),
            (_, Some(manifest)) => {
                // Before anything is copied for it.
                assemble::checked(manifest, &self.config, platform)?;
                manifest.layers.iter().for_each(|layer| bars.add(&layer.digest, layer.size));
                let blob = |(number, layer): (usize, &Descriptor)| {
                    let named = || format!("layer {} ({})", number + 1, layer.digest);
                    let source = pieces.open(&blob_name(&layer.digest)?)?;
                    bring(store, source, layer, bars).with_context(named)
                };
                let blobs = manifest.layers.iter().enumerate().map(blob).collect::<Result<_>>()?;
                Ok((manifest.clone(), blobs))
            }
        }
    }

    /// There is no manifest in these: it is made of what the files turn out to be.
    fn fetch_docker(
        &self,
        store: &Store,
        pieces: &Pieces,
        entry: &Entry,
        platform: &Platform,
        bars: &Bars,
    ) -> Result<(Manifest, Vec<Blob>)> {
        ensure!(
            self.config.len() as u64 <= MOST_BYTES,
            "its config has more than {MOST_BYTES} bytes: refused"
        );
        let config: ImageConfiguration =
            serde_json::from_slice(&self.config).context("its config makes no sense")?;
        let ids = config.rootfs().diff_ids();
        let (layers, named) = (entry.layers.len(), ids.len());
        ensure!(
            layers == named,
            "it has {layers} layers and its config {named}: they do not belong together"
        );
        ensure!(layers > 0, "it has no layers");
        ensure!(
            layers <= manifest::MOST_LAYERS,
            "it has {layers} layers: an overlay takes {}",
            manifest::MOST_LAYERS
        );
        let (mut descriptors, mut blobs) = (Vec::new(), Vec::new());
        for (number, (layer, diff_id)) in entry.layers.iter().zip(ids).enumerate() {
            hex(diff_id)?;
            let named = || format!("layer {} ({layer:?})", number + 1);
            let (descriptor, blob) =
                layer_of_docker(store, pieces, layer, diff_id, bars).with_context(named)?;
            descriptors.push(descriptor);
            blobs.push(blob);
        }
        let manifest = Manifest::new(Descriptor::config(&self.config), descriptors)?;
        assemble::checked(&manifest, &self.config, platform)?;
        Ok((manifest, blobs))
    }
}

fn layer_of_docker(
    store: &Store,
    pieces: &Pieces,
    name: &str,
    diff_id: &str,
    bars: &Bars,
) -> Result<(Descriptor, Blob)> {
    let (mut source, size) = pieces.open(name)?.context("it is missing")?;
    let mut magic = Vec::new();
    source.by_ref().take(4).read_to_end(&mut magic)?;
    let compression = match magic.as_slice() {
        [0x1f, 0x8b, ..] => "+gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "+zstd",
        _ => "",
    };
    let source: Box<dyn Read> = Box::new(Cursor::new(magic).chain(source));
    if compression.is_empty() {
        // It is what unpacking it would give.
        let descriptor = Descriptor::layer("", diff_id.to_owned(), size);
        bars.add(diff_id, size);
        let blob = bring(store, Some((source, size)), &descriptor, bars)?;
        return Ok((descriptor, blob));
    }
    let mut partial = blobs::unknown(store)?;
    if let Err(error) = copy(store, source, &mut partial, &|_| ()) {
        partial.forget()?;
        return Err(error);
    }
    let blob = partial.finish()?;
    bars.was_here(&blob.digest, blob.size);
    Ok((Descriptor::layer(compression, blob.digest.clone(), blob.size), blob))
}

/// The blob in the store, copied from `source` if it is not there.
fn bring(
    store: &Store,
    source: Option<(Box<dyn Read + '_>, u64)>,
    layer: &Descriptor,
    bars: &Bars,
) -> Result<Blob> {
    let watch = |here| bars.downloaded(&layer.digest, here);
    match (blobs::want(store, &layer.digest, layer.size)?, source) {
        (Wanted::Whole(blob), _) => {
            watch(layer.size);
            bars.is_here(&layer.digest);
            Ok(blob)
        }
        (Wanted::Partial(partial), None) => {
            partial.forget()?;
            bail!("it is missing")
        }
        (Wanted::Partial(mut partial), Some((source, _))) => {
            // It is quicker copied again than found out how far somebody got.
            partial.restart()?;
            watch(0);
            let copied = copy(store, source, &mut partial, &watch);
            if copied.is_err() || partial.len() < layer.size {
                let there = partial.len();
                partial.forget()?;
                copied?;
                bail!("it is cut off: {there} of {} bytes are there", layer.size);
            }
            let blob = partial.finish()?;
            bars.is_here(&layer.digest);
            Ok(blob)
        }
    }
}

fn copy(store: &Store, source: impl Read, partial: &mut blobs::Partial, watch: &dyn Fn(u64)) -> Result<()> {
    let mut source = Watched { source, here: 0, watch };
    io::copy(&mut source, partial)
        .map(drop)
        .context("it cannot be copied")
        .map_err(|error| store.explain(error))
}

/// Tells how many bytes have come.
struct Watched<'a, R> {
    source: R,
    here: u64,
    watch: &'a dyn Fn(u64),
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(into)?;
        self.here += count as u64;
        (self.watch)(self.here);
        Ok(count)
    }
}

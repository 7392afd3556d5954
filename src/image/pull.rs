//! `rubber pull`: from a name to an image, by way of its manifest, its config and its layers.

use super::{
    assemble::{self, assemble},
    blobs::Blob,
    digest,
    manifest::{self, Descriptor, Document, Manifest, Platform},
    name::Name,
    registry::{Client, Options, download, end_soon, is_ending},
    store::Store,
    threads,
};
use crate::show::bars::Bars;
use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::ImageConfiguration;
use std::{
    collections::{BTreeSet, VecDeque},
    io,
    sync::{Mutex, PoisonError},
    thread,
};

/// How many layers come at the same time; as many as docker's.
const AT_ONCE: usize = 3;

pub struct Pulled {
    pub config: ImageConfiguration,
    pub left_out: super::unpack::LeftOut,
}

/// Gets the image, unless it is here already: whatever came of it before it was interrupted is not asked for again.
pub fn pull(
    store: &Store,
    name: &Name,
    platform: &Platform,
    options: &Options,
    bars: &Bars,
) -> Result<Pulled> {
    let tell = |text: &str| bars.say(&format!("{name}: {text}"));
    let client = Client::new(name, options, &tell)?;
    let manifest = manifest(&client, name, platform)?;
    let config = config(&client, &manifest)?;
    let checked = assemble::checked(&manifest, &config, platform)?;
    let was_here = is_here(store, name, &manifest, &checked)?;
    let layers = if was_here { Vec::new() } else { distinct(&manifest.layers) };
    let blobs = fetch(&client, store, &layers, bars)?;
    let locked = store.lock()?;
    let watch = |number: usize, bytes| {
        bars.unpacked(&manifest.layers[number].digest, bytes);
        if is_ending() { Err(io::Error::other("interrupted")) } else { Ok(()) }
    };
    let assembled = assemble(&locked, name, &manifest, &config, platform, &watch);
    drop(blobs);
    // What cannot be unpacked is of no use; what was interrupted is.
    if assembled.is_err() && !is_ending() {
        locked.drop_blobs(layers.iter().map(|layer| layer.digest.clone()).collect())?;
    }
    let assembled = assembled?;
    Ok(Pulled { config: assembled.config, left_out: assembled.left_out })
}

/// What the name means for this platform.
fn manifest(client: &Client, name: &Name, platform: &Platform) -> Result<Manifest> {
    let index = match document(client, name.reference(), name.digest())? {
        Document::Manifest(manifest) => return Ok(manifest),
        Document::Index(index) => index,
    };
    let chosen = manifest::choose(&index, platform)?;
    let found = document(client, &chosen.digest, Some(&chosen.digest));
    match found.with_context(|| format!("its manifest for {platform}"))? {
        Document::Manifest(manifest) if manifest.raw.len() as u64 == chosen.size => Ok(manifest),
        Document::Manifest(manifest) => bail!(
            "its manifest for {platform} has {} bytes, and its index promises {}: refused",
            manifest.raw.len(),
            chosen.size
        ),
        Document::Index(_) => bail!("its index leads to an index: refused"),
    }
}

/// A manifest or an index; what is asked for by its digest must have it.
fn document(client: &Client, reference: &str, promised: Option<&str>) -> Result<Document> {
    let (bytes, kind) = client.manifest(reference, manifest::ACCEPT, manifest::MOST_BYTES)?;
    if let Some(promised) = promised {
        let found = digest(&bytes);
        ensure!(found == promised, "what came as manifest {promised} is {found}: refused");
    }
    let kind = kind.as_deref().map(|kind| kind.split(';').next().unwrap_or(kind).trim());
    manifest::read(&bytes, kind)
}

fn config(client: &Client, manifest: &Manifest) -> Result<Vec<u8>> {
    let of = &manifest.config;
    client.small_blob(&of.digest, of.size).with_context(|| format!("its config {}", of.digest))
}

fn is_here(store: &Store, name: &Name, wanted: &Manifest, config: &ImageConfiguration) -> Result<bool> {
    let is_same = assemble::stored(store, name)?.is_some_and(|stored| stored.digest() == wanted.digest());
    Ok(is_same && assemble::is_whole(store, wanted, config)?)
}

/// Each blob once: an image may have the same layer twice, and nobody should wait for himself.
fn distinct(layers: &[Descriptor]) -> Vec<&Descriptor> {
    let mut seen = BTreeSet::new();
    layers.iter().filter(|layer| seen.insert(&layer.digest)).collect()
}

/// Gets all these blobs into the store, some at a time. After the first that cannot be had no other is begun, and those
/// on their way stop where they are.
fn fetch(client: &Client, store: &Store, layers: &[&Descriptor], bars: &Bars) -> Result<Vec<Blob>> {
    layers.iter().for_each(|layer| bars.add(&layer.digest, layer.size));
    let waiting = Mutex::new(layers.iter().copied().collect::<VecDeque<_>>());
    let outcome = Mutex::new(Ok(Vec::new()));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let work = || {
        while let Some(layer) = next() {
            let watch = |here| bars.downloaded(&layer.digest, here);
            let got = download(client, store, layer, &watch);
            let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
            match (got, outcome.as_mut()) {
                (Ok(blob), Ok(blobs)) => {
                    bars.is_here(&layer.digest);
                    blobs.push(blob);
                }
                (Err(error), Ok(_)) => {
                    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
                    *outcome = Err(error.context(format!("layer {}", layer.digest)));
                    end_soon();
                }
                (_, Err(_)) => {}
            }
        }
    };
    thread::scope(|scope| {
        // Where no more threads are allowed, those that are there do it, or else this one.
        let started = (0..AT_ONCE.min(layers.len()))
            .take_while(|_| threads::scoped(scope, "get a layer", work).is_ok())
            .count();
        if started == 0 {
            work();
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

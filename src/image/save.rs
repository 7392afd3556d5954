//! An image as an archive that others read: OCI's layout in a tar, or what `docker save` writes.
//!
//! What came as blobs goes as the same blobs, byte by byte. What was made here has none: its layers are packed.

use super::{
    assemble,
    blobs::{self, Partial},
    holes,
    manifest::{Descriptor, Manifest},
    name::Name,
    pack::{Bounds, Packer},
    store::{Store, hex},
    stream::{self, Hashing},
    whiteout,
};
use crate::{narrate, removal};
use anyhow::{Context, Result, ensure};
use flate2::{Compression, write::GzEncoder};
use nix::unistd::geteuid;
use oci_spec::image::ImageConfiguration;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io::{self, BufWriter, Read, Seek, Write},
    path::Path,
};
use tar::{Builder, EntryType, Header};

#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub enum Format {
    OciArchive,
    DockerArchive,
}

/// What goes into the archive for one image.
struct Saved {
    reference: String,
    manifest: Manifest,
    config: Vec<u8>,
    diff_ids: Vec<String>,
}

/// Writes the images `names` to `out`. An error leaves the archive without its end.
pub fn save(store: &Store, names: &[Name], format: Format, out: impl Write) -> Result<()> {
    let mut packed = Packed { store, blobs: Vec::new() };
    let images = names.iter().map(|name| prepare(store, name, &mut packed)).collect::<Result<Vec<_>>>()?;
    let mut tar = Tar { tar: Builder::new(BufWriter::with_capacity(1 << 16, out)), there: BTreeSet::new() };
    let written = match format {
        Format::OciArchive => oci(store, &mut tar, &images),
        Format::DockerArchive => docker(store, &mut tar, &images),
    };
    if let Err(error) = written {
        // Without the end that a dropped one gets: nobody shall take it for whole.
        std::mem::forget(tar);
        return Err(error);
    }
    Ok(tar.tar.into_inner()?.flush()?)
}

/// Blobs that were made to be saved; they go with this.
struct Packed<'a> {
    store: &'a Store,
    blobs: Vec<blobs::Blob>,
}

impl Drop for Packed<'_> {
    fn drop(&mut self) {
        let digests: Vec<_> = self.blobs.drain(..).map(|blob| blob.digest).collect();
        if !digests.is_empty() {
            // What cannot be removed now is removed by rubber clean.
            let _ = self.store.lock().and_then(|locked| locked.drop_blobs(digests));
        }
    }
}

fn prepare(store: &Store, name: &Name, packed: &mut Packed) -> Result<Saved> {
    let config = store
        .config_bytes(name)?
        .with_context(|| format!("no image \"{name}\": rubber images lists what there is"))?;
    let parsed: ImageConfiguration =
        serde_json::from_slice(&config).with_context(|| format!("image {name} is damaged"))?;
    let reference = reference(name);
    if let Some(manifest) = assemble::stored(store, name)? {
        let manifest = Manifest::new(
            Descriptor::config(&config),
            manifest.layers.iter().map(Descriptor::in_oci).collect(),
        )?;
        let diff_ids = parsed.rootfs().diff_ids().clone();
        return Ok(Saved { reference, manifest, config, diff_ids });
    }
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    let known = known(store)?;
    for (diff_id, layer) in parsed.rootfs().diff_ids().iter().zip(store.layer_paths(&parsed)?) {
        // It may be made on top of one that came.
        if let Some(blob) = known.get(diff_id) {
            layers.push(blob.in_oci());
            diff_ids.push(diff_id.clone());
            continue;
        }
        let (descriptor, found, blob) =
            pack(store, &layer).with_context(|| format!("image {name}, layer {layer:?}"))?;
        layers.push(descriptor);
        diff_ids.push(found);
        packed.blobs.push(blob);
    }
    let config = match diff_ids == *parsed.rootfs().diff_ids() {
        true => config,
        false => {
            narrate::warn(format_args!(
                "the archive image {name} was made of is gone: packed anew it has another id"
            ));
            let mut config: serde_json::Value = serde_json::from_slice(&config)?;
            config["rootfs"]["diff_ids"] = json!(diff_ids);
            serde_json::to_vec(&config)?
        }
    };
    let manifest = Manifest::new(Descriptor::config(&config), layers)?;
    Ok(Saved { reference, manifest, config, diff_ids })
}

/// The blobs of all images that have some, by what they unpack to.
pub fn known(store: &Store) -> Result<HashMap<String, Descriptor>> {
    let mut known = HashMap::new();
    for name in store.names()? {
        if let (Some(config), Some(manifest)) = (store.image(&name)?, assemble::stored(store, &name)?) {
            known.extend(config.rootfs().diff_ids().clone().into_iter().zip(manifest.layers));
        }
    }
    Ok(known)
}

/// The layer in a directory, packed and compressed: what it is called, its diff_id, and where it is.
fn pack(store: &Store, layer: &Path) -> Result<(Descriptor, String, blobs::Blob)> {
    let mut plain = tempfile::tempfile_in(store.root().join("tmp"))?;
    let opaque = if geteuid().is_root() { whiteout::TRUSTED } else { whiteout::USER };
    let write = || -> Result<()> {
        let mut packer =
            Packer::new(BufWriter::with_capacity(1 << 16, holes::Writer::new(&plain)), Bounds::Layer(opaque));
        packer.tree(&super::below::Below::open(layer)?, Path::new(""))?;
        let shorter = packer.finish()?;
        ensure!(shorter.is_empty(), "{shorter:?} became shorter while it was read");
        Ok(())
    };
    // Only as root of a user namespace an ordinary user sees the owners that a container sees.
    match geteuid().is_root() {
        true => write()?,
        false => removal::as_root_of_ours("packer", write)?,
    }
    plain.rewind()?;
    let mut source = Hashing::new(&plain);
    let mut gzip = GzEncoder::new(blobs::unknown(store)?, Compression::fast());
    let copied = io::copy(&mut source, &mut gzip);
    let partial: Partial = gzip.finish()?;
    copied?;
    let blob = partial.finish()?;
    Ok((Descriptor::layer("+gzip", blob.digest.clone(), blob.size), source.digest(), blob))
}

fn oci(store: &Store, tar: &mut Tar<impl Write>, images: &[Saved]) -> Result<()> {
    tar.directory("blobs")?;
    tar.directory("blobs/sha256")?;
    let mut entries = Vec::new();
    for image in images {
        tar.bytes(&blob_name(&image.manifest.config.digest)?, &image.config)?;
        for layer in &image.manifest.layers {
            tar.blob(store, layer)?;
        }
        let mut entry = Descriptor::manifest(&image.manifest);
        tar.bytes(&blob_name(&entry.digest)?, &image.manifest.raw)?;
        let name = ("org.opencontainers.image.ref.name".to_owned(), image.reference.clone());
        entry.annotations = Some(BTreeMap::from([name]));
        entries.push(entry);
    }
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
    tar.bytes("index.json", &serde_json::to_vec(&index)?)?;
    tar.bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
}

fn docker(store: &Store, tar: &mut Tar<impl Write>, images: &[Saved]) -> Result<()> {
    let mut entries = Vec::new();
    for image in images {
        let mut layers = Vec::new();
        for (layer, diff_id) in image.manifest.layers.iter().zip(&image.diff_ids) {
            let name = format!("{}.tar", hex(diff_id)?);
            tar.plain(store, layer, diff_id, &name)?;
            layers.push(name);
        }
        let config = format!("{}.json", hex(&image.manifest.config.digest)?);
        tar.bytes(&config, &image.config)?;
        entries.push(json!({"Config": config, "RepoTags": [image.reference], "Layers": layers}));
    }
    tar.bytes("manifest.json", &serde_json::to_vec(&entries)?)
}

fn blob_name(digest: &str) -> Result<String> {
    Ok(format!("blobs/sha256/{}", hex(digest)?))
}

/// The name with all that is implied in it: others imply something else.
fn reference(name: &Name) -> String {
    let text = name.as_str();
    let tag = if text.rsplit('/').next().is_some_and(|last| last.contains(':')) { "" } else { ":latest" };
    match text.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => format!("{text}{tag}"),
        Some(_) => format!("docker.io/{text}{tag}"),
        None => format!("docker.io/library/{text}{tag}"),
    }
}

struct Tar<W: Write> {
    tar: Builder<W>,
    /// Layers are shared, and each is in it once.
    there: BTreeSet<String>,
}

impl<W: Write> Tar<W> {
    fn directory(&mut self, name: &str) -> Result<()> {
        let mut header = header(EntryType::Directory, 0o755, 0);
        Ok(self.tar.append_data(&mut header, name, io::empty())?)
    }

    fn bytes(&mut self, name: &str, content: &[u8]) -> Result<()> {
        self.file(name, content.len() as u64, content)
    }

    fn file(&mut self, name: &str, size: u64, content: impl Read) -> Result<()> {
        if !self.there.insert(name.to_owned()) {
            return Ok(());
        }
        Ok(self.tar.append_data(&mut header(EntryType::Regular, 0o644, size), name, content)?)
    }

    fn blob(&mut self, store: &Store, layer: &Descriptor) -> Result<()> {
        let name = blob_name(&layer.digest)?;
        if self.there.contains(&name) {
            return Ok(());
        }
        let blob = whole(store, layer)?;
        let mut source = Hashing::new(&*blob.file);
        self.file(&name, blob.size, &mut source)?;
        let found = source.digest();
        ensure!(
            found == layer.digest,
            "the blob {} in the store is damaged: get the image again",
            layer.digest
        );
        Ok(())
    }

    /// A layer as it is before it is compressed.
    fn plain(&mut self, store: &Store, layer: &Descriptor, diff_id: &str, name: &str) -> Result<()> {
        if self.there.contains(name) {
            return Ok(());
        }
        let blob = whole(store, layer)?;
        let mut plain: File = tempfile::tempfile_in(store.root().join("tmp"))?;
        let mut source = Hashing::new(stream::decompress(&*blob.file)?);
        let mut with_holes = holes::Writer::new(&plain);
        let size = io::copy(&mut source, &mut with_holes)?;
        with_holes.flush()?;
        ensure!(
            source.digest() == diff_id,
            "the blob {} in the store is damaged: get the image again",
            layer.digest
        );
        plain.rewind()?;
        self.file(name, size, plain)
    }
}

fn whole(store: &Store, layer: &Descriptor) -> Result<blobs::Blob> {
    let blob = blobs::whole(store, &layer.digest)?;
    blob.with_context(|| {
        format!("the blob {} is not in the store any more: get the image again", layer.digest)
    })
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

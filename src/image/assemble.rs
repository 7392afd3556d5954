//! An image of blobs that are in the store: its layers are unpacked, and then it gets its name.

use super::{
    blobs,
    import::{new_root, unpack_layer},
    manifest::{Descriptor, MOST_BYTES, Manifest, Platform},
    manifest_of,
    name::Name,
    store::{Locked, Scratch, Store, hex, sync_directory},
    stream::{self, digest},
    unpack::{LeftOut, Manner},
};
use anyhow::{Context, Result, anyhow, ensure};
use nix::unistd::syncfs;
use oci_spec::image::ImageConfiguration;
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

/// What became of it.
pub struct Assembled {
    pub config: ImageConfiguration,
    pub left_out: LeftOut,
}

/// Makes the image `name` of a manifest and its config, whose layers must be among the store's blobs. Only those that
/// are not unpacked yet are read; `watch` is told of them: which layer, and how many bytes of its blob came since. Its
/// error is the end.
pub fn assemble(
    locked: &Locked,
    name: &Name,
    manifest: &Manifest,
    config: &[u8],
    platform: &Platform,
    watch: &dyn Fn(usize, u64) -> io::Result<()>,
) -> Result<Assembled> {
    let checked = checked(manifest, config, platform).with_context(|| format!("image {name}"))?;
    let assembled = put_together(locked, name, manifest, checked, watch).and_then(|assembled| {
        let store = locked.store();
        let before = manifest_of(store, &manifest.config.digest).ok().flatten();
        locked.write(&store.manifest_path(&manifest.config.digest)?, &manifest.raw)?;
        locked.write_config(name, config)?;
        // The same image came by another manifest: packed by another program, say.
        let before = before.into_iter().flat_map(|before| before.layers);
        locked.drop_blobs(before.map(|layer| layer.digest).collect())?;
        Ok(assembled)
    });
    assembled.map_err(|error| locked.store().explain(error))
}

/// The manifest that `name` came by; `None` for what is not there or was made here.
pub fn stored(store: &Store, name: &Name) -> Result<Option<Manifest>> {
    let Some(id) = store.id_if_there(name)? else { return Ok(None) };
    manifest_of(store, &id)
}

/// The configuration, if it is the one that the manifest means, and this machine's.
pub fn checked(manifest: &Manifest, bytes: &[u8], platform: &Platform) -> Result<ImageConfiguration> {
    let size = bytes.len() as u64;
    ensure!(size <= MOST_BYTES, "its config has {size} bytes: more than {MOST_BYTES} are refused");
    let (found, promised) = (digest(bytes), &manifest.config.digest);
    ensure!(found == *promised, "its config is {found}, and the manifest promises {promised}");
    let config: ImageConfiguration =
        serde_json::from_slice(bytes).with_context(|| format!("its config {promised} makes no sense"))?;
    let ids = config.rootfs().diff_ids();
    ids.iter().try_for_each(|id| hex(id).map(drop))?;
    let (layers, named) = (manifest.layers.len(), ids.len());
    ensure!(
        layers == named,
        "its manifest has {layers} layers and its config {named}: they do not belong together"
    );
    let made_for = Platform {
        os: config.os().to_string(),
        architecture: config.architecture().to_string(),
        variant: String::new(),
    };
    ensure!(
        made_for.fits(platform),
        "it is made for {made_for}, and {platform} was wanted: --platform {made_for} takes it all the same"
    );
    Ok(config)
}

fn put_together(
    locked: &Locked,
    name: &Name,
    manifest: &Manifest,
    config: ImageConfiguration,
    watch: &dyn Fn(usize, u64) -> io::Result<()>,
) -> Result<Assembled> {
    let store = locked.store();
    let mut left_out = LeftOut::default();
    let diff_ids = config.rootfs().diff_ids();
    let kept = store.kept(diff_ids)?;
    // Those that are made now, by the place where they will be: a layer may come twice.
    let (mut made, mut unpacked) = (Vec::new(), HashMap::new());
    let mut below: Vec<PathBuf> = Vec::new();
    for (number, layer) in manifest.layers.iter().enumerate() {
        let (kept, diff_id) = (&kept[number], &diff_ids[number]);
        let known = unpacked.get(&kept.own).or(unpacked.get(&kept.shared)).cloned();
        if let Some(known) = known.or_else(|| store.unpacked(kept)) {
            below.push(known);
            continue;
        }
        let one = unpack(locked, layer, diff_id, below.clone(), &|bytes| watch(number, bytes));
        let (scratch, files, mut left) =
            one.with_context(|| format!("image {name}, layer {} ({})", number + 1, layer.digest))?;
        left_out.devices.append(&mut left.devices);
        left_out.owners += left.owners;
        unpacked.insert(kept.place(left.lists_all()).to_owned(), files.clone());
        below.push(files.clone());
        made.push((scratch, files, kept, left));
    }
    // All of them at once: each sync may have to wait for all that others write.
    if let Some((scratch, ..)) = made.first() {
        syncfs(File::open(scratch.path())?).context("syncfs()")?;
    }
    for (_, files, kept, left) in &made {
        locked.settle(files, kept, left)?;
    }
    sync_directory(&store.root().join("layers"))?;
    for (_, _, kept, left) in &made {
        locked.allow(kept, left.lists_all())?;
    }
    Ok(Assembled { config, left_out })
}

/// One layer, in a directory of its own that is not in its place yet.
pub fn unpack(
    locked: &Locked,
    layer: &Descriptor,
    diff_id: &str,
    below: Vec<PathBuf>,
    watch: &dyn Fn(u64) -> io::Result<()>,
) -> Result<(Scratch, PathBuf, LeftOut)> {
    let blob =
        blobs::whole(locked.store(), &layer.digest)?.context("its blob is not in the store: get it again")?;
    let scratch = locked.scratch()?;
    let files = new_root(&scratch)?;
    let watched = Watched { source: &*blob.file, watch };
    let unpacked = stream::decompress(watched).and_then(|tar| {
        // Of a few bytes much may come: whoever watches can end it in the middle of that, too.
        let tar = Watched { source: tar, watch: &|_| watch(0) };
        let (found, left_out) = unpack_layer(tar, &files, Manner::of_layer(below))?;
        ensure!(found == diff_id, "it unpacks to {found}, and the config promises {diff_id}: refused");
        Ok(left_out)
    });
    match unpacked {
        Ok(left_out) => Ok((scratch, files, left_out)),
        // Whoever made the image is to blame only if the disk is not.
        Err(error) if blob.is_sound()? => Err(error),
        Err(_) => Err(anyhow!("its blob in the store was damaged: get the image again")),
    }
}

/// The manifest that an image with this configuration came by, if all that it needs is there, unpacked and as sound
/// blobs.
pub fn whole(store: &Store, config: &[u8]) -> Result<Option<Manifest>> {
    let Some(manifest) = manifest_of(store, &digest(config)).ok().flatten() else { return Ok(None) };
    if !is_whole(store, &manifest, &serde_json::from_slice(config)?)? {
        return Ok(None);
    }
    for layer in &manifest.layers {
        if !blobs::whole(store, &layer.digest)?.map_or(Ok(false), |blob| blob.is_sound())? {
            return Ok(None);
        }
    }
    Ok(Some(manifest))
}

/// The same by a look at names, sizes and marks alone.
pub fn is_whole(store: &Store, manifest: &Manifest, config: &ImageConfiguration) -> Result<bool> {
    for layer in &manifest.layers {
        let found = store.blob_path(&layer.digest)?.metadata();
        if !found.is_ok_and(|found| found.len() == layer.size) {
            return Ok(false);
        }
    }
    for kept in store.kept(config.rootfs().diff_ids())? {
        if store.unpacked(&kept).is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

struct Watched<'a, R> {
    source: R,
    watch: &'a dyn Fn(u64) -> io::Result<()>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(into)?;
        (self.watch)(count as u64)?;
        Ok(count)
    }
}

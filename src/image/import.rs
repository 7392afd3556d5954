//! From bytes to an image: decompress, hash and unpack in one pass, then put it in the store whole.

use super::{
    archive::{self, Offered},
    assemble::{self, Assembled},
    below::Below,
    builtin,
    manifest::Platform,
    name::Name,
    pack,
    pieces::Pieces,
    relay,
    store::{Locked, Scratch, Store},
    threads,
    unpack::{self, LeftOut, Manner, Purpose},
};
use crate::show::bars::Bars;
use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::unistd::syncfs;
use oci_spec::image::{
    ConfigBuilder, HistoryBuilder, ImageConfiguration, ImageConfigurationBuilder, RootFsBuilder,
};
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, SystemTime},
};

/// What the standard PATH is in a container that says nothing else; docker's.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const EARLIER: Duration = Duration::from_millis(100);

/// What became of an import.
pub struct Imported {
    pub config: ImageConfiguration,
    pub left_out: unpack::LeftOut,
}

/// What a root filesystem does not say about itself.
pub struct Origin<'a> {
    pub command: &'a str,
    pub created_by: String,
    pub labels: HashMap<String, String>,
}

impl Origin<'_> {
    pub fn new(created_by: String) -> Origin<'static> {
        Origin { command: "sh", created_by, labels: HashMap::new() }
    }
}

/// Makes an image of one in an archive of images: `name`, or what it is called there.
pub fn image(
    store: &Store,
    pieces: Pieces,
    which: Option<&str>,
    name: Option<Name>,
    platform: &Platform,
    bars: &Bars,
) -> Result<(Name, Imported)> {
    pieces.used(store, |pieces| {
        let offered = archive::offered(pieces)?;
        let chosen = archive::choose(&offered, which)?;
        let name = match name.or(chosen.name()) {
            Some(name) => name,
            None => bail!("the image in it has no name: say what to call it, as in rubber import FILE NAME"),
        };
        ensure!(
            name.as_str() != builtin::NAME,
            "it is called {name}, which is rubber's own: give it another name"
        );
        let imported = image_as(store, pieces, chosen, &name, platform, bars)?;
        Ok((name, imported))
    })
}

/// The same for one that has been chosen.
pub fn image_as(
    store: &Store,
    pieces: &Pieces,
    chosen: &Offered,
    name: &Name,
    platform: &Platform,
    bars: &Bars,
) -> Result<Imported> {
    let found = chosen.find(pieces, platform)?;
    // An image that is here, under whatever name, is not copied again.
    let (manifest, blobs) = match assemble::whole(store, &found.config)? {
        Some(manifest) => {
            manifest.layers.iter().for_each(|layer| bars.was_here(&layer.digest, layer.size));
            (manifest, Vec::new())
        }
        None => found.fetch(store, pieces, platform, bars)?,
    };
    let locked = store.lock()?;
    let watch = |number: usize, bytes| {
        bars.unpacked(&manifest.layers[number].digest, bytes);
        Ok(())
    };
    let assembled = assemble::assemble(&locked, name, &manifest, &found.config, platform, &watch);
    drop(blobs);
    if assembled.is_err() {
        locked.drop_blobs(manifest.layers.into_iter().map(|layer| layer.digest).collect())?;
    }
    let Assembled { config, left_out, .. } = assembled?;
    Ok(Imported { config, left_out })
}

/// Makes the image `name` from an archive of its root filesystem, as it comes out of `stream::decompress`.
pub fn archive(locked: &Locked, name: &Name, tar: impl Read, origin: Origin) -> Result<Imported> {
    let scratch = locked.scratch()?;
    let files = new_root(&scratch)?;
    let imported = unpack_layer(tar, &files, Manner::of(Purpose::Image)).and_then(|(digest, left_out)| {
        let config = configuration(left_out.name_of(Purpose::Image, digest), origin)?;
        for kept in locked.store().kept(config.rootfs().diff_ids())? {
            locked.adopt(&files, &kept, &left_out)?;
        }
        locked.write_image(name, &config)?;
        Ok(Imported { config, left_out })
    });
    imported.map_err(|error| locked.store().explain(error))
}

/// Makes the image `name` from the files in `directory`.
pub fn directory(locked: &Locked, name: &Name, directory: &Path, origin: Origin) -> Result<Imported> {
    let (reader, writer) = io::pipe().context("pipe2()")?;
    let skip = locked.store().root();
    std::thread::scope(|scope| {
        let pack = move || pack::pack(directory, skip, io::BufWriter::with_capacity(1 << 16, writer));
        let packer = threads::scoped(scope, "read the directory", pack)?;
        let imported = archive(locked, name, reader, origin);
        match packer.join() {
            // A directory that cannot be read is why the archive was cut off; a closed pipe is only what followed.
            Ok(Err(error)) if !broken_pipe(&error) => Err(error),
            Ok(_) => imported,
            Err(_) => bail!("reading {directory:?} ended unexpectedly"),
        }
    })
}

/// An empty directory for the files of a layer.
pub fn new_root(scratch: &Scratch) -> Result<PathBuf> {
    let files = scratch.path().join("rootfs");
    std::fs::create_dir(&files).with_context(|| format!("mkdir({files:?})"))?;
    open_to_all(&files)?;
    Ok(files)
}

/// Unpacks a layer, and returns its digest and what was left out.
pub fn unpack_layer(tar: impl Read, files: &Path, manner: Manner) -> Result<(String, LeftOut)> {
    let target = Below::open(files)?;
    while_syncing(files, || {
        // What follows the archive's end is part of the layer's digest too.
        relay::shared(tar, move |tar| unpack::unpack_stream(tar, target, manner))
    })
}

/// Sends what `work` has written below `files` to the disk while it goes on writing: left to the sync at the end, the
/// disk would have nothing to do until then, and everything at once. What takes less than EARLIER is left to that.
fn while_syncing<T>(files: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let directory = File::open(files).with_context(|| format!("open({files:?})"))?;
    let (working, worked) = channel::<()>();
    thread::scope(|scope| {
        // The kernel tells of what it could not write once, so what is told here must not be lost: syncfs(2).
        let sync = move || -> nix::Result<()> {
            while worked.recv_timeout(EARLIER) == Err(RecvTimeoutError::Timeout) {
                syncfs(&directory)?;
            }
            Ok(())
        };
        let syncing = threads::scoped(scope, "write the layer to the disk", sync)?;
        let done = work();
        drop(working);
        let synced = syncing.join().map_err(|_| anyhow!("writing to {files:?} ended unexpectedly"))?;
        done.and_then(|done| synced.context("syncfs()").map(|()| done))
    })
}

pub fn broken_pipe(error: &anyhow::Error) -> bool {
    let kind =
        |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<io::Error>().map(io::Error::kind);
    error.chain().any(|cause| kind(cause) == Some(io::ErrorKind::BrokenPipe))
}

/// An archive that does not list its root directory gets one that everybody may enter.
fn open_to_all(directory: &Path) -> Result<()> {
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory, mode).with_context(|| format!("chmod({directory:?})"))
}

fn configuration(digest: String, origin: Origin) -> Result<ImageConfiguration> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let config = ConfigBuilder::default()
        .env(vec![PATH.to_owned()])
        .cmd(origin.command.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .labels(origin.labels)
        .build()?;
    let history = HistoryBuilder::default().created(now.clone()).created_by(origin.created_by).build()?;
    Ok(ImageConfigurationBuilder::default()
        .created(now)
        .config(config)
        .rootfs(RootFsBuilder::default().typ("layers").diff_ids(vec![digest]).build()?)
        .history(vec![history])
        .build()?)
}

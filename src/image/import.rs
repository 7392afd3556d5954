//! From bytes to an image: decompress, hash and unpack in one pass, then put it in the store whole.

use super::{
    below::{self, Below},
    name::Name,
    pack, relay,
    store::{Locked, Scratch},
    stream,
    unpack::{self, LeftOut, Manner, Purpose},
};
use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::{OFlag, openat};
use oci_spec::image::{
    ConfigBuilder, HistoryBuilder, ImageConfiguration, ImageConfigurationBuilder, RootFsBuilder,
};
use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// What the standard PATH is in a container that says nothing else; docker's.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

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

/// Makes the image `name` from an archive of its root filesystem: plain tar, gzip or zstd.
pub fn archive(locked: &Locked, name: &Name, bytes: impl Read, origin: Origin) -> Result<Imported> {
    let scratch = locked.scratch()?;
    let files = new_root(&scratch)?;
    let imported = stream::decompress(bytes).and_then(|tar| {
        let (digest, left_out) = unpack_layer(tar, &files, Purpose::Image)?;
        refuse_archive_of_images(&files)?;
        locked.adopt(&files, &digest)?;
        let config = configuration(digest, origin)?;
        locked.write_image(name, &config)?;
        Ok(Imported { config, left_out })
    });
    let imported = imported.map_err(|error| locked.store().explain(error))?;
    // What the name meant before may be of no use to anybody now.
    locked.remove_unused_layers()?;
    Ok(imported)
}

/// Makes the image `name` from the files in `directory`.
pub fn directory(locked: &Locked, name: &Name, directory: &Path, origin: Origin) -> Result<Imported> {
    let (reader, writer) = io::pipe().context("pipe2()")?;
    let skip = locked.store().root();
    std::thread::scope(|scope| {
        let packer =
            scope.spawn(move || pack::pack(directory, skip, io::BufWriter::with_capacity(1 << 16, writer)));
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
pub fn unpack_layer(tar: impl Read, files: &Path, purpose: Purpose) -> Result<(String, LeftOut)> {
    let target = Below::open(files)?;
    // What follows the archive's end is part of the layer's digest too.
    relay::shared(tar, move |tar| unpack::unpack_stream(tar, target, Manner::of(purpose)))
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

/// `docker save` and OCI archives hold layers as files; unpacked as a root filesystem they would be a puzzle.
fn refuse_archive_of_images(files: &Path) -> Result<()> {
    let names = below::names(&File::open(files)?.into())?;
    let has = |wanted: &[&str]| names.iter().any(|name| wanted.iter().any(|other| name == other));
    if has(&["bin", "usr", "etc", "lib", "sbin"]) {
        return Ok(());
    }
    let advice = "import takes a root filesystem for now: docker export CONTAINER | rubber import - NAME";
    ensure!(!has(&["oci-layout"]), "this is an OCI image layout, not a root filesystem; {advice}");
    let repositories = has(&["repositories"]) || looks_like_docker_save(files);
    ensure!(!repositories, "this is an archive of docker save, not a root filesystem; {advice}");
    Ok(())
}

fn looks_like_docker_save(files: &Path) -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let manifest = File::open(files).and_then(|root| {
        Ok(File::from(openat(root, "manifest.json", flags, nix::sys::stat::Mode::empty())?))
    });
    let Ok(manifest) = manifest else { return false };
    let mut text = String::new();
    let _ = manifest.take(1 << 20).read_to_string(&mut text);
    text.contains("\"Layers\"")
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

//! A new image of what a container has become: the layers of its image, and its upper layer on top.

use super::{
    find::Container,
    inside::{self, Purpose, Visit, both},
    pause::Stillness,
    record::Record,
};
use crate::{
    image::{
        Store, chain, distinct, import, list,
        name::Name,
        pack::{Bounds, Packer},
        store::Locked,
        threads,
        unpack::{self, LeftOut},
    },
    layers::{Layer, idmap},
    narrate,
};
use anyhow::{Context, Result, bail};
use oci_spec::image::{Config, HistoryBuilder, ImageConfiguration, RootFsBuilder};
use serde::{Deserialize, Serialize};
use std::{
    io::{BufWriter, Read, Write, pipe},
    path::{Path, PathBuf},
};

/// What became of it.
pub struct Committed {
    /// Bytes of the new layer, on disk.
    pub added: u64,
    pub config: ImageConfiguration,
}

/// What the process that reads the container says of the layer it has made.
#[derive(Serialize, Deserialize)]
struct Made {
    digest: String,
    devices: Vec<String>,
}

/// Where the new image's files are taken from.
enum From<'a> {
    /// What was written: a layer over those of the image.
    Upper,
    /// All of it, where there is no such layer, or nothing of ours to put it on.
    Root(&'a Visit<'a>),
}

pub fn commit(store: &Store, container: &Container, name: &Name) -> Result<Committed> {
    let visit = Visit::prepare(container, Purpose::Read)?;
    let below = layers_below(store, container);
    let from = if below.is_some() { From::Upper } else { From::Root(&visit) };
    let locked = store.lock()?;
    let scratch = locked.scratch()?;
    let files = import::new_root(&scratch)?;
    let stillness = Stillness::of(container).unwrap_or_else(|error| {
        narrate::warn(format_args!(
            "it runs on meanwhile, what it writes just now may be cut in two: {error:#}"
        ));
        None
    });
    let made = make_layer(container, from, &files).map_err(|error| store.explain(error))?;
    drop(stillness);
    if let Some(first) = made.devices.first() {
        narrate::warn(format_args!("left out {} device nodes ({first}, ...)", made.devices.len()));
    }
    let added = list::disk_usage(&files)?;
    let config = configuration(store, container, below.unwrap_or_default(), made.digest)?;
    publish(&locked, name, &files, &config).map_err(|error| store.explain(error))?;
    Ok(Committed { added, config })
}

fn publish(locked: &Locked, name: &Name, files: &Path, config: &ImageConfiguration) -> Result<()> {
    if let Some(kept) = locked.store().kept(config.rootfs().diff_ids())?.last() {
        // What is packed here lists all its directories.
        locked.adopt(files, kept, &LeftOut::default())?;
    }
    locked.write_image(name, config)
}

/// The digests of the image's layers; none where the container is not just a layer over those.
fn layers_below(store: &Store, container: &Container) -> Option<Vec<String>> {
    let config = &container.record.config;
    if !config.layers.contains(Layer::Overlay) || config.upper_in_memory {
        return None;
    }
    let names: Option<Vec<_>> = config.image.iter().map(|layer| chain::diff_id(layer)).collect();
    // An overlay has each directory once. Where an image has one twice, the image alone knows which layers those above
    // it are made for.
    let name = Name::parse(&container.record.image).ok();
    let of_image = name.and_then(|name| store.image(&name).ok().flatten());
    let of_image = of_image.map(|config| config.rootfs().diff_ids().clone());
    let is_its = |ids: &Vec<String>| store.paths(ids).is_ok_and(|paths| distinct(paths) == config.image);
    [names, of_image].into_iter().flatten().find(is_its)
}

/// Fills `files` in a process that sees the container's files as its root does. They are written by it, too: it may
/// give them to the container's users.
fn make_layer(container: &Container, from: From, files: &Path) -> Result<Made> {
    if idmap::any(&container.record.config) {
        bail!(
            "cannot commit container {0}: the owners of its files are its user namespace's\n        \
             rubber export {0} | rubber import - NAME writes them as it sees them",
            container.name
        );
    }
    let (mut reader, writer) = pipe()?;
    let inside = move || {
        let config = &container.record.config;
        let (tree, bounds, purpose) = match from {
            From::Upper => {
                inside::become_its_root(config)?;
                let bounds = Bounds::Layer(inside::opaque(config));
                (inside::upper(container)?, bounds, unpack::Purpose::Layer)
            }
            From::Root(visit) => (visit.enter()?, Bounds::Filesystem, unpack::Purpose::Image),
        };
        let (tar, out) = pipe()?;
        let (digest, left_out) = std::thread::scope(|scope| {
            let pack = || -> Result<Vec<PathBuf>> {
                let mut packer = Packer::new(BufWriter::with_capacity(1 << 16, out), bounds);
                packer.tree(&tree, Path::new(""))?;
                packer.finish()
            };
            let packing = threads::scoped(scope, "read the container's files", pack)?;
            let unpacked = import::unpack_layer(tar, files, unpack::Manner::of(purpose));
            match packing.join() {
                Ok(Ok(shorter)) => {
                    for path in shorter {
                        narrate::warn(format_args!(
                            "{path:?} became shorter while it was read: its end is zeros"
                        ));
                    }
                    unpacked
                }
                Ok(Err(error)) if !import::broken_pipe(&error) => Err(error),
                Ok(Err(_)) => unpacked,
                Err(_) => bail!("reading the container's files ended unexpectedly"),
            }
        })
        .with_context(|| format!("cannot commit container {}", container.name))?;
        let digest = left_out.name_of(purpose, digest);
        (&writer).write_all(&serde_json::to_vec(&Made { digest, devices: left_out.devices })?)?;
        Ok(0)
    };
    let mut answer = Vec::new();
    both(inside, || Ok(reader.read_to_end(&mut answer).map(drop)?))?;
    serde_json::from_slice(&answer).context("the process that read the container's files said nothing")
}

/// The image's own, with what the container was run with in place of it.
fn configuration(
    store: &Store,
    container: &Container,
    mut layers: Vec<String>,
    digest: String,
) -> Result<ImageConfiguration> {
    let record = &container.record;
    let known = Name::parse(&record.image).ok().and_then(|name| store.image(&name).ok().flatten());
    let mut image = known.unwrap_or_default();
    let is_layered = !layers.is_empty();
    layers.push(digest);
    let words: Vec<_> =
        record.config.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let entry =
        HistoryBuilder::default().created(super::record::now()).created_by(words.join(" ")).build()?;
    let history = image.history().clone().filter(|_| is_layered).unwrap_or_default();
    image.set_history(Some(history.into_iter().chain([entry]).collect()));
    image.set_created(Some(super::record::now()));
    image.set_rootfs(RootFsBuilder::default().typ("layers").diff_ids(layers).build()?);
    let config = settings(image.config().clone().unwrap_or_default(), record, words);
    image.set_config(Some(config));
    Ok(image)
}

fn settings(mut image: Config, record: &Record, words: Vec<String>) -> Config {
    let config = &record.config;
    // These two were the container's own affair.
    let is_own = |entry: &String| entry.starts_with("HOSTNAME=") || entry.starts_with("TERM=");
    let env = config.env.iter().map(|entry| entry.to_string_lossy().into_owned());
    image.set_env(Some(env.filter(|entry| !is_own(entry)).collect()));
    // The record has one list of words: those of the image's entrypoint come first, if it was not replaced.
    let entrypoint = image.entrypoint().clone().filter(|entrypoint| words.starts_with(entrypoint));
    image.set_cmd(Some(words[entrypoint.as_ref().map_or(0, Vec::len)..].to_vec()));
    image.set_entrypoint(entrypoint);
    image.set_working_dir(Some(config.workdir.to_string_lossy().into_owned()));
    image.set_labels(Some(record.labels.clone().into_iter().collect()));
    if config.user != "0" {
        image.set_user(Some(config.user.clone()));
    }
    image
}

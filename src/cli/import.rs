//! `rubber import`: an image of what is already here.

use crate::image::{
    Image, Store, builtin,
    import::{self, Imported, Origin},
    list,
    manifest::Platform,
    name::Name,
    recipe,
    source::{self, Opened, Source},
    unpack::LeftOut,
};
use crate::{narrate, show::bars::Bars};
use anyhow::{Context, Result, bail, ensure};
use oci_spec::image::ImageConfiguration;
use std::{
    ffi::{OsStr, OsString},
    io::{IsTerminal, Write},
    path::Path,
};

/// Make an image from an archive of images (docker save, podman save, an OCI layout), or of a root filesystem
///
/// What it is is seen from what is in it: docker's and OCI's archives, or a root filesystem as docker export writes
/// it, each plain or compressed with gzip or zstd; a directory can be an OCI layout or a root filesystem.
#[derive(clap::Args)]
pub struct Import {
    /// A file, - for stdin, a directory, or as in docker-archive:FILE:NAME, oci:DIR:NAME, tar:FILE
    #[arg(required_unless_present = "recipe", value_name = "SOURCE")]
    source: Option<OsString>,
    /// What to call the image [default: as it is called in the archive]
    name: Option<String>,
    /// Take the image for this platform, as in linux/arm64 [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Make the image that this recipe describes, unless it is there: borrowed, busybox, debian or workshop
    #[arg(long, value_name = "RECIPE", conflicts_with_all = ["source", "name", "platform"])]
    recipe: Option<String>,
    /// No progress, and nothing printed but the image's id
    #[arg(short, long)]
    quiet: bool,
}

impl Import {
    pub fn main(self, store: &Store) -> Result<()> {
        let platform = self.platform.as_deref().map_or(Ok(Platform::here()), Platform::parse)?;
        let (name, config) = match (&self.recipe, &self.source) {
            (Some(recipe), _) => from_recipe(store, recipe)?,
            (_, Some(source)) => self.take(store, source, &platform)?,
            _ => bail!("import what? rubber import FILE NAME, or rubber import --recipe NAME"),
        };
        if self.quiet {
            return super::line(&store.id(&name)?);
        }
        report(store, &name, config)
    }

    fn take(&self, store: &Store, word: &OsStr, platform: &Platform) -> Result<(Name, ImageConfiguration)> {
        let name = self.name.as_deref().map(Name::parse).transpose()?;
        if let Some(name) = name.as_ref().filter(|name| name.as_str() == builtin::NAME) {
            bail!("the name {name} is taken: it is the image that rubber makes of itself; choose another");
        }
        let bars = if self.quiet { Bars::silent() } else { Bars::of_copies() };
        let imported = import(store, word, name, platform, &bars);
        bars.clear();
        let (name, imported) = imported.with_context(|| format!("cannot import {word:?}"))?;
        tell(&imported.left_out);
        Ok((name, imported.config))
    }
}

fn from_recipe(store: &Store, name: &str) -> Result<(Name, ImageConfiguration)> {
    let Some(recipe) = recipe::find(name) else {
        let names: Vec<_> = recipe::RECIPES.iter().map(|recipe| recipe.name).collect();
        bail!("no recipe {name:?}: there are {}", names.join(", "));
    };
    let config = recipe::make(store, recipe)?;
    Ok((Name::parse(name)?, config))
}

fn import(
    store: &Store,
    word: &OsStr,
    name: Option<Name>,
    platform: &Platform,
    bars: &Bars,
) -> Result<(Name, Imported)> {
    let source = word.to_str().and_then(source::parse).unwrap_or_else(|| Source::any(word.into()));
    let origin = Origin::new(format!("rubber import {}", Path::new(word).display()));
    if source.path == Path::new("-") {
        ensure!(!std::io::stdin().is_terminal(), "stdin is a terminal: pipe an archive into it");
    }
    let named = |name: Option<Name>| name.context("a root filesystem has no name: say what to call it");
    match source.open(store, |bytes, size| Box::new(bars.whole(bytes, size)))? {
        Opened::Images(pieces) => import::image(store, pieces, source.which.as_deref(), name, platform, bars),
        Opened::Root(tar) => {
            let name = named(name)?;
            let imported = import::archive(&store.lock()?, &name, tar, origin)?;
            Ok((name, imported))
        }
        Opened::Directory => {
            let name = named(name)?;
            let imported = import::directory(&store.lock()?, &name, &source.path, origin)?;
            Ok((name, imported))
        }
    }
}

/// What the archive had and the image has not: one line for each kind.
pub fn tell(left_out: &LeftOut) {
    let devices = &left_out.devices;
    if let Some(first) = devices.first() {
        let more = if devices.len() > 1 { format!(" and {} more", devices.len() - 1) } else { String::new() };
        narrate::warn(format_args!(
            "left out the device {first}{more}: root alone makes nodes, and in a container's /dev there are rubber's own"
        ));
    }
    if left_out.owners > 0 {
        narrate::warn(format_args!(
            "{} entries are yours and without setuid: their owners are not in this user namespace",
            left_out.owners
        ));
    }
}

pub fn report(store: &Store, name: &Name, config: ImageConfiguration) -> Result<()> {
    let image = Image::new(store, name, config)?;
    let size = list::size(&image.layers)?;
    let id = store.id(name)?;
    writeln!(std::io::stdout(), "{name}  {}  {}", list::short(&id), list::human(size))?;
    Ok(())
}

//! `rubber import`: an image from a root filesystem that is already here.

use crate::image::{
    Image, Store, builtin,
    import::{self, Imported, Origin},
    list,
    name::Name,
    recipe,
    unpack::LeftOut,
};
use crate::narrate;
use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    fs::File,
    io::{IsTerminal, Read, Write},
    path::{Path, PathBuf},
};

/// Make an image from the archive of a root filesystem, or from a directory
#[derive(clap::Args)]
pub struct Import {
    /// A tar archive as `docker export` writes it (plain, gzip or zstd), - for stdin, or a directory
    #[arg(required_unless_present = "recipe", value_name = "TAR|-|DIR")]
    source: Option<PathBuf>,
    /// What to call the image
    #[arg(required_unless_present = "recipe")]
    name: Option<String>,
    /// Make the image that this recipe describes, unless it is there: borrowed, busybox, debian or workshop
    #[arg(long, value_name = "RECIPE", conflicts_with_all = ["source", "name"])]
    recipe: Option<String>,
}

impl Import {
    pub fn main(self, store: &Store) -> Result<()> {
        match (self.recipe, self.source, self.name) {
            (Some(recipe), _, _) => from_recipe(store, &recipe),
            (_, Some(source), Some(name)) => from_source(store, &source, &name),
            _ => bail!("import what? rubber import TAR NAME, or rubber import --recipe NAME"),
        }
    }
}

fn from_recipe(store: &Store, name: &str) -> Result<()> {
    let Some(recipe) = recipe::find(name) else {
        let names: Vec<_> = recipe::RECIPES.iter().map(|recipe| recipe.name).collect();
        bail!("no recipe {name:?}: there are {}", names.join(", "));
    };
    let config = recipe::make(store, recipe)?;
    report(store, &Name::parse(name)?, config)
}

fn from_source(store: &Store, source: &Path, name: &str) -> Result<()> {
    let name = Name::parse(name)?;
    ensure!(
        name.as_str() != builtin::NAME,
        "the name {name} is taken: it is the image that rubber makes of itself; choose another"
    );
    let imported = import(store, source, &name).with_context(|| format!("cannot import {source:?}"))?;
    tell(&imported.left_out);
    report(store, &name, imported.config)
}

fn import(store: &Store, source: &Path, name: &Name) -> Result<Imported> {
    let origin = Origin::new(format!("rubber import {}", source.display()));
    if source == Path::new("-") {
        let stdin = std::io::stdin();
        ensure!(!stdin.is_terminal(), "stdin is a terminal: pipe an archive into it");
        let locked = store.lock()?;
        return import::archive(&locked, name, Progress::new(stdin.lock(), None), origin);
    }
    let file = File::open(source)?;
    let found = file.metadata()?;
    let locked = store.lock()?;
    if found.is_dir() {
        return import::directory(&locked, name, source, origin);
    }
    let size = found.is_file().then_some(found.len());
    import::archive(&locked, name, Progress::new(file, size), origin)
}

/// What the archive had and the image has not: one line for each kind.
fn tell(left_out: &LeftOut) {
    let devices = &left_out.devices;
    if let Some(first) = devices.first() {
        let more = if devices.len() > 1 { format!(" and {} more", devices.len() - 1) } else { String::new() };
        narrate::warn(format_args!(
            "left out the device {first}{more}: a container's /dev is made by rubber"
        ));
    }
    if left_out.owners > 0 {
        narrate::warn(format_args!(
            "{} entries are yours and without setuid: their owners are not in this user namespace",
            left_out.owners
        ));
    }
}

fn report(store: &Store, name: &Name, config: oci_spec::image::ImageConfiguration) -> Result<()> {
    let image = Image::new(store, name, config)?;
    let size = image.layers.iter().map(|layer| list::disk_usage(layer)).sum::<Result<u64>>()?;
    let id = store.id(name)?;
    writeln!(std::io::stdout(), "{name}  {}  {}", list::short(&id), list::human(size))?;
    Ok(())
}

/// Shows on a terminal how far reading has come. It ticks when bytes arrive: a ticker of its own would be a thread.
struct Progress<R> {
    source: R,
    bar: ProgressBar,
}

impl<R: Read> Progress<R> {
    fn new(source: R, size: Option<u64>) -> Progress<R> {
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr_with_hz(10),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(size, target);
        let template = match size {
            Some(_) => "unpacking {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}",
            None => "unpacking {spinner} {decimal_bytes} {decimal_bytes_per_sec}",
        };
        bar.set_style(ProgressStyle::with_template(template).unwrap_or(ProgressStyle::default_bar()));
        Progress { source, bar }
    }
}

impl<R: Read> Read for Progress<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(into)?;
        self.bar.inc(count as u64);
        Ok(count)
    }
}

impl<R> Drop for Progress<R> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

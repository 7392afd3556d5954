//! Images: where a container's files come from.
//!
//! Reading order: `store` and `blobs` (what is on disk), `manifest` (what an image is made of), `assemble` and `import`
//! (how it gets there), `chain` (which images share a layer), `damage` and `contents` (what has become of it), `source`, `pieces` and `archive` (where from), `unpack`, `tree` and `below` (why an archive cannot
//! reach outside), `recipe` and `builtin` (images that are made here), `resolve` (what a name means), `pull` and
//! `registry` (the network), `sweep` (what goes).

pub mod archive;
pub mod assemble;
mod attributes;
pub mod below;
pub mod blobs;
pub mod builtin;
pub mod chain;
pub mod contents;
mod copy;
pub mod damage;
pub mod elf;
pub mod find;
pub mod holes;
pub mod import;
mod limits;
pub mod list;
mod lower;
pub mod manifest;
mod manner;
pub mod name;
mod node;
pub mod pack;
mod pax;
pub mod pieces;
mod platform;
// The learner's rubber has no network, and is built the sooner.
#[cfg(not(feature = "exercise"))]
pub mod pull;
pub mod recipe;
#[cfg(not(feature = "exercise"))]
pub mod registry;
mod relay;
mod resolve;
pub mod save;
pub mod source;
pub mod store;
pub mod stream;
mod sweep;
mod tape;
pub mod threads;
mod tree;
pub mod unpack;
pub mod whiteout;

pub use below::names;
pub use copy::{copy, give};
pub use resolve::{Pull, resolve};
pub use store::Store;
use stream::digest;
pub use sweep::{manifest_of, sweep};

use crate::flock::Flock;
use anyhow::{Context, Result, bail};
use name::Name;
use nix::fcntl::FlockArg;
use oci_spec::image::ImageConfiguration;
use std::{fs::File, path::PathBuf};

pub struct Image {
    pub name: String,
    /// The directories of its unpacked layers, lowest first.
    pub layers: Vec<PathBuf>,
    pub config: ImageConfiguration,
}

impl Image {
    pub fn new(store: &Store, name: &Name, config: ImageConfiguration) -> Result<Image> {
        let layers = distinct(store.layer_paths(&config)?);
        if let Some(layer) = layers.iter().find(|layer| !layer.is_dir()) {
            bail!("image {name} is damaged: {layer:?} is missing; get the image again, the rest of it stays");
        }
        Ok(Image { name: name.to_string(), layers, config })
    }

    /// Keeps the layers from being removed for as long as the answer (or a copy of its fds) is open.
    pub fn hold(&self) -> Result<Vec<Flock>> {
        let hold = |layer: &PathBuf| {
            let directory = File::open(layer).with_context(|| format!("image {}: {layer:?}", self.name))?;
            let lock = Flock::lock(directory, FlockArg::LockSharedNonblock).map_err(|(_, errno)| errno);
            lock.with_context(|| format!("image {} is being removed", self.name))
        };
        self.layers.iter().map(hold).collect()
    }
}

/// An overlay takes each directory once. A layer that comes again covers what it was before: the last counts.
pub fn distinct(all: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut layers: Vec<PathBuf> = Vec::new();
    for layer in all.into_iter().rev() {
        if !layers.contains(&layer) {
            layers.push(layer);
        }
    }
    layers.reverse();
    layers
}

/// What `resolve` would give, but nothing is made: an image that is not there has one layer, which is not either.
pub fn plan(store: &Store, name: &str) -> Result<Image> {
    let known = match source::parse(name) {
        Some(_) => None,
        None => Some(Name::parse(name)?),
    };
    let config = known.as_ref().map(|name| store.image(name)).transpose()?.flatten();
    match known.zip(config) {
        Some((name, config)) => Image::new(store, &name, config),
        None => Ok(Image {
            name: name.to_owned(),
            layers: vec![store.root().join("layers").join("not-there-yet")],
            config: ImageConfiguration::default(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;

    fn store(place: &tempfile::TempDir) -> Store {
        Store::open(Some(place.path().join("store"))).unwrap()
    }

    fn swept(store: &Store) -> Vec<PathBuf> {
        sweep(store).unwrap().into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn the_builtin_image_is_made_of_this_binary_once() {
        let place = tempfile::tempdir().unwrap();
        let store = store(&place);
        let image = resolve(&store, "rubber:latest", Pull::Never).unwrap();
        let made = std::fs::metadata(image.layers[0].join("bin/rubber")).unwrap();
        assert_eq!(made.len(), std::fs::metadata("/proc/self/exe").unwrap().len());
        assert!(image.layers[0].join("etc/passwd").is_file());
        // A second look must not touch the store: it may be read-only by then.
        let _locked = store.lock().unwrap();
        assert_eq!(resolve(&store, "rubber", Pull::Never).unwrap().layers, image.layers);
    }

    #[test]
    fn the_builtin_image_runs_alone() {
        if !nix::unistd::geteuid().is_root() {
            return eprintln!("skipped: the_builtin_image_runs_alone: chroot takes root");
        }
        let place = tempfile::tempdir().unwrap();
        let image = resolve(&store(&place), "rubber", Pull::Never).unwrap();
        let root = std::ffi::CString::new(image.layers[0].to_str().unwrap()).unwrap();
        let mut command = std::process::Command::new("/bin/rubber");
        // The binary of this test, which knows --list.
        command.arg("--list");
        // SAFETY: chroot(2) and chdir(2) are all that is called between fork and exec.
        unsafe {
            command.pre_exec(move || {
                nix::unistd::chroot(root.as_c_str())?;
                Ok(nix::unistd::chdir("/")?)
            });
        }
        let output = command.output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("runs_alone"), "{output:?}");
    }

    #[test]
    fn a_layer_that_is_held_outlives_its_image() {
        let place = tempfile::tempdir().unwrap();
        let store = store(&place);
        let image = resolve(&store, "rubber", Pull::Never).unwrap();
        let held = image.hold().unwrap();
        let name = Name::parse("rubber").unwrap();
        assert!(store.lock().unwrap().remove_image(&name).unwrap());
        assert!(image.layers[0].exists());
        drop(held);
        assert_eq!(swept(&store), image.layers);
        assert!(!image.layers[0].exists() && image.hold().is_err());
    }

    #[test]
    fn sweeping_removes_leftovers_and_waits_for_nobody() {
        let place = tempfile::tempdir().unwrap();
        let store = store(&place);
        assert!(sweep(&store).unwrap().is_empty() && !place.path().join("store/tmp").exists());
        let locked = store.lock().unwrap();
        let leftover = place.path().join("store/tmp/new-left/deep");
        std::fs::create_dir_all(&leftover).unwrap();
        assert!(sweep(&store).unwrap().is_empty() && leftover.exists());
        drop(locked);
        assert_eq!(swept(&store), [place.path().join("store/tmp/new-left")]);
        assert!(!leftover.exists());
    }
}

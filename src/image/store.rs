//! Where images are kept on disk, so that a killed rubber, or twenty at once, never leave half of one.
//!
//! ```text
//! images/NAME.json   an OCI image configuration; its diff_ids name the layers
//! layers/SHA256/     the unpacked files of one layer, whole and on disk, or not there
//! containers/        see container::record
//! volumes/NAME/      what is in a named volume: see container::volume
//! tmp/               what is being made; without a living holder of `lock` it is a leftover
//! lock               flock(2): exclusive while anything here changes
//! ```
//! Reading takes no lock: both kinds of things appear by rename(2), layers before the image that names them.

use super::{below, name::Name};
use crate::{container::find, narrate, removal};
use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    unistd::{geteuid, syncfs},
};
use oci_spec::image::ImageConfiguration;
use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// How long to wait for another rubber before saying so.
const PATIENCE: Duration = Duration::from_secs(1);

pub struct Store {
    root: PathBuf,
}

/// The store while nobody else may change it.
pub struct Locked<'a> {
    store: &'a Store,
    _lock: Flock<File>,
}

impl Store {
    /// The store in `root`, else in /var/lib/rubber for root and under $XDG_DATA_HOME for others. Made when missing.
    pub fn open(root: Option<PathBuf>) -> Result<Store> {
        let store = Store::named(root)?;
        store.check().map_err(|error| store.explain(error))?;
        Ok(store)
    }

    /// The same, but neither made nor looked at: for plans.
    pub fn named(root: Option<PathBuf>) -> Result<Store> {
        let root = match root {
            Some(root) => std::path::absolute(&root).with_context(|| format!("bad --root {root:?}"))?,
            None => default_root()?,
        };
        Ok(Store { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where each container has its record and its directory.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// Where each named volume has its directory.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    fn check(&self) -> Result<()> {
        let root = &self.root;
        let found = match fs::metadata(root) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make_private(root)?;
                fs::metadata(root)
            }
            other => other,
        };
        let found = found.with_context(|| format!("cannot open the store {root:?}"))?;
        if !found.is_dir() {
            bail!("the store {root:?} is not a directory: name one with --root DIR");
        }
        if found.uid() != geteuid().as_raw() {
            bail!("the store {root:?} belongs to user {}: name one of your own with --root DIR", found.uid());
        }
        if found.mode() & 0o022 != 0 {
            bail!(
                "the store {root:?} can be changed by others: chmod 700 it, or name another with --root DIR"
            );
        }
        Ok(())
    }

    /// The configuration stored under `name`. One open and one read: the way to every container leads through here.
    pub fn image(&self, name: &Name) -> Result<Option<ImageConfiguration>> {
        let path = self.image_path(name);
        let json = match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("cannot read image {name}: {path:?}"))?,
        };
        let config = serde_json::from_slice(&json).with_context(|| {
            format!("image {name} is damaged ({path:?}): rubber rmi {name}, then get it again")
        })?;
        Ok(Some(config))
    }

    /// The names of all images, sorted. A store that was never written to has none.
    pub fn names(&self) -> Result<Vec<Name>> {
        let directory = self.root.join("images");
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.with_context(|| format!("cannot list {directory:?}"))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().to_str().and_then(Name::from_file_name));
        }
        names.sort();
        Ok(names)
    }

    /// The SHA-256 of the image's configuration, which is what OCI means by an image's id.
    pub fn id(&self, name: &Name) -> Result<String> {
        let json = fs::read(self.image_path(name)).with_context(|| format!("cannot read image {name}"))?;
        Ok(super::digest(&json))
    }

    fn image_path(&self, name: &Name) -> PathBuf {
        self.root.join("images").join(name.file_name())
    }

    /// The directories of these layers, lowest first.
    pub fn layer_paths(&self, config: &ImageConfiguration) -> Result<Vec<PathBuf>> {
        config.rootfs().diff_ids().iter().map(|id| Ok(self.root.join("layers").join(hex(id)?))).collect()
    }

    /// Waits until nobody else changes the store, and clears away what a killed rubber left in tmp/.
    pub fn lock(&self) -> Result<Locked<'_>> {
        let locked = self.try_lock(PATIENCE).and_then(|locked| match locked {
            Some(locked) => Ok(locked),
            None => {
                narrate::warn(format_args!(
                    "waiting for another rubber that is changing the store {:?}",
                    self.root
                ));
                let lock = Flock::lock(self.lock_file()?, FlockArg::LockExclusive);
                Ok(Locked { store: self, _lock: lock.map_err(|(_, errno)| errno).context("flock(LOCK_EX)")? })
            }
        });
        let locked = locked.map_err(|error| self.explain(error))?;
        locked.clear_leftovers()?;
        Ok(locked)
    }

    fn try_lock(&self, patience: Duration) -> Result<Option<Locked<'_>>> {
        for directory in ["images", "layers", "tmp"] {
            make_private(&self.root.join(directory))?;
        }
        let mut file = self.lock_file()?;
        let began = std::time::Instant::now();
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Some(Locked { store: self, _lock: lock })),
                Err((_, Errno::EWOULDBLOCK)) if began.elapsed() >= patience => return Ok(None),
                Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) => file = back,
                Err((_, errno)) => return Err(errno).context("flock(LOCK_EX)"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn lock_file(&self) -> Result<File> {
        let path = self.root.join("lock");
        let options = OpenOptions::new().read(true).write(true).create(true).mode(0o600).clone();
        options.open(&path).with_context(|| format!("open({path:?})"))
    }

    /// Puts what to do next on an error that the disk, not the image, is to blame for.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let root = &self.root;
        let advice = match errno(&error) {
            Some(Errno::ENOSPC | Errno::EDQUOT) => {
                format!("the store {root:?} is full: make room there, or name another with --root DIR")
            }
            Some(Errno::EROFS) => {
                format!("the store {root:?} is on a read-only filesystem: name another with --root DIR")
            }
            Some(Errno::EACCES) => {
                format!("no permission to use the store {root:?}: name one of your own with --root DIR")
            }
            Some(Errno::ENOSYS) => {
                "this kernel lacks a system call rubber needs (Linux 5.6 has all)".to_owned()
            }
            _ => return error,
        };
        error.context(advice)
    }
}

/// Removes what a killed rubber left behind and the layers nothing needs, and returns what it was. Does nothing while another one is at work.
pub fn sweep(store: &Store) -> Result<Vec<PathBuf>> {
    if !store.root.join("tmp").exists() {
        return Ok(Vec::new());
    }
    match store.try_lock(Duration::ZERO).map_err(|error| store.explain(error))? {
        Some(locked) => {
            let mut removed = locked.clear_leftovers()?;
            removed.extend(locked.remove_unused_layers()?);
            Ok(removed)
        }
        None => Ok(Vec::new()),
    }
}

impl Locked<'_> {
    pub fn store(&self) -> &Store {
        self.store
    }

    fn clear_leftovers(&self) -> Result<Vec<PathBuf>> {
        let tmp = self.store.root.join("tmp");
        let directory = File::open(&tmp).with_context(|| format!("cannot open {tmp:?}"))?;
        let mut removed = Vec::new();
        for name in below::names(&directory.into())? {
            let path = tmp.join(&name);
            removal::remove_tree(&path)?;
            removed.push(path);
        }
        Ok(removed)
    }

    /// An empty directory of mode 0700 for something that is still being made; gone when dropped.
    pub fn scratch(&self) -> Result<Scratch> {
        let tmp = self.store.root.join("tmp");
        let made = tempfile::Builder::new().prefix("new-").tempdir_in(&tmp);
        // Not left to tempfile's own removal, which would cross mounts.
        let path = made.with_context(|| format!("cannot make a directory in {tmp:?}"))?.keep();
        Ok(Scratch { path })
    }

    /// Makes the finished tree `files` the layer `digest`; a layer of that content that is there already stays.
    pub fn adopt(&self, files: &Path, digest: &str) -> Result<()> {
        let layer = self.store.root.join("layers").join(hex(digest)?);
        if layer.exists() {
            return Ok(());
        }
        // Everything below must be on disk before the name says that it is whole.
        syncfs(File::open(files)?).with_context(|| format!("syncfs({files:?})"))?;
        fs::rename(files, &layer).with_context(|| format!("rename({files:?}, {layer:?})"))?;
        sync_directory(&self.store.root.join("layers"))
    }

    /// Stores `config` under `name`.
    pub fn write_image(&self, name: &Name, config: &ImageConfiguration) -> Result<()> {
        let json = serde_json::to_vec(config).context("cannot write the image's configuration as JSON")?;
        let mut file = tempfile::NamedTempFile::new_in(self.store.root.join("tmp"))?;
        file.write_all(&json)?;
        file.as_file().sync_all()?;
        file.persist(self.store.image_path(name)).map_err(|error| error.error)?;
        sync_directory(&self.store.root.join("images"))
    }

    /// Forgets `name` and removes every layer that no image uses any more. Returns false when there was no such image.
    pub fn remove_image(&self, name: &Name) -> Result<bool> {
        match fs::remove_file(self.store.image_path(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            other => other.with_context(|| format!("cannot remove image {name}"))?,
        }
        // The name goes first: a layer without an image is swept later, an image without a layer would be broken.
        sync_directory(&self.store.root.join("images"))?;
        self.remove_unused_layers()?;
        Ok(true)
    }

    /// Removes the layers that no image names and no container holds (see `Image::hold`), and returns which.
    pub fn remove_unused_layers(&self) -> Result<Vec<PathBuf>> {
        let mut used = Vec::new();
        for name in self.store.names()? {
            // An image that cannot be read may use any layer: then none is removed.
            if let Some(config) = self.store.image(&name)? {
                used.extend(self.store.layer_paths(&config)?);
            }
        }
        // What has ended can still be looked at, whatever has become of its image's name.
        used.extend(find::all(self.store)?.into_iter().flat_map(|container| container.record.config.image));
        let layers = self.store.root.join("layers");
        let mut removed = Vec::new();
        for entry in fs::read_dir(&layers)? {
            let path = entry?.path();
            if !used.contains(&path) && self.remove_layer(&path)? {
                removed.push(path);
            }
        }
        Ok(removed)
    }

    /// False when a container holds it.
    fn remove_layer(&self, layer: &Path) -> Result<bool> {
        let directory = File::open(layer).with_context(|| format!("cannot open {layer:?}"))?;
        let Ok(_held) = Flock::lock(directory, FlockArg::LockExclusiveNonblock) else { return Ok(false) };
        // Renamed first, so that a kill in the middle leaves a leftover and never half a layer.
        let name = layer.file_name().unwrap_or(OsStr::new("layer"));
        let tmp = self.store.root.join("tmp");
        let doomed = tmp.join(name);
        fs::rename(layer, &doomed).with_context(|| format!("rename({layer:?}, {doomed:?})"))?;
        removal::remove_tree(&doomed)?;
        Ok(true)
    }
}

/// A directory in tmp/ that goes away with its owner.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is a leftover: the next one who takes the lock removes it or says why not.
        let _ = removal::remove_tree(&self.path);
    }
}

/// The hexadecimal part of a digest. It becomes a file name, so nothing else may be in it.
fn hex(digest: &str) -> Result<&str> {
    match digest.strip_prefix("sha256:") {
        Some(hex) if hex.len() == 64 && hex.bytes().all(|byte| b"0123456789abcdef".contains(&byte)) => {
            Ok(hex)
        }
        _ => bail!("{digest:?} is not a sha256 digest: the image is damaged, import it again"),
    }
}

fn default_root() -> Result<PathBuf> {
    if geteuid().is_root() {
        return Ok("/var/lib/rubber".into());
    }
    let absolute = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share")));
    let data = data.context("no place for the store: HOME is not set, name a directory with --root DIR")?;
    Ok(data.join("rubber"))
}

/// A directory for nobody else, whatever those above it are open to.
pub fn make_private(directory: &Path) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.with_context(|| format!("mkdir({directory:?})"))
}

/// A rename is on disk once its directory is.
fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)?.sync_all().with_context(|| format!("fsync({directory:?})"))
}

/// The errno that started this error, if a system call did.
fn errno(error: &anyhow::Error) -> Option<Errno> {
    error.chain().find_map(|cause| {
        let raw = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        cause.downcast_ref::<Errno>().copied().or(raw.map(Errno::from_raw))
    })
}

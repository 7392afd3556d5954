//! Where images are kept on disk, so that a killed rubber, or twenty at once, never leave half of one.
//!
//! ```text
//! images/NAME.json   an OCI image configuration; its diff_ids name the layers
//! layers/SHA256/     the unpacked files of one layer, whole and on disk, or not there; SHA256-SHA256 for the chain of
//!                    layers that the second digest is of: see `chain`
//! listed/            SHA256, the empty mark of a layer that all images may share: see `chain`
//! contents/          SHA256, what was in a layer that has no blob: see `contents`
//! manifests/         SHA256.json, by the digest of an image's configuration: the manifest it came by, if it did
//! blobs/sha256/      the layers that manifests name, as they came: see `blobs`
//! damaged/           SHA256, the empty mark of a layer that is to be made anew: see `damage`
//! containers/        see container::record
//! volumes/NAME/      what is in a named volume: see container::volume
//! tmp/               what is being made; without a living holder of `lock` it is a leftover (blobs lock themselves)
//! lock               flock(2): exclusive while anything here changes
//! ```
//! Reading takes no lock: all of it appears by rename(2), layers before the image that names them. To run an image
//! takes images/ and layers/ alone (and older stores have no more than that); the blobs are for `rubber save`, for
//! the next image that shares them, and to mend a damaged layer.

use super::{chain::Kept, damage, digest, name::Name, sweep::Begun, unpack::LeftOut};
use crate::{flock::Flock, narrate, removal, trust};
use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    fcntl::FlockArg,
    unistd::{geteuid, syncfs},
};
use oci_spec::image::ImageConfiguration;
use std::{
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
    _lock: Flock,
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
        let found = match fs::symlink_metadata(root) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make_private(root)?;
                fs::metadata(root)
            }
            // Another user's link may lead to other directories of ours as well.
            Ok(link) if link.is_symlink() => {
                trust::ensure_owned(root, &link)?;
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
        let Some(json) = self.config_bytes(name)? else { return Ok(None) };
        trust::directory(&self.root.join("layers"))?;
        let path = self.image_path(name);
        let config = serde_json::from_slice(&json).with_context(|| {
            format!("image {name} is damaged ({path:?}): rubber rmi {name}, then get it again")
        })?;
        Ok(Some(config))
    }

    /// The names of all images, sorted. A store that was never written to has none.
    pub fn names(&self) -> Result<Vec<Name>> {
        let directory = self.root.join("images");
        if !trust::directory(&directory)? {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(&directory).with_context(|| format!("cannot list {directory:?}"))?;
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().to_str().and_then(Name::from_file_name));
        }
        names.sort();
        Ok(names)
    }

    /// The SHA-256 of the image's configuration, which is what OCI means by an image's id.
    pub fn id(&self, name: &Name) -> Result<String> {
        self.id_if_there(name)?.with_context(|| format!("no image {name}"))
    }

    pub fn id_if_there(&self, name: &Name) -> Result<Option<String>> {
        Ok(self.config_bytes(name)?.map(|json| digest(&json)))
    }

    /// The configuration as it came.
    pub fn config_bytes(&self, name: &Name) -> Result<Option<Vec<u8>>> {
        trust::directory(&self.root.join("images"))?;
        trust::read(&self.image_path(name)).with_context(|| format!("cannot read image {name}"))
    }

    pub fn image_path(&self, name: &Name) -> PathBuf {
        self.root.join("images").join(name.file_name())
    }

    /// Where the manifest is kept that an image came by, found by the digest of its configuration.
    pub fn manifest_path(&self, id: &str) -> Result<PathBuf> {
        Ok(self.root.join("manifests").join(format!("{}.json", hex(id)?)))
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
        locked.clear_leftovers(Begun::Kept)?.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(locked)
    }

    pub(super) fn try_lock(&self, patience: Duration) -> Result<Option<Locked<'_>>> {
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

impl Locked<'_> {
    pub fn store(&self) -> &Store {
        self.store
    }

    /// An empty directory of mode 0700 for something that is still being made; gone when dropped.
    pub fn scratch(&self) -> Result<Scratch> {
        let tmp = self.store.root.join("tmp");
        let made = tempfile::Builder::new().prefix("new-").tempdir_in(&tmp);
        // Not left to tempfile's own removal, which would cross mounts.
        let path = made.with_context(|| format!("cannot make a directory in {tmp:?}"))?.keep();
        Ok(Scratch { path })
    }

    /// Puts the finished tree `files` in the place of a layer that has no blob, and writes down what is in it; the same
    /// tree that is there already stays.
    pub fn adopt(&self, files: &Path, kept: &Kept, unpacked: &LeftOut) -> Result<()> {
        // Everything below must be on disk before the name says that it is whole.
        syncfs(File::open(files)?).with_context(|| format!("syncfs({files:?})"))?;
        let layer = kept.place(unpacked.lists_all());
        // There is no blob to tell a damaged one by: but now there are its files once more.
        self.replace_unlike(files, layer, unpacked)?;
        self.adopt_synced(files, layer)?;
        sync_directory(&self.store.root.join("layers"))?;
        self.allow(kept, unpacked.lists_all())?;
        self.write_contents(layer)
    }

    /// Takes away a layer that is not what was just unpacked in `files`.
    fn replace_unlike(&self, files: &Path, layer: &Path, unpacked: &LeftOut) -> Result<()> {
        let is_unlike = || match damage::between(files, layer, &unpacked.unlisted) {
            Ok(found) => !found.is_empty(),
            // What cannot be compared is not trusted, if it was not before.
            Err(_) => unpacked.lists_all() && !self.store.lists_all(layer),
        };
        if layer.is_dir() && is_unlike() {
            self.remove_damaged(layer)?;
        }
        self.unmark(layer)
    }

    /// The same for one of several of an image that has blobs, where the caller syncs all of them.
    pub fn settle(&self, files: &Path, kept: &Kept, unpacked: &LeftOut) -> Result<()> {
        let layer = kept.place(unpacked.lists_all());
        match layer.is_dir() && unpacked.lists_all() && !self.store.lists_all(layer) {
            // The release before has left it, whatever it has unpacked it from.
            true => self.replace_unlike(files, layer, unpacked)?,
            false => self.make_room(layer)?,
        }
        self.adopt_synced(files, layer)
    }

    fn adopt_synced(&self, files: &Path, layer: &Path) -> Result<()> {
        if layer.exists() {
            return Ok(());
        }
        fs::rename(files, layer).with_context(|| format!("rename({files:?}, {layer:?})"))
    }

    /// Stores `config` under `name`, for what was made here.
    pub fn write_image(&self, name: &Name, config: &ImageConfiguration) -> Result<()> {
        let json = serde_json::to_vec(config).context("cannot write the image's configuration as JSON")?;
        self.write_config(name, &json)
    }

    /// Stores the configuration under `name`, byte by byte as it came: its digest is the image's id. What the name
    /// meant before, and nothing else needs, is removed.
    pub fn write_config(&self, name: &Name, json: &[u8]) -> Result<()> {
        let before = self.store.id_if_there(name)?;
        self.write(&self.store.image_path(name), json)?;
        match before {
            Some(before) if before != digest(json) => self.forget(&before),
            _ => Ok(()),
        }
    }

    /// A whole file in the store, in one moment.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<()> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        make_private(directory)?;
        let mut file = tempfile::NamedTempFile::new_in(self.store.root.join("tmp"))?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error).with_context(|| format!("rename({path:?})"))?;
        sync_directory(directory)
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
pub fn hex(digest: &str) -> Result<&str> {
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

/// A directory for nobody else, whatever those above it are open to; one that is there has to be ours.
pub fn make_private(directory: &Path) -> Result<()> {
    if trust::directory(directory)? {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.with_context(|| format!("mkdir({directory:?})"))
}

/// A rename is on disk once its directory is.
pub fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)?.sync_all().with_context(|| format!("fsync({directory:?})"))
}

/// The errno that started this error, if a system call did.
fn errno(error: &anyhow::Error) -> Option<Errno> {
    error.chain().find_map(|cause| {
        let raw = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        cause.downcast_ref::<Errno>().copied().or(raw.map(Errno::from_raw))
    })
}

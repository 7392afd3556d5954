//! The store's blobs: layers as they came over the network or out of an archive, by the SHA-256 of their bytes.
//!
//! A blob that is there is whole: it is written in tmp/, hashed on the way, and gets its name when all of it is on
//! disk. What has been written of one survives its writer, whoever wants that blob next goes on from there.

use super::{
    holes,
    store::{Store, hex, make_private, sync_directory},
    stream,
};
use crate::{flock::Flock, narrate};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{FlockArg, OFlag},
};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Seek, Write},
    os::{
        fd::AsRawFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// In tmp/: `blob-HEX`. What begins so is not swept as long as somebody writes it, nor by just anybody then.
pub const PARTIAL: &str = "blob-";

/// How long to wait for another rubber before saying so.
const PATIENCE: Duration = Duration::from_secs(1);

/// A whole blob. It stays in the store for as long as this is open.
pub struct Blob {
    /// At its beginning.
    pub file: Flock,
    pub digest: String,
    /// In bytes.
    pub size: u64,
}

/// A blob that is still being written, by us alone.
pub struct Partial<'a> {
    store: &'a Store,
    file: Flock,
    path: PathBuf,
    /// Its digest and its size, where somebody has told them.
    promised: Option<(String, u64)>,
    sha256: Sha256,
    written: u64,
}

pub enum Wanted<'a> {
    Whole(Blob),
    Partial(Partial<'a>),
}

impl Store {
    pub fn blob_path(&self, digest: &str) -> Result<PathBuf> {
        Ok(self.root().join("blobs/sha256").join(hex(digest)?))
    }

    fn partial_path(&self, digest: &str) -> Result<PathBuf> {
        Ok(self.root().join("tmp").join(format!("{PARTIAL}{}", hex(digest)?)))
    }
}

/// The blob, if it is there. (Its bytes are not looked at: who uses them hashes them.)
pub fn whole(store: &Store, digest: &str) -> Result<Option<Blob>> {
    let path = store.blob_path(digest)?;
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.with_context(|| format!("open({path:?})"))?,
    };
    // Who removes it locks it for that moment, and so does who has just completed it.
    let file =
        Flock::lock(file, FlockArg::LockShared).map_err(|(_, errno)| errno).context("flock(LOCK_SH)")?;
    let found = file.metadata()?;
    let is_there = found.nlink() > 0;
    Ok(is_there.then(|| Blob { file, digest: digest.to_owned(), size: found.len() }))
}

/// The blob, or the place to write it, of `size` bytes. Waits for another rubber that is just writing it: so do not
/// wait for one while you write another.
pub fn want<'a>(store: &'a Store, digest: &str, size: u64) -> Result<Wanted<'a>> {
    let wanted = wait_for(store, digest, size);
    wanted.map_err(|error| store.explain(error))
}

fn wait_for<'a>(store: &'a Store, digest: &str, size: u64) -> Result<Wanted<'a>> {
    let path = store.partial_path(digest)?;
    loop {
        if let Some(blob) = whole_of(store, digest, size)? {
            return Ok(Wanted::Whole(blob));
        }
        let Some(mut partial) = open(store, &path)? else { continue };
        // Whoever had it may have completed it meanwhile.
        if let Some(blob) = whole_of(store, digest, size)? {
            fs::remove_file(&path).with_context(|| format!("unlink({path:?})"))?;
            return Ok(Wanted::Whole(blob));
        }
        partial.promised = Some((digest.to_owned(), size));
        partial.resume(size)?;
        return Ok(Wanted::Partial(partial));
    }
}

/// A blob of which nothing is known yet.
pub fn unknown(store: &Store) -> Result<Partial<'_>> {
    let word: String = crate::container::new_id()?;
    let path = store.root().join("tmp").join(format!("{PARTIAL}new-{word}"));
    loop {
        match open(store, &path).map_err(|error| store.explain(error))? {
            Some(partial) => return Ok(partial),
            None => continue, // swept before it was locked
        }
    }
}

/// Opens it for us alone; `None` when the name went to another file while we waited.
fn open<'a>(store: &'a Store, path: &Path) -> Result<Option<Partial<'a>>> {
    make_private(&store.root().join("blobs"))?;
    make_private(&store.root().join("blobs/sha256"))?;
    make_private(&store.root().join("tmp"))?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.custom_flags(OFlag::O_NOFOLLOW.bits()).open(path);
    let file = file.with_context(|| format!("open({path:?})"))?;
    let Some(file) = locked(file, path)? else { return Ok(None) };
    let path = path.to_owned();
    Ok(Some(Partial { store, file, path, promised: None, sha256: Sha256::new(), written: 0 }))
}

/// One that is there is looked at before anything is built on it: a damaged one is made anew.
fn whole_of(store: &Store, digest: &str, size: u64) -> Result<Option<Blob>> {
    let Some(blob) = whole(store, digest)? else { return Ok(None) };
    if blob.is_sound()? {
        ensure!(blob.size == size, "the blob {digest} has {} bytes, and {size} were promised", blob.size);
        return Ok(Some(blob));
    }
    drop(blob);
    ensure!(remove(store, digest)?, "the blob {digest} is damaged, and somebody is using it: try again");
    Ok(None)
}

/// Waits for the lock as long as the file has its name. `None`: it was completed meanwhile, or given up.
fn locked(file: File, path: &Path) -> Result<Option<Flock>> {
    let held = file.metadata()?;
    let (began, mut waiting, mut told) = (Instant::now(), file, false);
    loop {
        let locked = Flock::lock(waiting, FlockArg::LockExclusiveNonblock);
        let named = fs::metadata(path);
        if !named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())) {
            return Ok(None);
        }
        waiting = match locked {
            Ok(locked) => return Ok(Some(locked)),
            Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) => back,
            Err((_, errno)) => return Err(errno).context("flock(LOCK_EX)"),
        };
        if !told && began.elapsed() > PATIENCE {
            narrate::warn(format_args!("waiting for another rubber that is fetching what will be {path:?}"));
            told = true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Removes a blob, unless somebody has it open; returns whether it is gone.
pub fn remove(store: &Store, digest: &str) -> Result<bool> {
    let path = store.blob_path(digest)?;
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        other => other.with_context(|| format!("open({path:?})"))?,
    };
    let Ok(_held) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return Ok(false) };
    fs::remove_file(&path).with_context(|| format!("unlink({path:?})"))?;
    Ok(true)
}

impl Blob {
    /// The same file, read from its beginning by somebody else.
    pub fn again(&self) -> Result<File> {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        File::open(&path).with_context(|| format!("open({path:?})"))
    }

    /// Whether its bytes are those its name promises. Reads all of it.
    pub fn is_sound(&self) -> Result<bool> {
        let mut sha256 = Sha256::new();
        stream::add_all(self.again()?, &mut sha256).context("read()")?;
        Ok(stream::written(&sha256.finalize()) == self.digest)
    }
}

impl Partial<'_> {
    /// How many bytes are there already: the rest is what is missing.
    pub fn len(&self) -> u64 {
        self.written
    }

    /// Forgets them.
    pub fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).context("ftruncate(0)")?;
        self.file.rewind()?;
        (self.sha256, self.written) = (Sha256::new(), 0);
        Ok(())
    }

    /// Hashes what somebody else has left.
    fn resume(&mut self, size: u64) -> Result<()> {
        if self.file.metadata()?.len() > size {
            return self.restart();
        }
        self.written = stream::add_all(&*self.file, &mut self.sha256).context("read()")?;
        Ok(())
    }

    /// Makes it a blob, if it is all there and what it should be. What is too short stays for the next try.
    pub fn finish(self) -> Result<Blob> {
        let store = self.store;
        self.complete().map_err(|error| store.explain(error))
    }

    fn complete(self) -> Result<Blob> {
        let Partial { store, mut file, path, promised, sha256, written } = self;
        let found = stream::written(&sha256.finalize());
        let remove = || fs::remove_file(&path).with_context(|| format!("unlink({path:?})"));
        if let Some((digest, size)) = promised {
            ensure!(written == size, "{digest} is cut off: {written} of {size} bytes are there");
            if found != digest {
                remove()?;
                bail!("what came as {digest} is {found}: refused");
            }
        } else if let Some(blob) = whole_of(store, &found, written)? {
            remove()?;
            return Ok(blob);
        }
        file.set_len(written).context("ftruncate()")?; // it may end in a hole
        file.sync_all().context("fsync()")?;
        let name = store.blob_path(&found)?;
        fs::rename(&path, &name).with_context(|| format!("rename({path:?}, {name:?})"))?;
        sync_directory(&store.root().join("blobs/sha256"))?;
        file.relock(FlockArg::LockShared).context("flock(LOCK_SH)")?;
        file.rewind()?;
        Ok(Blob { file, digest: found, size: written })
    }

    /// Gives it up.
    pub fn forget(self) -> Result<()> {
        fs::remove_file(&self.path).with_context(|| format!("unlink({:?})", self.path))
    }

    fn left(&self) -> u64 {
        self.promised.as_ref().map_or(u64::MAX, |(_, size)| size - self.written)
    }
}

impl Write for Partial<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left() {
            return Err(io::Error::other("it goes on after all the bytes that were promised"));
        }
        let count = holes::Writer::at(&self.file, self.written).write(bytes)?;
        self.sha256.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

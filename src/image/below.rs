//! Names below a directory whose content nobody vouches for.
//!
//! A path of an image is never walked by us and never joined to a path of the host. The kernel resolves it with
//! `openat2(2)` and RESOLVE_IN_ROOT, as chroot(2) would: an absolute link or a `..` in a link stays inside. What
//! comes back is the file descriptor of the *parent*; the last name is then used with calls that never follow it.

use anyhow::{Context, Result, ensure};
use nix::{
    dir::Dir,
    errno::Errno,
    fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2},
    libc,
    sys::stat::{FileStat, Mode, SFlag, fstat, fstatat},
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::Read,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

/// Opens the directory itself, never what a link of that name points to.
pub const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A directory that is `/` for every name given to it.
pub struct Below {
    root: OwnedFd,
}

const IN_ROOT: ResolveFlag = ResolveFlag::RESOLVE_IN_ROOT.union(ResolveFlag::RESOLVE_NO_MAGICLINKS);

impl Below {
    pub fn open(root: &Path) -> Result<Below> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open(root, flags, Mode::empty()).with_context(|| format!("open({root:?})"))?;
        Ok(Below { root })
    }

    /// The same for a directory that is open already.
    pub fn at(root: OwnedFd) -> Below {
        Below { root }
    }

    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The directory `path`, links followed inside the root; the empty path is the root itself.
    pub fn directory(&self, path: &Path) -> nix::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let how =
            OpenHow::new().flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).resolve(IN_ROOT);
        // EAGAIN: something was renamed on this machine while the kernel walked over a `..`; see openat2(2).
        let mut tries = 0..100;
        loop {
            match openat2(&self.root, path, how) {
                Err(Errno::EAGAIN) if tries.next().is_some() => continue,
                other => return other,
            }
        }
    }

    /// The directory `path`, if it is the one that was there before, and no other that another process has put in its
    /// place. Else ESTALE.
    pub fn again(&self, path: &Path, known: Key) -> nix::Result<OwnedFd> {
        let directory = self.directory(path)?;
        if key(&fstat(&directory)?) == known { Ok(directory) } else { Err(Errno::ESTALE) }
    }

    /// The first `most` bytes of the file `path`, links followed inside the root. A fifo or a device is none.
    pub fn read(&self, path: &Path, most: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The same, open for reading.
    pub fn file(&self, path: &Path) -> Result<File> {
        let (parent, name) = split(path);
        let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(IN_ROOT);
        let path = parent.join(name);
        let file =
            openat2(&self.root, &path, how).with_context(|| format!("openat2({path:?}, RESOLVE_IN_ROOT)"))?;
        regular(&file)?.with_context(|| format!("{path:?} is no file"))
    }
}

/// Splits a checked name into its parent and its last part.
pub fn split(path: &Path) -> (PathBuf, OsString) {
    let name = path.file_name().map(OsStr::to_owned).unwrap_or_default();
    (path.parent().map(Path::to_path_buf).unwrap_or_default(), name)
}

/// What `name` itself is, links not followed; `None` when there is nothing.
pub fn look(parent: impl AsFd, name: &OsStr) -> nix::Result<Option<FileStat>> {
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What tells a file from all others, under whatever name: filesystems number theirs alike.
pub type Key = (libc::dev_t, libc::ino_t);

pub fn key(stat: &FileStat) -> Key {
    (stat.st_dev, stat.st_ino)
}

pub fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// Opens what an O_PATH descriptor stands for, if it is a regular file: opening a device may do something, and a
/// fifo may wait for ever.
pub fn regular(path: &OwnedFd) -> Result<Option<File>> {
    if kind(&fstat(path)?) != SFlag::S_IFREG {
        return Ok(None);
    }
    let name = format!("/proc/self/fd/{}", path.as_raw_fd());
    Ok(Some(File::open(&name).with_context(|| format!("open({name:?})"))?))
}

/// The names in a directory, without `.` and `..`.
pub fn names(directory: &OwnedFd) -> Result<Vec<OsString>> {
    // Opened again, because reading moves the position of an open directory.
    let mut dir = Dir::openat(directory, ".", DIRECTORY, Mode::empty()).context("openat(\".\")")?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry.context("getdents64()")?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// So many directories above the one where we are stay open.
const HELD: usize = 128;

/// The way from a directory down to where we are, and back. Another process may rename what is on it: so it is gone by
/// what is held, and never by its names once more.
pub struct Way {
    path: PathBuf,
    here: OwnedFd,
    above: Vec<Above>,
}

enum Above {
    Held(OwnedFd),
    /// It is too far up to be held. What `..` leads to must be this one: the kernel keeps it, and its number, as long
    /// as there is something below.
    Known(Key),
}

impl Way {
    pub fn from(top: OwnedFd) -> Way {
        Way { path: PathBuf::new(), here: top, above: Vec::new() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn here(&self) -> &OwnedFd {
        &self.here
    }

    /// Goes on to `directory`, which is called `name`.
    pub fn enter(&mut self, name: &OsStr, directory: OwnedFd) -> nix::Result<()> {
        self.path.push(name);
        self.above.push(Above::Held(std::mem::replace(&mut self.here, directory)));
        let far = self.above.len().checked_sub(HELD + 1);
        if let Some(far) = far.and_then(|far| self.above.get_mut(far))
            && let Above::Held(directory) = far
        {
            *far = Above::Known(key(&fstat(directory)?));
        }
        Ok(())
    }

    /// Goes back; false at the top.
    pub fn leave(&mut self) -> Result<bool> {
        let above = match self.above.pop() {
            None => return Ok(false),
            Some(Above::Held(directory)) => directory,
            Some(Above::Known(known)) => {
                let above = openat(&self.here, "..", DIRECTORY, Mode::empty()).context("openat(\"..\")")?;
                ensure!(key(&fstat(&above)?) == known, "{:?} was moved while we were in it", self.path);
                above
            }
        };
        self.here = above;
        self.path.pop();
        Ok(true)
    }
}

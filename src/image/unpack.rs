//! Unpacks a tar stream into an empty directory, entry by entry, believing nothing it says.
//!
//! What a name in the archive leads to is decided in `below`. Here: which entries exist at all, what replaces what,
//! and in which order owner, mode, attributes and time must be set so that none undoes another.

use super::{
    attributes::{Attributes, welcome},
    below::{self, Below, DIRECTORY},
    whiteout,
};
use crate::removal;
use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    libc,
    sys::{
        stat::{FileStat, Mode, SFlag, fstat, mkdirat},
        time::TimeSpec,
    },
    unistd::{LinkatFlags, geteuid, linkat, mkfifoat, symlinkat},
};
use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};
use tar::{Archive, Entry, EntryType};

/// What was not taken over from the archive, for one line to the user.
#[derive(Default)]
pub struct LeftOut {
    pub devices: Vec<String>,
    pub owners: u64,
}

/// What becomes of the entries.
pub struct Manner {
    pub owner: Owner,
    pub purpose: Purpose,
    /// How many parts of each name fall away, and what comes in their place.
    pub strip: usize,
    pub prefix: PathBuf,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Owner {
    Archived,
    /// Everything belongs to this user and group. Who owned it before must not come by the new owner's power:
    /// setuid bits stay only where the owner does.
    Given(u32, u32),
    /// The same, and whoever made the file is not to be trusted with setuid bits at all.
    Caller(u32, u32),
}

#[derive(Clone, Copy, PartialEq)]
pub enum Purpose {
    /// A root filesystem: a later entry replaces an earlier one of its name, whatever both are.
    Image,
    /// A layer of an image: some names stand for what is gone (see `whiteout`).
    Layer,
    /// Into a directory that is somebody's: its directories stay as they are, and only files are replaced.
    Copy,
    /// The same, and the uppermost entry must be a directory.
    CopyDirectory,
}

impl Manner {
    pub fn of(purpose: Purpose) -> Manner {
        Manner { owner: Owner::Archived, purpose, strip: 0, prefix: PathBuf::new() }
    }

    fn place(&self, path: PathBuf) -> PathBuf {
        // `join` with an empty path would end the name with a slash.
        path.components().skip(self.strip).fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn copies(&self) -> bool {
        matches!(self.purpose, Purpose::Copy | Purpose::CopyDirectory)
    }
}

/// Unpacks `tar` into the directory `target`. An error leaves it half-filled: one that was empty is for the caller to
/// remove.
pub fn unpack_into(tar: impl Read, target: Below, manner: Manner) -> Result<LeftOut> {
    let mut archive = Archive::new(Tail { source: tar, ended: false });
    let mut tree = Tree::new(target, manner);
    let mut entries = 0u64;
    for entry in archive.entries().context("not a tar archive")? {
        let mut entry = entry.map_err(tidy).context(match entries {
            0 => "not a tar archive".to_owned(),
            n => format!("the archive is cut off or damaged after entry {n}"),
        })?;
        let name = entry.path_bytes().into_owned();
        tree.add(&mut entry, &name).with_context(|| format!("entry {}", shown(&name)))?;
        entries += 1;
    }
    // A layer may change nothing.
    ensure!(entries > 0 || tree.manner.purpose == Purpose::Layer, "the archive is empty");
    // A tar ends with zeros. One that ends with its source was cut off, if only between two entries.
    ensure!(!archive.into_inner().ended, "the archive is cut off after entry {entries}");
    tree.finish()
}

/// Knows whether the source has ended, which the tar crate takes for the end of the archive.
struct Tail<R> {
    source: R,
    ended: bool,
}

impl<R: Read> Read for Tail<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(into)?;
        self.ended |= count == 0 && !into.is_empty();
        Ok(count)
    }
}

struct Tree {
    below: Below,
    manner: Manner,
    /// An ordinary user owns whatever it unpacks.
    privileged: bool,
    /// The directory of the last entry: the next one is mostly in it too.
    last: Option<(PathBuf, OwnedFd)>,
    /// By inode number, set at the end: a directory must stay writable, and keep its time, while it is filled.
    directories: HashMap<libc::ino_t, (PathBuf, Attributes)>,
    left_out: LeftOut,
}

impl Tree {
    fn new(below: Below, manner: Manner) -> Tree {
        Tree {
            below,
            manner,
            privileged: geteuid().is_root(),
            last: None,
            directories: HashMap::new(),
            left_out: LeftOut::default(),
        }
    }

    fn add(&mut self, entry: &mut Entry<impl Read>, name: &[u8]) -> Result<()> {
        let kind = match entry.header().entry_type() {
            EntryType::XGlobalHeader => return Ok(()), // a comment on the whole archive
            EntryType::Regular if name.ends_with(b"/") => EntryType::Directory, // as tar wrote before 1988
            kind => kind,
        };
        let path = self.manner.place(inside(name)?);
        if self.manner.purpose == Purpose::CopyDirectory && path == self.manner.prefix {
            ensure!(kind == EntryType::Directory, "it is to become a directory, and is none");
        }
        if self.manner.purpose == Purpose::Layer
            && path.file_name().is_some_and(|name| name.as_bytes().starts_with(whiteout::PREFIX.as_bytes()))
        {
            return self.whiteout(&path);
        }
        if path.as_os_str().is_empty() {
            ensure!(kind == EntryType::Directory, "the root directory cannot be anything else");
            return self.directory(&path, self.attributes(entry)?);
        }
        match kind {
            EntryType::Directory => self.directory(&path, self.attributes(entry)?),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(&path, entry),
            EntryType::Symlink => self.symlink(&path, entry),
            EntryType::Link => self.hard_link(&path, entry),
            EntryType::Fifo => self.fifo(&path, self.attributes(entry)?),
            // rubber makes its own /dev; a device node in an image is a door to the host's hardware.
            EntryType::Block | EntryType::Char => {
                self.left_out.devices.push(shown(name));
                Ok(())
            }
            other => bail!("its type {:?} is not known", char::from(other.as_byte())),
        }
    }

    fn directory(&mut self, path: &Path, attributes: Attributes) -> Result<()> {
        let made = match path.as_os_str().is_empty() {
            true if self.manner.copies() => return Ok(()),
            true => openat(self.below.root(), ".", DIRECTORY, Mode::empty())?,
            false => {
                let (parent, name) = below::split(path);
                let present = below::look(self.parent(&parent)?, &name)?;
                let is_there = present.is_some_and(|stat| below::kind(&stat) == SFlag::S_IFDIR);
                if is_there && self.manner.copies() {
                    return Ok(());
                }
                if !is_there {
                    ensure!(
                        present.is_none() || !self.manner.copies(),
                        "what is there is no directory, and stays"
                    );
                    self.make_way(&parent, &name, present)?;
                    mkdirat(self.parent(&parent)?, name.as_os_str(), Mode::S_IRWXU).context("mkdirat()")?;
                }
                openat(self.parent(&parent)?, name.as_os_str(), DIRECTORY, Mode::empty())
                    .context("openat(O_DIRECTORY)")?
            }
        };
        self.directories.insert(fstat(&made)?.st_ino, (path.to_path_buf(), attributes));
        Ok(())
    }

    fn file(&mut self, path: &Path, entry: &mut Entry<impl Read>) -> Result<()> {
        let attributes = self.attributes(entry)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let (parent, name) = below::split(path);
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let mut made = openat(self.parent(&parent)?, name.as_os_str(), flags, mode);
        if matches!(made, Err(Errno::EEXIST)) {
            let present = below::look(self.parent(&parent)?, &name)?;
            self.make_way(&parent, &name, present)?;
            made = openat(self.parent(&parent)?, name.as_os_str(), flags, mode);
        }
        let mut file = File::from(made.context("openat(O_CREAT|O_EXCL)")?);
        let written = io::copy(entry, &mut file).map_err(tidy)?;
        let promised = entry.size();
        ensure!(written == promised, "the archive is cut off: {written} of {promised} bytes are there");
        let kept = attributes.set(&file)?;
        self.count(kept);
        Ok(())
    }

    fn symlink(&mut self, path: &Path, entry: &mut Entry<impl Read>) -> Result<()> {
        let attributes = self.attributes(entry)?;
        // Kept as it is, wherever it points: it is followed only inside a root.
        let target = entry.link_name_bytes().context("a link without a target")?.into_owned();
        ensure!(!target.is_empty() && !target.contains(&0), "a link to {} is not possible", shown(&target));
        let (parent, name) = below::split(path);
        let present = below::look(self.parent(&parent)?, &name)?;
        self.make_way(&parent, &name, present)?;
        symlinkat(OsStr::from_bytes(&target), self.parent(&parent)?, name.as_os_str())
            .context("symlinkat()")?;
        let kept = attributes.set_by_name(self.parent(&parent)?, &name)?;
        self.count(kept);
        Ok(())
    }

    fn hard_link(&mut self, path: &Path, entry: &mut Entry<impl Read>) -> Result<()> {
        let target = entry.link_name_bytes().context("a hard link without a target")?.into_owned();
        let linked = || format!("hard link to {}", shown(&target));
        let (from, from_name) = below::split(&self.manner.place(inside(&target).with_context(linked)?));
        let from = match self.below.directory(&from) {
            Err(Errno::ENOENT) => bail!("{}: there is no such entry", linked()),
            other => other.with_context(linked)?,
        };
        let source = below::look(&from, &from_name)?;
        let source = source.with_context(|| format!("{}: there is no such entry", linked()))?;
        ensure!(below::kind(&source) != SFlag::S_IFDIR, "hard link to the directory {}", shown(&target));
        let (parent, name) = below::split(path);
        let present = below::look(self.parent(&parent)?, &name)?;
        if present.is_some_and(|stat| stat.st_ino == source.st_ino) {
            return Ok(()); // linked to itself, or listed twice
        }
        self.make_way(&parent, &name, present)?;
        let to = self.parent(&parent)?;
        linkat(&from, from_name.as_os_str(), to, name.as_os_str(), LinkatFlags::empty()).with_context(linked)
    }

    fn fifo(&mut self, path: &Path, attributes: Attributes) -> Result<()> {
        let (parent, name) = below::split(path);
        let present = below::look(self.parent(&parent)?, &name)?;
        self.make_way(&parent, &name, present)?;
        let mode = Mode::from_bits_truncate(attributes.mode & 0o777);
        mkfifoat(self.parent(&parent)?, name.as_os_str(), mode).context("mkfifoat()")?;
        let kept = attributes.set_by_name(self.parent(&parent)?, &name)?;
        self.count(kept);
        Ok(())
    }

    /// A name that takes something away from the layers below.
    fn whiteout(&mut self, path: &Path) -> Result<()> {
        let (parent, name) = below::split(path);
        if name == whiteout::OPAQUE {
            let directory = openat(self.parent(&parent)?, ".", DIRECTORY, Mode::empty())?;
            return whiteout::make_opaque(&File::from(directory));
        }
        let gone = OsStr::from_bytes(&name.as_bytes()[whiteout::PREFIX.len()..]).to_owned();
        ensure!(!gone.is_empty() && gone != "." && gone != "..", "it takes nothing away");
        let present = below::look(self.parent(&parent)?, &gone)?;
        self.make_way(&parent, &gone, present)?;
        whiteout::make(self.parent(&parent)?, &gone)
    }

    /// Those of the archive, but for whose it will be.
    fn attributes(&self, entry: &mut Entry<impl Read>) -> Result<Attributes> {
        let is_directory = entry.header().entry_type() == EntryType::Directory;
        let mut attributes = attributes(entry)?;
        let (owner, trusts) = match self.manner.owner {
            Owner::Archived => return Ok(attributes),
            Owner::Given(uid, gid) => ((uid, gid), attributes.owner == (uid, gid)),
            Owner::Caller(uid, gid) => ((uid, gid), false),
        };
        attributes.owner = owner;
        if !trusts && !is_directory {
            attributes.mode &= 0o1777;
            attributes.xattrs.retain(|(name, _)| name != "security.capability");
        }
        Ok(attributes)
    }

    /// The directory an entry belongs in, made if the archive did not list it.
    fn parent(&mut self, path: &Path) -> Result<&OwnedFd> {
        if self.last.as_ref().is_none_or(|(known, _)| known != path) {
            self.last = Some((path.to_path_buf(), self.below.directory_made(path)?));
        }
        Ok(&self.last.as_ref().expect("set above").1)
    }

    /// A later entry replaces an earlier one of the same name, whatever it was, and never writes through it.
    fn make_way(&mut self, parent: &Path, name: &OsStr, present: Option<FileStat>) -> Result<()> {
        if let Some(stat) = present {
            let is_directory = below::kind(&stat) == SFlag::S_IFDIR;
            ensure!(!is_directory || !self.manner.copies(), "what is there is a directory, and stays");
            removal::remove(self.parent(parent)?, name).context("cannot replace what is there")?;
            self.last = None; // the path may lead elsewhere now
        }
        Ok(())
    }

    /// An ordinary user owns whatever it unpacks; for root an owner that cannot be kept is worth a word.
    fn count(&mut self, owner_kept: bool) {
        self.left_out.owners += u64::from(self.privileged && !owner_kept);
    }

    /// Sets what the directories are to be, the deepest first: a parent may then forbid us to come back.
    fn finish(mut self) -> Result<LeftOut> {
        let mut directories: Vec<_> = self.directories.drain().collect();
        directories.sort_by_key(|(_, (path, _))| std::cmp::Reverse(path.components().count()));
        for (inode, (path, attributes)) in directories {
            let (parent, name) = below::split(&path);
            let Ok(parent) = self.below.directory(&parent) else { continue };
            let name = if name.is_empty() { OsStr::new(".") } else { &name };
            match openat(&parent, name, DIRECTORY, Mode::empty()) {
                // Something else may have replaced it since.
                Ok(directory) if fstat(&directory)?.st_ino == inode => {
                    let set = attributes.set(&File::from(directory));
                    let kept =
                        set.with_context(|| format!("entry {}", shown(path.as_os_str().as_bytes())))?;
                    self.count(kept);
                }
                _ => continue,
            }
        }
        Ok(self.left_out)
    }
}

/// The path that an entry's name means below the root, `.` and repeated slashes taken out.
fn inside(name: &[u8]) -> Result<PathBuf> {
    ensure!(!name.is_empty(), "the name is empty");
    ensure!(!name.contains(&0), "the name has a NUL in it");
    let mut path = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(name)).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => (),
            Component::ParentDir => bail!("a name with .. in it may lead outside the image: refused"),
            Component::RootDir | Component::Prefix(_) => {
                bail!("an absolute name leads outside the image: refused")
            }
        }
    }
    Ok(path)
}

fn attributes(entry: &mut Entry<impl Read>) -> Result<Attributes> {
    let header = entry.header();
    let owner = (id(header.uid().map_err(tidy)?)?, id(header.gid().map_err(tidy)?)?);
    let (mode, seconds) = (header.mode().map_err(tidy)? & 0o7777, header.mtime().map_err(tidy)?);
    let mut mtime = TimeSpec::new(i64::try_from(seconds).unwrap_or(0), 0);
    let mut xattrs = Vec::new();
    for extension in entry.pax_extensions().map_err(tidy)?.into_iter().flatten() {
        let extension = extension.context("bad PAX header")?;
        let (key, value) = (extension.key_bytes(), extension.value_bytes());
        if key == b"mtime" {
            mtime = time(value).context("bad PAX mtime")?;
        } else if key.starts_with(b"GNU.sparse.") {
            bail!("a sparse file in PAX format cannot be read: make the archive without tar --sparse");
        } else if let Some(name) = key.strip_prefix(b"SCHILY.xattr.").filter(|name| welcome(name)) {
            xattrs.push((OsStr::from_bytes(name).to_owned(), value.to_vec()));
        }
    }
    Ok(Attributes { owner, mode, mtime, xattrs })
}

/// 2^32-1 is "no change" to chown(2), and what lies beyond would be cut down to some other user.
fn id(number: u64) -> Result<u32> {
    match u32::try_from(number) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => bail!("its owner {number} is no user or group id"),
    }
}

/// Seconds with an optional fraction, as PAX writes times.
fn time(text: &[u8]) -> Option<TimeSpec> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let whole: i64 = seconds.parse().ok()?;
    Some(match seconds.starts_with('-') && nanoseconds > 0 {
        true => TimeSpec::new(whole.checked_sub(1)?, 1_000_000_000 - nanoseconds),
        false => TimeSpec::new(whole, nanoseconds),
    })
}

/// What the tar crate says has the archive's own bytes in it; an error of the system is kept as it is.
fn tidy(error: io::Error) -> anyhow::Error {
    match error.raw_os_error() {
        Some(_) => error.into(),
        None => anyhow!("{}", shown(error.to_string().as_bytes()).trim_matches('"')),
    }
}

/// A name as it may be printed: control characters escaped, and not longer than a line.
fn shown(name: &[u8]) -> String {
    let text = format!("{:?}", String::from_utf8_lossy(name));
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…\"", &text[..end]),
        None => text,
    }
}

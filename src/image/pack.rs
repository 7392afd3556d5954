//! A tar stream of a directory, so that importing or copying one is the same work as unpacking an archive.
//!
//! Whoever owns the tree may change it meanwhile, and may wish us ill: so names are looked up as in `below`, a link
//! is never followed, and what is opened is looked at before it is opened to be read.

use super::{
    attributes::Attributes,
    below::{self, Below, DIRECTORY, Key, Way},
    holes,
    limits::Limits,
    whiteout,
};
use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, readlinkat},
    sys::{
        stat::{FileStat, Mode, SFlag, fstat, major, minor, stat},
        statfs::{self, FsType, fstatfs},
    },
};
use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};
use tar::{Builder, EntryType, Header};

/// Writes the tree at `root` as a tar stream: sorted, so that the same tree gives the same digest.
/// Other filesystems mounted below it, and `skip` (a directory below it), are left as empty directories.
pub fn pack(root: &Path, skip: &Path, out: impl Write) -> Result<()> {
    let tree = Below::open(root).with_context(|| format!("cannot read {root:?}"))?;
    let mut packer = Packer::new(out, Bounds::Filesystem);
    packer.skip = stat(skip).map(|skip| below::key(&skip)).ok();
    packer.tree(&tree, Path::new("")).with_context(|| format!("cannot import {root:?}"))?;
    if let Some(path) = packer.finish()?.first() {
        bail!("cannot import {:?}: it became shorter while it was read", root.join(path));
    }
    Ok(())
}

/// How far a tree goes.
#[derive(Clone, Copy, PartialEq)]
pub enum Bounds {
    /// What is mounted in it is left as an empty directory.
    Filesystem,
    /// What is mounted in it belongs to it, but for what the kernel shows of itself.
    Files,
    /// It is the upper layer of an overlay, and this attribute marks its opaque directories.
    Layer(&'static str),
}

/// Filesystems without files of anybody's: /proc, /sys and the like.
const KERNELS: [FsType; 7] = [
    statfs::PROC_SUPER_MAGIC,
    statfs::SYSFS_MAGIC,
    statfs::CGROUP_SUPER_MAGIC,
    statfs::CGROUP2_SUPER_MAGIC,
    statfs::DEVPTS_SUPER_MAGIC,
    statfs::DEBUGFS_MAGIC,
    statfs::TRACEFS_MAGIC,
];

pub fn is_kernels(file: impl AsFd) -> bool {
    fstatfs(file).is_ok_and(|about| KERNELS.contains(&about.filesystem_type()))
}

pub struct Packer<W: Write> {
    tar: Builder<W>,
    bounds: Bounds,
    skip: Option<Key>,
    /// Where the first of a file's several names was put.
    linked: HashMap<Key, PathBuf>,
    /// How many more bytes of holes there may be. They go into an archive as zeros: not every reader knows another way
    /// (layer.md, "Sparse"), and a layer's digest must not depend on where its files had holes. So they cost time.
    holes: Option<u64>,
    /// Filled up with zeros: a header that promised more was out by then.
    shorter: Vec<PathBuf>,
}

impl<W: Write> Packer<W> {
    pub fn new(out: W, bounds: Bounds) -> Packer<W> {
        Packer {
            tar: Builder::new(out),
            bounds,
            skip: None,
            linked: HashMap::new(),
            holes: None,
            shorter: Vec::new(),
        }
    }

    /// Adds a directory and all below it, under the name `top` (empty: its content is the archive's own).
    pub fn tree(&mut self, tree: &Below, top: &Path) -> Result<()> {
        let root = openat(tree.root(), ".", DIRECTORY, Mode::empty()).context("openat(\".\")")?;
        let device = fstat(&root)?.st_dev;
        self.add(&root, OsStr::new("."), top).with_context(|| format!("{top:?}"))?;
        let mut left = vec![if self.goes_into(&root, device)? { sorted(&root)? } else { Vec::new() }];
        let mut way = Way::from(root);
        while let Some(names) = left.last_mut() {
            let Some(name) = names.pop() else {
                left.pop();
                way.leave()?;
                continue;
            };
            let path = way.path().join(&name);
            let directory = match self.add(way.here(), &name, &top.join(&path)) {
                Err(error) if has_vanished(&error) => continue,
                added => added.with_context(|| format!("{path:?}"))?,
            };
            if let Some(directory) = directory
                && self.goes_into(&directory, device)?
            {
                left.push(sorted(&directory).with_context(|| format!("{path:?}"))?);
                way.enter(&name, directory)?;
            }
        }
        Ok(())
    }

    fn goes_into(&self, directory: &OwnedFd, device: libc::dev_t) -> Result<bool> {
        let found = fstat(directory)?;
        let is_within = match self.bounds {
            Bounds::Filesystem => found.st_dev == device,
            Bounds::Files => found.st_dev == device || !is_kernels(directory),
            Bounds::Layer(_) => true,
        };
        Ok(is_within && Some(below::key(&found)) != self.skip)
    }

    /// Adds `name` alone, as `path`; returns it if it is a directory.
    pub fn add(&mut self, parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<Option<OwnedFd>> {
        let Some(found) = below::look(parent, name)? else { return Err(Errno::ENOENT.into()) };
        if let Bounds::Layer(_) = self.bounds
            && (whiteout::is_whiteout(&found) || name.as_bytes().starts_with(whiteout::PREFIX.as_bytes()))
        {
            return self.whiteout(path, &found).map(|()| None);
        }
        let mut header = header(&found);
        let key = below::key(&found);
        let archived = if path.as_os_str().is_empty() { Path::new("./") } else { path };
        let kind = below::kind(&found);
        if found.st_nlink > 1
            && kind != SFlag::S_IFDIR
            && let Some(first) = self.linked.get(&key)
        {
            header.set_entry_type(EntryType::Link);
            self.tar.append_link(&mut header, archived, first)?;
            return Ok(None);
        }
        match kind {
            SFlag::S_IFREG => self.file(parent, name, archived)?,
            SFlag::S_IFDIR => return self.directory(parent, name, archived).map(Some),
            SFlag::S_IFLNK => {
                header.set_entry_type(EntryType::Symlink);
                self.extensions(&Attributes::of(&found, None)?)?;
                let target = readlinkat(parent, name).context("readlinkat()")?;
                self.tar.append_link(&mut header, archived, target)?;
            }
            SFlag::S_IFIFO => {
                header.set_entry_type(EntryType::Fifo);
                self.extensions(&Attributes::of(&found, None)?)?;
                self.tar.append_data(&mut header, archived, io::empty())?;
            }
            SFlag::S_IFCHR | SFlag::S_IFBLK => {
                let is_block = kind == SFlag::S_IFBLK;
                header.set_entry_type(if is_block { EntryType::Block } else { EntryType::Char });
                header.set_device_major(u32::try_from(major(found.st_rdev))?)?;
                header.set_device_minor(u32::try_from(minor(found.st_rdev))?)?;
                self.extensions(&Attributes::of(&found, None)?)?;
                self.tar.append_data(&mut header, archived, io::empty())?;
            }
            _ => return Ok(None), // a socket is dead without its server
        }
        self.linked.insert(key, path.to_path_buf());
        Ok(None)
    }

    fn directory(&mut self, parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<OwnedFd> {
        let directory =
            File::from(openat(parent, name, DIRECTORY, Mode::empty()).context("openat(O_DIRECTORY)")?);
        let found = fstat(&directory)?;
        let mut header = header(&found);
        header.set_entry_type(EntryType::Directory);
        self.extensions(&Attributes::of(&found, Some(&directory))?)?;
        self.tar.append_data(&mut header, path, io::empty())?;
        if let Bounds::Layer(opaque) = self.bounds {
            refuse_reference(&directory, opaque)?;
            if whiteout::is_opaque(&directory, &[opaque]) {
                self.empty(&path.join(whiteout::OPAQUE))?;
            }
        }
        Ok(directory.into())
    }

    fn file(&mut self, parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<()> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let handle = openat(parent, name, flags, Mode::empty()).context("openat(O_PATH)")?;
        // It may have become something else since we looked.
        let Some(file) = below::regular(&handle)? else { return Err(Errno::ENOENT.into()) };
        if let Bounds::Layer(opaque) = self.bounds {
            refuse_reference(&file, opaque)?;
        }
        let found = fstat(&file)?;
        let mut header = header(&found);
        self.extensions(&Attributes::of(&found, Some(&file))?)?;
        let size = u64::try_from(found.st_size)?;
        header.set_size(size);
        let most = match self.holes {
            Some(left) => left,
            None => Limits::of_environment()?.bytes,
        };
        let file = holes::Reader::new(file, &found, most);
        let mut source = Filled { source: file.take(size), left: size, is_short: false };
        self.tar.append_data(&mut header, path, &mut source)?;
        self.holes = Some(source.source.get_ref().most);
        if source.is_short {
            self.shorter.push(path.to_path_buf());
        }
        Ok(())
    }

    /// What overlayfs says with a device, an archive says with a name. (A file that has such a name itself would be
    /// taken for one, and is left out.)
    fn whiteout(&mut self, path: &Path, found: &FileStat) -> Result<()> {
        if !whiteout::is_whiteout(found) {
            return Ok(());
        }
        let (parent, name) = below::split(path);
        let mut marked = OsString::from(whiteout::PREFIX);
        marked.push(name);
        self.empty(&parent.join(marked))
    }

    fn empty(&mut self, path: &Path) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_mode(0);
        header.set_size(0);
        Ok(self.tar.append_data(&mut header, path, io::empty())?)
    }

    /// What the old header has no room for goes before it: extended attributes, and the time's nanoseconds.
    fn extensions(&mut self, attributes: &Attributes) -> Result<()> {
        let mut pairs = Vec::new();
        for (name, value) in &attributes.xattrs {
            // A tar has room for UTF-8 names only.
            pairs.extend(name.to_str().map(|name| (format!("SCHILY.xattr.{name}"), value.clone())));
        }
        let time = attributes.mtime;
        if time.tv_nsec() != 0 && time.tv_sec() >= 0 {
            pairs.push(("mtime".into(), format!("{}.{:09}", time.tv_sec(), time.tv_nsec()).into_bytes()));
        }
        let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        Ok(self.tar.append_pax_extensions(pairs)?)
    }

    /// Leaves the archive without the end that a dropped one gets: whoever reads it shall not take it for whole.
    pub fn abandon(self) {
        std::mem::forget(self);
    }

    /// Ends the archive, and returns the files that became shorter while they were read: zeros stand for the rest.
    pub fn finish(self) -> Result<Vec<PathBuf>> {
        self.tar.into_inner()?.flush()?;
        Ok(self.shorter)
    }
}

/// The names in it, from the last to the first.
fn sorted(directory: &OwnedFd) -> Result<Vec<OsString>> {
    let mut names = below::names(directory)?;
    names.sort_by(|a, b| b.cmp(a));
    Ok(names)
}

fn refuse_reference(file: &File, opaque: &str) -> Result<()> {
    if whiteout::refers_below(file, opaque) {
        bail!(
            "the overlay has redirect_dir or metacopy on: part of this is in another layer (see modinfo overlay)"
        );
    }
    Ok(())
}

/// The tree is somebody's who is still at work on it.
fn has_vanished(error: &anyhow::Error) -> bool {
    let gone = [Errno::ENOENT, Errno::ENOTDIR, Errno::ELOOP];
    error.downcast_ref().is_some_and(|errno| gone.contains(errno))
}

/// Gives exactly as many bytes as were promised.
struct Filled<R> {
    source: R,
    left: u64,
    is_short: bool,
}

impl<R: Read> Read for Filled<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let mut count = if self.is_short { 0 } else { self.source.read(&mut into[..most])? };
        if count == 0 && most > 0 {
            self.is_short = true;
            into[..most].fill(0);
            count = most;
        }
        self.left -= count as u64;
        Ok(count)
    }
}

fn header(found: &FileStat) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(found.st_mode & 0o7777);
    header.set_uid(found.st_uid.into());
    header.set_gid(found.st_gid.into());
    header.set_mtime(found.st_mtime.max(0) as u64);
    header.set_size(0);
    header
}

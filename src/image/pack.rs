//! A tar stream of a directory, so that importing one is the same work as importing an archive.

use super::attributes::Attributes;
use anyhow::{Context, Result, ensure};
use nix::sys::stat::{fstat, lstat};
use std::{
    collections::HashMap,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use tar::{Builder, EntryType, Header};

/// Writes the tree at `root` as a tar stream: sorted, so that the same tree gives the same digest.
/// Other filesystems mounted below it, and `skip` (a directory below it), are left as empty directories.
pub fn pack(root: &Path, skip: &Path, out: impl Write) -> Result<()> {
    let device = fs::metadata(root).with_context(|| format!("cannot read {root:?}"))?.dev();
    let skip = fs::metadata(skip).map(|skip| (skip.dev(), skip.ino())).ok();
    let mut packer = Packer { tar: Builder::new(out), linked: HashMap::new() };
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let full = root.join(&path);
        let named = || format!("cannot import {full:?}");
        let found = match path.as_os_str().is_empty() {
            true => fs::metadata(&full), // DIR itself may be a link
            false => fs::symlink_metadata(&full),
        };
        let found = found.with_context(named)?;
        packer.add(&path, &full, &found).with_context(named)?;
        if found.is_dir() && found.dev() == device && Some((found.dev(), found.ino())) != skip {
            let entries = fs::read_dir(&full).with_context(named)?;
            let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
            names.sort_by(|a, b| b.cmp(a)); // the last one is taken first
            open.extend(names.into_iter().map(|name| path.join(name)));
        }
    }
    packer.tar.into_inner()?.flush()?;
    Ok(())
}

struct Packer<W: Write> {
    tar: Builder<W>,
    linked: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Packer<W> {
    fn add(&mut self, path: &Path, full: &Path, found: &Metadata) -> Result<()> {
        let mut header = header(found);
        let name = if path.as_os_str().is_empty() { Path::new("./") } else { path };
        let kind = found.file_type();
        let key = (found.dev(), found.ino());
        if found.nlink() > 1
            && !found.is_dir()
            && let Some(first) = self.linked.get(&key)
        {
            header.set_entry_type(EntryType::Link);
            return Ok(self.tar.append_link(&mut header, name, first)?);
        }
        if kind.is_file() {
            self.file(name, full, &mut header)?;
        } else if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
            let directory = File::open(full)?;
            self.extensions(&Attributes::of(&fstat(&directory)?, Some(&directory))?)?;
            self.tar.append_data(&mut header, name, io::empty())?;
        } else if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            self.extensions(&Attributes::of(&lstat(full)?, None)?)?;
            self.tar.append_link(&mut header, name, fs::read_link(full)?)?;
        } else if kind.is_fifo() {
            header.set_entry_type(EntryType::Fifo);
            self.extensions(&Attributes::of(&lstat(full)?, None)?)?;
            self.tar.append_data(&mut header, name, io::empty())?;
        } else if kind.is_char_device() || kind.is_block_device() {
            header.set_entry_type(EntryType::Char); // so that it is told as left out
            self.tar.append_data(&mut header, name, io::empty())?;
        } else {
            return Ok(()); // a socket is dead without its server
        }
        self.linked.insert(key, path.to_path_buf());
        Ok(())
    }

    fn file(&mut self, name: &Path, full: &Path, header: &mut Header) -> Result<()> {
        // NONBLOCK: what was a file may be a fifo by now.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(full)?;
        let found = fstat(&file)?;
        self.extensions(&Attributes::of(&found, Some(&file))?)?;
        let size = u64::try_from(found.st_size)?;
        header.set_size(size);
        let mut counted = Counted { source: file.take(size), count: 0 };
        self.tar.append_data(header, name, &mut counted)?;
        ensure!(counted.count == size, "it became shorter while it was read");
        Ok(())
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
}

struct Counted<R> {
    source: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(into)?;
        self.count += count as u64;
        Ok(count)
    }
}

fn header(found: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(found.mode() & 0o7777);
    header.set_uid(found.uid().into());
    header.set_gid(found.gid().into());
    header.set_mtime(found.mtime().max(0) as u64);
    header.set_size(0);
    header
}

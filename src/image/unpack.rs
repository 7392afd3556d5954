//! Unpacks a tar stream into an empty directory, entry by entry, believing nothing it says.
//!
//! What a name in the archive leads to is decided in `below`, where it is put in `tree`, and in which order owner, mode,
//! attributes and time are set in `attributes`. Here: which entries exist at all, and what replaces what.

pub use super::manner::{LeftOut, Manner, Owner, Purpose, shown};

use super::{
    attributes::{Attributes, welcome},
    below::{self, Below, DIRECTORY},
    limits::{self, Limits},
    manner::{id, inside},
    node,
    tape::{Member, Tape},
    tree::Tree,
    whiteout,
};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::{Mode, SFlag, mkdirat},
    unistd::{LinkatFlags, linkat, mkfifoat, symlinkat},
};
use std::{
    ffi::OsStr,
    fs::File,
    io::{BufRead, BufReader, Read},
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
};
use tar::EntryType;

/// Unpacks `tar` into the directory `target`. An error leaves it half-filled: one that was empty is for the caller to
/// remove.
pub fn unpack_into(tar: impl Read, target: Below, manner: Manner) -> Result<LeftOut> {
    unpack_stream(BufReader::with_capacity(1 << 16, tar), target, manner)
}

/// The same out of a buffer, from which the content of files is written as it stands there.
pub fn unpack_stream(tar: impl BufRead, target: Below, manner: Manner) -> Result<LeftOut> {
    let limits = Limits::of_environment()?;
    let mut tape = Tape::new(tar);
    let mut tree = Tree::new(target, manner);
    let mut last = Vec::new();
    let (mut entries, mut bytes) = (0u64, 0u64);
    while let Some(member) = tape.next().with_context(|| match entries {
        0 => "not a tar archive".to_owned(),
        n => format!("the archive is cut off or damaged after entry {n}, {}", shown(&last)),
    })? {
        entries += 1;
        let name = || format!("entry {}", shown(&member.name));
        if entries > limits.entries {
            return Err(limits::refused("one entry too many", limits::ENTRIES)).with_context(name);
        }
        ensure!(member.size <= limits.bytes, "{}: it says that it has {} bytes", name(), member.size);
        // With the holes of all files together: of them nothing has come out of anything.
        bytes = bytes.saturating_add(member.size);
        limits.check_size(bytes).with_context(name)?;
        tree.add(&member, &mut tape).with_context(name)?;
        last = member.name;
    }
    // A layer may change nothing.
    ensure!(entries > 0 || tree.manner.purpose == Purpose::Layer, "the archive is empty");
    // A tar ends with zeros. One that ends with its source was cut off, if only between two entries: but a layer has
    // a digest that would tell, and some builders leave the zeros away.
    ensure!(
        !tape.ended || tree.manner.purpose == Purpose::Layer,
        "the archive is cut off after entry {entries}"
    );
    tree.finish()
}

/// More than any root filesystem has, and less than fills the memory.
const MOST_DEVICES: usize = 10_000;

impl Tree {
    fn add(&mut self, member: &Member, tape: &mut Tape<impl BufRead>) -> Result<()> {
        let path = self.place(&member.name)?;
        if self.manner.purpose == Purpose::CopyDirectory && path == self.manner.prefix {
            ensure!(member.kind == EntryType::Directory, "it is to become a directory, and is none");
        }
        if self.manner.purpose == Purpose::Layer {
            // What aufs, where whiteouts come from, kept for itself.
            let of_aufs =
                |part: Component| part.as_os_str().as_bytes().starts_with(whiteout::AUFS.as_bytes());
            if path.file_name().is_some_and(|name| name == whiteout::OPAQUE) {
                return self.opaque(&path);
            }
            if path.components().any(of_aufs) {
                return Ok(());
            }
            if path.file_name().is_some_and(|name| name.as_bytes().starts_with(whiteout::PREFIX.as_bytes())) {
                return self.whiteout(&path);
            }
        } else {
            let is_mark =
                |part: Component| part.as_os_str().as_bytes().starts_with(whiteout::PREFIX.as_bytes());
            self.left_out.has_marks |= path.components().any(is_mark);
        }
        if path.as_os_str().is_empty() {
            ensure!(member.kind == EntryType::Directory, "the root directory cannot be anything else");
            return self.root(self.attributes(member)?);
        }
        match member.kind {
            EntryType::Directory => self.directory(&path, self.attributes(member)?),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(&path, member, tape)
            }
            EntryType::Symlink => self.symlink(&path, member),
            EntryType::Link => self.hard_link(&path, member),
            EntryType::Fifo => self.fifo(&path, self.attributes(member)?),
            EntryType::Block | EntryType::Char => self.device(&path, member),
            other => bail!("its type {:?} is not known", char::from(other.as_byte())),
        }
    }

    /// Where an entry belongs. In a layer `/x` is `x`, as some builders write it; elsewhere nobody does with good will.
    fn place(&self, name: &[u8]) -> Result<PathBuf> {
        let start = match self.manner.purpose {
            Purpose::Layer => name.iter().take_while(|byte| **byte == b'/').count(),
            _ => 0,
        };
        Ok(self.manner.place(inside(name, start)?))
    }

    fn root(&mut self, attributes: Attributes) -> Result<()> {
        if self.manner.copies() {
            return Ok(());
        }
        self.leave()?;
        let root = openat(self.below.root(), ".", DIRECTORY, Mode::empty())?;
        self.become_what_it_is(root, Path::new(""), attributes)
    }

    fn directory(&mut self, path: &Path, attributes: Attributes) -> Result<()> {
        let (parent, name) = below::split(path);
        let parent_fd = self.parent(&parent)?;
        let mut present = None;
        match mkdirat(parent_fd, name.as_os_str(), Mode::S_IRWXU) {
            Err(Errno::EEXIST) => present = below::look(parent_fd, &name)?,
            other => other.context("mkdirat()")?,
        }
        if let Some(stat) = present {
            if below::kind(&stat) == SFlag::S_IFDIR {
                if self.manner.copies() {
                    return Ok(());
                }
            } else {
                ensure!(!self.manner.copies(), "what is there is no directory, and stays");
                self.make_way(&parent, &name, present)?;
                mkdirat(self.parent(&parent)?, name.as_os_str(), Mode::S_IRWXU).context("mkdirat()")?;
            }
        }
        let made = openat(self.parent(&parent)?, name.as_os_str(), DIRECTORY, Mode::empty())
            .context("openat(O_DIRECTORY)")?;
        if present.is_some_and(|stat| self.manner.purpose == Purpose::Layer && whiteout::is_whiteout(&stat)) {
            // The layer takes away what was called so below, and has a directory of that name itself.
            whiteout::make_opaque(&File::from(made.try_clone()?))?;
        }
        self.become_what_it_is(made, path, attributes)
    }

    fn file(&mut self, path: &Path, member: &Member, tape: &mut Tape<impl BufRead>) -> Result<()> {
        let attributes = self.attributes(member)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let (parent, name) = below::split(path);
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let mut made = openat(self.parent(&parent)?, name.as_os_str(), flags, mode);
        if matches!(made, Err(Errno::EEXIST)) {
            let present = below::look(self.parent(&parent)?, &name)?;
            self.make_way(&parent, &name, present)?;
            made = openat(self.parent(&parent)?, name.as_os_str(), flags, mode);
        }
        let file = File::from(made.context("openat(O_CREAT|O_EXCL)")?);
        tape.write(member, &file)?;
        let kept = attributes.set(&file)?;
        self.count(kept);
        Ok(())
    }

    fn symlink(&mut self, path: &Path, member: &Member) -> Result<()> {
        let attributes = self.attributes(member)?;
        // Kept as it is, wherever it points: it is followed only inside a root.
        let target = &member.link;
        ensure!(!target.is_empty() && !target.contains(&0), "a link to {} is not possible", shown(target));
        let (parent, name) = below::split(path);
        let present = below::look(self.parent(&parent)?, &name)?;
        self.make_way(&parent, &name, present)?;
        symlinkat(OsStr::from_bytes(target), self.parent(&parent)?, name.as_os_str())
            .context("symlinkat()")?;
        let kept = attributes.set_by_name(self.parent(&parent)?, &name)?;
        self.count(kept);
        Ok(())
    }

    fn hard_link(&mut self, path: &Path, member: &Member) -> Result<()> {
        let linked = || format!("hard link to {}", shown(&member.link));
        let (from, from_name) = below::split(&self.place(&member.link).with_context(linked)?);
        let from = match self.below.directory(&from) {
            Err(Errno::ENOENT) => bail!("{}: there is no such entry", linked()),
            other => other.with_context(linked)?,
        };
        let source = below::look(&from, &from_name)?;
        let source = source.with_context(|| format!("{}: there is no such entry", linked()))?;
        ensure!(below::kind(&source) != SFlag::S_IFDIR, "hard link to the directory {}", shown(&member.link));
        let (parent, name) = below::split(path);
        let present = below::look(self.parent(&parent)?, &name)?;
        if present.is_some_and(|stat| below::key(&stat) == below::key(&source)) {
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

    /// A node is a pair of numbers, and opens nothing where a container sees it: its root is mounted MS_NODEV.
    fn device(&mut self, path: &Path, member: &Member) -> Result<()> {
        let attributes = self.attributes(member)?;
        let (parent, name) = below::split(path);
        let present = below::look(self.parent(&parent)?, &name)?;
        self.make_way(&parent, &name, present)?;
        // Where somebody's files are, it would open something.
        if !self.manner.copies() && node::make(self.parent(&parent)?, &name, member)? {
            let kept = attributes.set_by_name(self.parent(&parent)?, &name)?;
            self.count(kept);
            return Ok(());
        }
        // Left out, but not what it stands for: that the file of this name, here or in a layer below, is gone.
        ensure!(self.left_out.devices.len() < MOST_DEVICES, "one of more than {MOST_DEVICES} devices");
        self.left_out.devices.push(shown(&member.name));
        match self.manner.purpose {
            Purpose::Layer => whiteout::make(self.parent(&parent)?, &name),
            _ => Ok(()),
        }
    }

    /// A name that takes something away from the layers below. What this layer has itself of that name stays, in
    /// whatever order they come: layer.md, "Whiteouts".
    fn whiteout(&mut self, path: &Path) -> Result<()> {
        let (parent, name) = below::split(path);
        let gone = OsStr::from_bytes(&name.as_bytes()[whiteout::PREFIX.len()..]).to_owned();
        ensure!(!gone.is_empty() && gone != "." && gone != "..", "it takes nothing away");
        let parent = self.parent(&parent)?;
        match below::look(parent, &gone)? {
            None => whiteout::make(parent, &gone),
            Some(stat) if below::kind(&stat) == SFlag::S_IFDIR => {
                let directory = openat(parent, gone.as_os_str(), DIRECTORY, Mode::empty())?;
                whiteout::make_opaque(&File::from(directory))
            }
            Some(_) => Ok(()),
        }
    }

    fn opaque(&mut self, path: &Path) -> Result<()> {
        let (parent, _) = below::split(path);
        let directory = openat(self.parent(&parent)?, ".", DIRECTORY, Mode::empty())?;
        whiteout::make_opaque(&File::from(directory))
    }

    /// Those of the archive, but for whose it will be.
    fn attributes(&self, member: &Member) -> Result<Attributes> {
        let mut attributes = Attributes {
            owner: (id(member.owner.0)?, id(member.owner.1)?),
            mode: member.mode,
            mtime: member.mtime,
            xattrs: Vec::new(),
        };
        for (name, value) in member.xattrs.iter().filter(|(name, _)| welcome(name)) {
            attributes.xattrs.push((OsStr::from_bytes(name).to_owned(), value.clone()));
        }
        let (owner, trusts) = match self.manner.owner {
            Owner::Archived => return Ok(attributes),
            Owner::Given(uid, gid) => ((uid, gid), attributes.owner == (uid, gid)),
            Owner::Caller(uid, gid) => ((uid, gid), false),
        };
        attributes.owner = owner;
        if !trusts && member.kind != EntryType::Directory {
            attributes.mode &= 0o1777;
            attributes.xattrs.retain(|(name, _)| name.as_bytes().starts_with(b"user."));
        }
        Ok(attributes)
    }
}

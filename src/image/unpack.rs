//! Unpacks a tar stream into an empty directory, entry by entry, believing nothing it says.
//!
//! What a name in the archive leads to is decided in `below`. Here: which entries exist at all, what replaces what,
//! and in which order owner, mode, attributes and time must be set so that none undoes another.

use super::{
    attributes::{Attributes, welcome},
    below::{self, Below, DIRECTORY},
    limits::{self, Limits},
    lower::Lower,
    node,
    tape::{Member, Tape},
    whiteout,
};
use crate::removal;
use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    libc,
    sys::{
        stat::{FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstat, mkdirat, utimensat},
        time::TimeSpec,
    },
    unistd::{LinkatFlags, geteuid, linkat, mkfifoat, symlinkat},
};
use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    fs::File,
    io::{BufRead, BufReader, Read},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
};
use tar::EntryType;

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
    /// What the layers below have of the directories that are not listed here.
    pub lower: Lower,
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
        Manner { owner: Owner::Archived, purpose, strip: 0, prefix: PathBuf::new(), lower: Lower::default() }
    }

    /// For a layer on top of those unpacked in `below`, the lowest first.
    pub fn of_layer(below: Vec<PathBuf>) -> Manner {
        Manner { lower: Lower::new(below), ..Manner::of(Purpose::Layer) }
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
    unpack_stream(BufReader::with_capacity(1 << 16, tar), target, manner)
}

/// The same out of a buffer, from which the content of files is written as it stands there.
pub fn unpack_stream(tar: impl BufRead, target: Below, manner: Manner) -> Result<LeftOut> {
    let limits = Limits::of_environment()?;
    let mut tape = Tape::new(tar);
    let mut tree = Tree::new(target, manner);
    let mut last = Vec::new();
    let mut entries = 0u64;
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

struct Tree {
    below: Below,
    manner: Manner,
    /// An ordinary user owns whatever it unpacks.
    privileged: bool,
    /// The directory of the last entry: the next one is mostly in it too.
    last: Option<Open>,
    /// Those that an ordinary user could not fill if they were what they will be: by inode number, set at the end.
    closed: HashMap<libc::ino_t, (PathBuf, Attributes)>,
    /// Where there was something before us: the directories that are ours.
    made: HashSet<libc::ino_t>,
    left_out: LeftOut,
}

/// A directory that is being filled. That changes its time, which is set back when we are done there.
struct Open {
    path: PathBuf,
    directory: OwnedFd,
    mtime: Option<TimeSpec>,
}

/// More than any root filesystem has, and less than fills the memory.
const MOST_DEVICES: usize = 10_000;
const MOST_CLOSED: usize = 100_000;

impl Tree {
    fn new(below: Below, manner: Manner) -> Tree {
        Tree {
            below,
            manner,
            privileged: geteuid().is_root(),
            last: None,
            closed: HashMap::new(),
            made: HashSet::new(),
            left_out: LeftOut::default(),
        }
    }

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

    /// At once if we may still fill it then, else at the end.
    fn become_what_it_is(&mut self, made: OwnedFd, path: &Path, attributes: Attributes) -> Result<()> {
        let closes = !self.privileged && attributes.mode & 0o700 != 0o700;
        if closes || self.manner.copies() {
            let inode = fstat(&made)?.st_ino;
            if self.manner.copies() {
                self.made.insert(inode);
            }
            if closes {
                ensure!(self.closed.len() < MOST_CLOSED, "too many directories that forbid to be filled");
                let open = Attributes { mode: attributes.mode | 0o700, xattrs: Vec::new(), ..attributes };
                self.closed.insert(inode, (path.to_path_buf(), attributes));
                open.set(&File::from(made))?;
                return Ok(());
            }
        }
        let kept = attributes.set(&File::from(made))?;
        self.count(kept);
        Ok(())
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
        let mut file = File::from(made.context("openat(O_CREAT|O_EXCL)")?);
        tape.write(member, &mut file)?;
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

    /// The directory an entry belongs in, made if the archive did not list it.
    fn parent(&mut self, path: &Path) -> Result<&OwnedFd> {
        if self.last.as_ref().is_none_or(|open| open.path != path) {
            self.leave()?;
            let directory = match self.below.directory(path) {
                Err(Errno::ENOENT) => self.missing(path)?,
                other => other.with_context(|| format!("openat2({path:?}, RESOLVE_IN_ROOT)"))?,
            };
            let found = fstat(&directory)?;
            let is_ours = !self.manner.copies() || self.made.contains(&found.st_ino);
            let mtime = is_ours.then(|| TimeSpec::new(found.st_mtime, found.st_mtime_nsec));
            self.last = Some(Open { path: path.to_path_buf(), directory, mtime });
        }
        Ok(&self.last.as_ref().expect("set above").directory)
    }

    /// Makes the directory `path`, and what is missing on the way to it: as the layers below have it, else with mode
    /// 0755.
    fn missing(&mut self, path: &Path) -> Result<OwnedFd> {
        let parts: Vec<&Path> = path.ancestors().collect();
        let is_missing = |part: &&Path| matches!(self.below.directory(part), Err(Errno::ENOENT));
        let missing = parts.partition_point(is_missing);
        // A loop, because an archive may nest as deep as it likes.
        let mut at = self.parent(parts.get(missing).context("the root is gone")?)?.try_clone()?;
        let mut known: Option<(OwnedFd, &Path, Attributes)> = None;
        for path in parts[..missing].iter().rev() {
            let (_, name) = below::split(path);
            match mkdirat(&at, name.as_os_str(), Mode::from_bits_truncate(0o755)) {
                Err(Errno::EEXIST) => bail!("{name:?} on the way to it is a link that leads nowhere"),
                other => other.with_context(|| format!("mkdirat({name:?})"))?,
            }
            at = openat(&at, name.as_os_str(), DIRECTORY, Mode::empty())?;
            fchmod(&at, Mode::from_bits_truncate(0o755))?; // mkdirat obeys umask
            if self.manner.copies() {
                self.made.insert(fstat(&at)?.st_ino);
            }
            // What was just made in it has changed its time.
            if let Some((directory, path, attributes)) = known.take() {
                self.become_what_it_is(directory, path, attributes)?;
            }
            if let Some(attributes) = self.manner.lower.attributes(path)? {
                known = Some((at.try_clone()?, path, attributes));
            }
        }
        if let Some((directory, path, attributes)) = known {
            self.become_what_it_is(directory, path, attributes)?;
        }
        self.leave()?;
        Ok(at)
    }

    /// Sets back the time of the directory that was filled last.
    fn leave(&mut self) -> Result<()> {
        let Some(Open { directory, mtime: Some(mtime), .. }) = self.last.take() else { return Ok(()) };
        utimensat(&directory, ".", &TimeSpec::UTIME_OMIT, &mtime, UtimensatFlags::NoFollowSymlink)
            .context("utimensat(\".\")")
    }

    /// A later entry replaces an earlier one of the same name, whatever it was, and never writes through it.
    fn make_way(&mut self, parent: &Path, name: &OsStr, present: Option<FileStat>) -> Result<()> {
        if let Some(stat) = present {
            let is_directory = below::kind(&stat) == SFlag::S_IFDIR;
            ensure!(!is_directory || !self.manner.copies(), "what is there is a directory, and stays");
            removal::remove(self.parent(parent)?, name).context("cannot replace what is there")?;
            self.leave()?; // the path may lead elsewhere now
        }
        Ok(())
    }

    /// An ordinary user owns whatever it unpacks; for root an owner that cannot be kept is worth a word.
    fn count(&mut self, owner_kept: bool) {
        self.left_out.owners += u64::from(self.privileged && !owner_kept);
    }

    /// Closes the directories that are to be closed, the deepest first: a parent may then forbid us to come back.
    fn finish(mut self) -> Result<LeftOut> {
        self.leave()?;
        let mut closed: Vec<_> = self.closed.drain().collect();
        closed.sort_by_key(|(_, (path, _))| std::cmp::Reverse(path.components().count()));
        for (inode, (path, attributes)) in closed {
            let (parent, name) = below::split(&path);
            let Ok(parent) = self.below.directory(&parent) else { continue };
            let name = if name.is_empty() { OsStr::new(".") } else { &name };
            match openat(&parent, name, DIRECTORY, Mode::empty()) {
                // Something else may have replaced it since.
                Ok(directory) if fstat(&directory)?.st_ino == inode => {
                    let set = attributes.set(&File::from(directory));
                    set.with_context(|| format!("entry {}", shown(path.as_os_str().as_bytes())))?;
                }
                _ => continue,
            }
        }
        Ok(self.left_out)
    }
}

/// The path that an entry's name means below the root, `.` and repeated slashes taken out, read from its byte `start`.
fn inside(name: &[u8], start: usize) -> Result<PathBuf> {
    ensure!(!name.is_empty(), "the name is empty");
    ensure!(!name.contains(&0), "the name has a NUL in it");
    let mut path = PathBuf::new();
    for part in Path::new(OsStr::from_bytes(&name[start..])).components() {
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

/// 2^32-1 is "no change" to chown(2), and what lies beyond would be cut down to some other user.
fn id(number: i64) -> Result<u32> {
    match u32::try_from(number) {
        Ok(id) if id != u32::MAX => Ok(id),
        _ => bail!("its owner {number} is no user or group id"),
    }
}

/// A name as it may be printed: control characters escaped, and not longer than a line.
pub fn shown(name: &[u8]) -> String {
    let text = format!("{:?}", String::from_utf8_lossy(&name[..name.len().min(500)]));
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}…\"", &text[..end]),
        None => text,
    }
}

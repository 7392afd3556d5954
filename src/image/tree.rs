//! The directory that an archive is unpacked into: where the next entry goes, and what must be set back when those
//! that follow have changed it.

use super::{
    attributes::Attributes,
    below::{self, Below, DIRECTORY, Key},
    manner::{LeftOut, MOST_UNLISTED, Manner, shown},
};
use crate::removal;
use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::openat,
    sys::{
        stat::{FileStat, Mode, SFlag, UtimensatFlags, fchmod, fstat, mkdirat, utimensat},
        time::TimeSpec,
    },
    unistd::geteuid,
};
use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    fs::File,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

pub(super) struct Tree {
    pub(super) below: Below,
    pub(super) manner: Manner,
    /// An ordinary user owns whatever it unpacks.
    privileged: bool,
    /// The directory of the last entry: the next one is mostly in it too.
    last: Option<Open>,
    /// Those that an ordinary user could not fill if they were what they will be: set at the end.
    closed: HashMap<Key, (PathBuf, Attributes)>,
    /// Where there was something before us: the directories that are ours.
    made: HashSet<Key>,
    pub(super) left_out: LeftOut,
}

/// A directory that is being filled. That changes its time, which is set back when we are done there.
struct Open {
    path: PathBuf,
    directory: OwnedFd,
    mtime: Option<TimeSpec>,
}

const MOST_CLOSED: usize = 100_000;

impl Tree {
    pub(super) fn new(below: Below, manner: Manner) -> Tree {
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

    /// At once if we may still fill it then, else at the end.
    pub(super) fn become_what_it_is(
        &mut self,
        made: OwnedFd,
        path: &Path,
        attributes: Attributes,
    ) -> Result<()> {
        let closes = !self.privileged && attributes.mode & 0o700 != 0o700;
        if closes || self.manner.copies() {
            let key = below::key(&fstat(&made)?);
            if self.manner.copies() {
                self.made.insert(key);
            }
            if closes {
                ensure!(self.closed.len() < MOST_CLOSED, "too many directories that forbid to be filled");
                let open = Attributes { mode: attributes.mode | 0o700, xattrs: Vec::new(), ..attributes };
                self.closed.insert(key, (path.to_path_buf(), attributes));
                open.set(&File::from(made))?;
                return Ok(());
            }
        }
        let kept = attributes.set(&File::from(made))?;
        self.count(kept);
        Ok(())
    }

    /// The directory an entry belongs in, made if the archive did not list it.
    pub(super) fn parent(&mut self, path: &Path) -> Result<&OwnedFd> {
        if self.last.as_ref().is_none_or(|open| open.path != path) {
            self.leave()?;
            let directory = match self.below.directory(path) {
                Err(Errno::ENOENT) => self.missing(path)?,
                other => other.with_context(|| format!("openat2({path:?}, RESOLVE_IN_ROOT)"))?,
            };
            let found = fstat(&directory)?;
            let is_ours = !self.manner.copies() || self.made.contains(&below::key(&found));
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
            let about = fstat(&at)?;
            if self.manner.copies() {
                self.made.insert(below::key(&about));
            } else if self.left_out.unlisted.len() < MOST_UNLISTED {
                self.left_out.unlisted.insert(about.st_ino);
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
    pub(super) fn leave(&mut self) -> Result<()> {
        let Some(Open { directory, mtime: Some(mtime), .. }) = self.last.take() else { return Ok(()) };
        utimensat(&directory, ".", &TimeSpec::UTIME_OMIT, &mtime, UtimensatFlags::NoFollowSymlink)
            .context("utimensat(\".\")")
    }

    /// A later entry replaces an earlier one of the same name, whatever it was, and never writes through it.
    pub(super) fn make_way(&mut self, parent: &Path, name: &OsStr, present: Option<FileStat>) -> Result<()> {
        if let Some(stat) = present {
            let is_directory = below::kind(&stat) == SFlag::S_IFDIR;
            ensure!(!is_directory || !self.manner.copies(), "what is there is a directory, and stays");
            removal::remove(self.parent(parent)?, name).context("cannot replace what is there")?;
            self.leave()?; // the path may lead elsewhere now
        }
        Ok(())
    }

    /// An ordinary user owns whatever it unpacks; for root an owner that cannot be kept is worth a word.
    pub(super) fn count(&mut self, owner_kept: bool) {
        self.left_out.owners += u64::from(self.privileged && !owner_kept);
    }

    /// Closes the directories that are to be closed, the deepest first: a parent may then forbid us to come back.
    pub(super) fn finish(mut self) -> Result<LeftOut> {
        self.leave()?;
        let mut closed: Vec<_> = self.closed.drain().collect();
        closed.sort_by_key(|(_, (path, _))| std::cmp::Reverse(path.components().count()));
        for (key, (path, attributes)) in closed {
            let (parent, name) = below::split(&path);
            let Ok(parent) = self.below.directory(&parent) else { continue };
            let name = if name.is_empty() { OsStr::new(".") } else { &name };
            match openat(&parent, name, DIRECTORY, Mode::empty()) {
                // Something else may have replaced it since.
                Ok(directory) if below::key(&fstat(&directory)?) == key => {
                    let set = attributes.set(&File::from(directory));
                    set.with_context(|| format!("entry {}", shown(path.as_os_str().as_bytes())))?;
                }
                _ => continue,
            }
        }
        Ok(self.left_out)
    }
}

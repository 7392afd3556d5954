//! A copy of an image's files, for a container without overlayfs (`--until chroot`).

use super::{
    attributes::Attributes,
    below::{self, Below, DIRECTORY, Key, Way, key},
    holes, whiteout,
};
use crate::removal;
use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat},
    sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat},
    unistd::{Gid, LinkatFlags, Uid, fchownat, geteuid, linkat, mkfifoat, symlinkat},
};
use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

/// A fresh copy of the image's files in `target`, an empty directory; a higher layer's file replaces a lower one's.
/// Owners (for root), modes, times, links and extended attributes are kept. What is mounted in a layer does not belong
/// to it.
pub fn copy(layers: &[PathBuf], target: &Path) -> Result<()> {
    match copy_layers(layers, target) {
        // An image made of a container has its users' files.
        Err(error) if removal::is_denied(&error) => {
            removal::as_root_of_ours("copier", || copy_layers(layers, target))
        }
        copied => copied,
    }
}

fn copy_layers(layers: &[PathBuf], target: &Path) -> Result<()> {
    let to = Below::open(target)?;
    for layer in layers {
        let walk = Walk { from: Below::open(layer)?, to: &to, linked: HashMap::new(), closed: Vec::new() };
        walk.run().with_context(|| format!("cannot copy {layer:?} to {target:?}"))?;
    }
    Ok(())
}

struct Walk<'a> {
    from: Below,
    to: &'a Below,
    /// Where the first of a file's several names was put, and which file that is.
    linked: HashMap<Key, (PathBuf, Key)>,
    /// Directories that an ordinary user could not enter any more, if they were what they will be.
    closed: Vec<(PathBuf, Key, Attributes)>,
}

impl Walk<'_> {
    /// Both may be in volumes, and other containers rename in there: what is copied has its own attributes, or there
    /// is no copy.
    fn run(mut self) -> Result<()> {
        let (mut from, mut to) = (Way::from(start(&self.from)?), Way::from(start(self.to)?));
        let mut left = vec![below::names(from.here())?];
        while let Some(names) = left.last_mut() {
            if let Some(name) = names.pop() {
                let path = from.path().join(&name);
                let entered = self.one(&from, &to, &name).with_context(|| format!("{path:?}"))?;
                if let Some((source, copy)) = entered {
                    left.push(below::names(&source)?);
                    from.enter(&name, source)?;
                    to.enter(&name, copy)?;
                }
                continue;
            }
            // All that is in it is there: now it may forbid to enter it.
            self.set_directory(&from, &to)?;
            left.pop();
            from.leave()?;
            to.leave()?;
        }
        self.closed.iter().try_for_each(|(path, key, attributes)| {
            let directory = start(&Below::at(self.to.again(path, *key)?))?;
            attributes.set(&File::from(directory)).map(drop)
        })
    }

    /// Copies what is called `name`. Of a directory it returns both, to be filled.
    fn one(&mut self, from: &Way, to: &Way, name: &OsStr) -> Result<Option<(OwnedFd, OwnedFd)>> {
        let stat = below::look(from.here(), name)?.context("it has vanished")?;
        if below::kind(&stat) != SFlag::S_IFDIR {
            self.leaf(from.here(), to.here(), &from.path().join(name), &stat)?;
            return Ok(None);
        }
        if is_same(&stat, self.to.root())? {
            return Ok(None); // the copy itself: there would be no end to it
        }
        let source = alone(from.here(), name, DIRECTORY).context("openat2(O_DIRECTORY, RESOLVE_NO_XDEV)")?;
        let Some(source) = source else { return Ok(None) };
        // An opaque directory hides what the layers below have of it.
        if whiteout::is_opaque(&File::from(source.try_clone()?), &[whiteout::TRUSTED, whiteout::USER]) {
            removal::remove(to.here(), name)?;
        }
        directory(to.here(), name)?;
        let copy = openat(to.here(), name, DIRECTORY, Mode::empty()).context("openat(O_DIRECTORY)")?;
        Ok(Some((source, copy)))
    }

    fn leaf(&mut self, from: &OwnedFd, to: &OwnedFd, path: &Path, stat: &FileStat) -> Result<()> {
        let (_, name) = below::split(path);
        // A whiteout, too: it is the last to be copied to its name.
        if below::look(to, &name)?.is_some() {
            removal::remove(to, &name)?;
        }
        if stat.st_nlink > 1 && self.link(to, &name, stat)? {
            return Ok(());
        }
        match below::kind(stat) {
            SFlag::S_IFREG => file(from, to, &name)?,
            SFlag::S_IFLNK => {
                let target = readlinkat(from, name.as_os_str()).context("readlinkat()")?;
                symlinkat(target.as_os_str(), to, name.as_os_str()).context("symlinkat()")?;
                Attributes::of(stat, None)?.set_by_name(to, &name)?;
            }
            SFlag::S_IFIFO => {
                mkfifoat(to, name.as_os_str(), Mode::S_IRUSR).context("mkfifoat()")?;
                Attributes::of(stat, None)?.set_by_name(to, &name)?;
            }
            // A device node would open something here: nothing is mounted in front of it. And a socket is dead without
            // its server.
            _ => return Ok(()),
        }
        if stat.st_nlink > 1
            && let Some(copy) = below::look(to, &name)?
        {
            self.linked.insert(key(stat), (path.to_path_buf(), key(&copy)));
        }
        Ok(())
    }

    /// One more name for what was copied already, if that is still where it was put.
    fn link(&self, to: &OwnedFd, name: &OsStr, stat: &FileStat) -> Result<bool> {
        let Some((first, copy)) = self.linked.get(&key(stat)) else { return Ok(false) };
        let (parent, first) = below::split(first);
        let parent = self.to.directory(&parent)?;
        if below::look(&parent, &first)?.is_none_or(|found| key(&found) != *copy) {
            return Ok(false);
        }
        linkat(&parent, first.as_os_str(), to, name, LinkatFlags::empty()).context("linkat()")?;
        Ok(true)
    }

    fn set_directory(&mut self, from: &Way, to: &Way) -> Result<()> {
        let (source, copy) = (File::from(from.here().try_clone()?), File::from(to.here().try_clone()?));
        let attributes = Attributes::of(&fstat(&source)?, Some(&source))?;
        if geteuid().is_root() || attributes.mode & 0o700 == 0o700 {
            return attributes.set(&copy).map(drop);
        }
        let open = Attributes { mode: attributes.mode | 0o700, xattrs: Vec::new(), ..attributes };
        open.set(&copy)?;
        self.closed.push((to.path().to_path_buf(), key(&fstat(&copy)?), attributes));
        Ok(())
    }
}

fn start(top: &Below) -> Result<OwnedFd> {
    openat(top.root(), ".", DIRECTORY, Mode::empty()).context("openat(\".\")")
}

/// Opens what is called `name`; None where something is mounted there, which is not the directory's.
fn alone(at: impl AsFd, name: &OsStr, flags: OFlag) -> nix::Result<Option<OwnedFd>> {
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_XDEV);
    match openat2(at, name, how) {
        Err(Errno::EXDEV) => Ok(None),
        opened => opened.map(Some),
    }
}

/// Not by the device: where an overlay shows the same directory it has another number, and the same times.
fn is_same(stat: &FileStat, directory: impl AsFd) -> Result<bool> {
    let other = fstat(directory)?;
    let times = |stat: &FileStat| (stat.st_ctime, stat.st_ctime_nsec, stat.st_mtime, stat.st_mtime_nsec);
    Ok(stat.st_ino == other.st_ino && times(stat) == times(&other))
}

/// Makes `uid` and `gid` the owner of a directory (or file) and of all below; no link is followed.
pub fn give(path: &Path, uid: u32, gid: u32) -> Result<()> {
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    fchownat(AT_FDCWD, path, owner.0, owner.1, AtFlags::empty()).context("fchownat()")?;
    if !path.is_dir() {
        return Ok(());
    }
    let mut way = Way::from(start(&Below::open(path)?)?);
    let mut left = vec![below::names(way.here())?];
    while let Some(names) = left.last_mut() {
        let Some(name) = names.pop() else {
            left.pop();
            way.leave()?;
            continue;
        };
        let child = || format!("fchownat({:?})", way.path().join(&name));
        fchownat(way.here(), name.as_os_str(), owner.0, owner.1, AtFlags::AT_SYMLINK_NOFOLLOW)
            .with_context(child)?;
        match openat(way.here(), name.as_os_str(), DIRECTORY, Mode::empty()) {
            // It is none.
            Err(Errno::ENOTDIR | Errno::ELOOP) => {}
            directory => {
                let directory = directory.with_context(child)?;
                left.push(below::names(&directory)?);
                way.enter(&name, directory)?;
            }
        }
    }
    Ok(())
}

/// Makes `name` a directory that we may fill; one of a lower layer stays.
fn directory(to: impl AsFd, name: &OsStr) -> Result<()> {
    match below::look(&to, name)? {
        Some(stat) if below::kind(&stat) == SFlag::S_IFDIR => return Ok(()),
        Some(_) => removal::remove(&to, name)?,
        None => (),
    }
    mkdirat(&to, name, Mode::S_IRWXU).context("mkdirat()")
}

fn file(from: impl AsFd, to: impl AsFd, name: &OsStr) -> Result<()> {
    let path = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let write = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let Some(found) = alone(from, name, path).context("openat2(O_PATH, RESOLVE_NO_XDEV)")? else {
        return Ok(());
    };
    // It may be another by now. A fifo would be waited for; and owner and mode are those of the very file that the
    // content is from, or else a user's content became root's.
    let source = below::regular(&found)?.context("it was replaced while it was copied")?;
    let stat = fstat(&source)?;
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let copy = File::from(openat(to, name, write, mode).context("openat(O_CREAT|O_EXCL)")?);
    holes::copy(&source, &stat, &copy)?;
    Attributes::of(&stat, Some(&source))?.set(&copy)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    };

    #[test]
    fn a_copy_has_the_same_modes_times_and_links() {
        let place = tempfile::tempdir().unwrap();
        let (layer, target) = (place.path().join("layer"), place.path().join("target"));
        fs::create_dir_all(layer.join("closed/in")).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(layer.join("closed/file"), "content").unwrap();
        fs::set_permissions(layer.join("closed/file"), Permissions::from_mode(0o4711)).unwrap();
        fs::hard_link(layer.join("closed/file"), layer.join("also")).unwrap();
        symlink("/etc/passwd", layer.join("away")).unwrap();
        mkfifoat(nix::fcntl::AT_FDCWD, &layer.join("pipe"), Mode::S_IRUSR).unwrap();
        fs::set_permissions(layer.join("closed"), Permissions::from_mode(0o555)).unwrap();
        copy(std::slice::from_ref(&layer), &target).unwrap();
        for name in ["", "closed", "closed/in", "closed/file", "also", "away", "pipe"] {
            let facts = |root: &Path| {
                let found = fs::symlink_metadata(root.join(name)).unwrap();
                let time = (found.mtime(), found.mtime_nsec());
                (found.mode(), found.uid(), found.gid(), time, found.nlink())
            };
            let mut expected = facts(&layer);
            if !nix::unistd::geteuid().is_root() {
                expected.0 &= !0o4000; // an ordinary user's copies are nobody's setuid
            }
            assert_eq!(expected, facts(&target), "{name:?}");
        }
        assert_eq!(fs::read_to_string(target.join("also")).unwrap(), "content");
        for closed in [layer.join("closed"), target.join("closed")] {
            fs::set_permissions(closed, Permissions::from_mode(0o755)).unwrap(); // so that it can be removed
        }
    }

    #[test]
    fn a_higher_layer_replaces_a_file_and_never_writes_through_a_link() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        for name in ["low/dir", "high/file", "target"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        fs::write(path("precious"), "alive").unwrap();
        symlink(path("precious"), path("low/link")).unwrap();
        fs::write(path("low/file"), "").unwrap();
        fs::write(path("low/dir/kept"), "").unwrap();
        fs::create_dir(path("high/dir")).unwrap();
        fs::write(path("high/link"), "new").unwrap();
        copy(&[path("low"), path("high")], &path("target")).unwrap();
        assert_eq!(fs::read_to_string(path("target/link")).unwrap(), "new");
        assert_eq!(fs::read_to_string(path("precious")).unwrap(), "alive");
        assert!(path("target/file").is_dir() && path("target/dir/kept").exists());
    }

    #[test]
    fn a_tree_deeper_than_is_held_is_copied_and_given_whole() {
        let place = tempfile::tempdir().unwrap();
        let (layer, target) = (place.path().join("layer"), place.path().join("target"));
        fs::create_dir(&target).unwrap();
        let deep = |top: &Path, levels: usize| (0..levels).fold(top.to_owned(), |path, _| path.join("d"));
        fs::create_dir_all(deep(&layer, 400)).unwrap();
        for level in (0..=400).step_by(50) {
            for name in ["a", "z"] {
                fs::write(deep(&layer, level).join(name), "").unwrap();
            }
            fs::set_permissions(deep(&layer, level), Permissions::from_mode(0o711)).unwrap();
        }
        copy(std::slice::from_ref(&layer), &target).unwrap();
        let own = fs::metadata(&layer).unwrap();
        give(&target, own.uid(), own.gid()).unwrap();
        for level in (0..=400).step_by(50) {
            let copy = deep(&target, level);
            assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o777, 0o711, "{level}");
            assert!(copy.join("a").exists() && copy.join("z").exists(), "{level}");
        }
        crate::removal::remove_tree(&layer).unwrap();
        crate::removal::remove_tree(&target).unwrap();
        assert!(!layer.exists() && !target.exists());
    }
}

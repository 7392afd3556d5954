//! A copy of an image's files, for a container without overlayfs (`--until chroot`).

use super::{
    attributes::Attributes,
    below::{self, Below, DIRECTORY},
    holes, whiteout,
};
use crate::removal;
use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat},
    libc,
    sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat},
    unistd::{Gid, LinkatFlags, Uid, fchownat, linkat, mkfifoat, symlinkat},
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
        let walk = Walk { from: Below::alone(layer)?, to: &to, linked: HashMap::new() };
        walk.run().with_context(|| format!("cannot copy {layer:?} to {target:?}"))?;
    }
    Ok(())
}

struct Walk<'a> {
    from: Below,
    to: &'a Below,
    /// Where the first of a file's several names was put, by inode number.
    linked: HashMap<libc::ino_t, PathBuf>,
}

impl Walk<'_> {
    fn run(mut self) -> Result<()> {
        let mut open = vec![PathBuf::new()];
        let mut made = Vec::new();
        while let Some(path) = open.pop() {
            let from = match self.from.directory(&path) {
                Err(Errno::EXDEV) => continue, // something is mounted there
                from => from?,
            };
            let to = self.to.directory(&path)?;
            for name in below::names(&from)? {
                let child = path.join(&name);
                let stat = below::look(&from, &name)?.with_context(|| format!("{child:?} has vanished"))?;
                if below::kind(&stat) == SFlag::S_IFDIR {
                    if is_same(&stat, self.to.root())? {
                        continue; // the copy itself: there would be no end to it
                    }
                    hide(&from, &to, &name).with_context(|| format!("{child:?}"))?;
                    directory(&to, &name).with_context(|| format!("{child:?}"))?;
                    open.push(child);
                } else {
                    self.leaf(&from, &to, &child, &stat).with_context(|| format!("{child:?}"))?;
                }
            }
            made.push(path);
        }
        // Parents were made before their children and may forbid to enter them: so the last made comes first.
        made.iter().rev().try_for_each(|path| self.set_directory(path))
    }

    fn leaf(&mut self, from: &OwnedFd, to: &OwnedFd, path: &Path, stat: &FileStat) -> Result<()> {
        let (_, name) = below::split(path);
        // A whiteout, too: it is the last to be copied to its name.
        if below::look(to, &name)?.is_some() {
            removal::remove(to, &name)?;
        }
        if stat.st_nlink > 1
            && let Some(first) = self.linked.get(&stat.st_ino)
        {
            let (parent, first) = below::split(first);
            let parent = self.to.directory(&parent)?;
            return linkat(&parent, first.as_os_str(), to, name.as_os_str(), LinkatFlags::empty())
                .context("linkat()");
        }
        match below::kind(stat) {
            SFlag::S_IFREG => file(from, to, &name, stat)?,
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
        self.linked.insert(stat.st_ino, path.to_path_buf());
        Ok(())
    }

    fn set_directory(&self, path: &Path) -> Result<()> {
        let open = |root: &Below| -> Result<File> {
            let directory = root.directory(path)?;
            Ok(openat(&directory, ".", DIRECTORY, Mode::empty())?.into())
        };
        let (from, to) = (open(&self.from)?, open(self.to)?);
        Attributes::of(&fstat(&from)?, Some(&from))?.set(&to)?;
        Ok(())
    }
}

/// Not by the device: where an overlay shows the same directory it has another number, and the same times.
fn is_same(stat: &FileStat, directory: impl AsFd) -> Result<bool> {
    let other = fstat(directory)?;
    let times = |stat: &FileStat| (stat.st_ctime, stat.st_ctime_nsec, stat.st_mtime, stat.st_mtime_nsec);
    Ok(stat.st_ino == other.st_ino && times(stat) == times(&other))
}

/// An opaque directory hides what the layers below have of it.
fn hide(from: &OwnedFd, to: &OwnedFd, name: &OsStr) -> Result<()> {
    let directory = File::from(openat(from, name, DIRECTORY, Mode::empty())?);
    if whiteout::is_opaque(&directory, &[whiteout::TRUSTED, whiteout::USER]) {
        removal::remove(to, name)?;
    }
    Ok(())
}

/// Makes `uid` and `gid` the owner of a directory (or file) and of all below; no link is followed.
pub fn give(path: &Path, uid: u32, gid: u32) -> Result<()> {
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    fchownat(AT_FDCWD, path, owner.0, owner.1, AtFlags::empty()).context("fchownat()")?;
    if !path.is_dir() {
        return Ok(());
    }
    let tree = Below::open(path)?;
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let directory = tree.directory(&path)?;
        for name in below::names(&directory)? {
            let child = path.join(&name);
            fchownat(&directory, name.as_os_str(), owner.0, owner.1, AtFlags::AT_SYMLINK_NOFOLLOW)
                .with_context(|| format!("fchownat({child:?})"))?;
            let stat = below::look(&directory, &name)?;
            if stat.is_some_and(|stat| below::kind(&stat) == SFlag::S_IFDIR) {
                open.push(child);
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

fn file(from: impl AsFd, to: impl AsFd, name: &OsStr, stat: &FileStat) -> Result<()> {
    let read = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_NO_XDEV);
    let write = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let source = match openat2(from, name, read) {
        Err(Errno::EXDEV) => return Ok(()), // something is mounted there
        source => File::from(source.context("openat2(O_RDONLY, RESOLVE_NO_XDEV)")?),
    };
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    let copy = File::from(openat(to, name, write, mode).context("openat(O_CREAT|O_EXCL)")?);
    holes::copy(&source, stat, &copy)?;
    Attributes::of(stat, Some(&source))?.set(&copy)?;
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
}

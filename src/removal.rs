//! Removing a directory that another process has filled, and may be changing still: an archive's, a container's.

use crate::{container::supervise, ids::Ids, layers::userns, sys};
use anyhow::{Context, Error, Result, bail, ensure};
use nix::{
    dir::{Dir, OwningIter},
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2, renameat},
    sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, fstat},
    unistd::{UnlinkatFlags, geteuid, unlinkat},
};
use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Removes `path` and all below it. Follows no link, crosses no mount (it stops with an error there), and is done with
/// any depth: `while mkdir a; cd a` makes trees that are deeper than any path is long.
pub fn remove_tree(path: &Path) -> Result<()> {
    let removed = match remove_path(path) {
        Err(error) if is_denied(&error) => as_root_of_ours("remover", || remove_path(path)),
        removed => removed,
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

/// Whether an ordinary user could do better as `as_root_of_ours`.
pub fn is_denied(error: &Error) -> bool {
    let errno = error.chain().find_map(|cause| cause.downcast_ref());
    matches!(errno, Some(Errno::EACCES | Errno::EPERM)) && !geteuid().is_root()
}

/// What other users of a container wrote belongs to ids that are the caller's only in a user namespace (subuid(5)),
/// so that is where it can be read and removed: by a process called `name`.
pub fn as_root_of_ours(name: &'static str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let child = sys::fork(name, || {
        userns::enter(&Ids::of_caller())?;
        work()?;
        Ok(0)
    })?;
    ensure!(supervise::wait_for(child)? == 0, "its files belong to other users");
    Ok(())
}

fn remove_path(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        bail!("it is a root directory")
    };
    match nix::fcntl::open(parent, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(Errno::ENOENT) => Ok(()),
        parent => remove(parent?, name),
    }
}

/// Removes `name` and everything below it, and refuses to step onto another mount.
///
/// The tree may be another process's to change meanwhile, by a descriptor or a name of its own: so what is held is
/// acted on, and nothing else. What has vanished by then is not an error; what is there again is removed again, but
/// not for ever.
pub fn remove(parent: impl AsFd, name: &OsStr) -> Result<()> {
    let mut left = MOST;
    for _ in 0..ROUNDS {
        if gone(&parent, name)? {
            return Ok(());
        }
        if let Some(top) = step_into(&parent, name, Path::new(name))? {
            Emptying { top: &top, moved: 0, left: &mut left }.all(name)?;
        }
    }
    bail!(FILLED)
}

/// So many directories are open at a time. What is deeper is moved up to the top of the tree, and emptied from there.
const DEPTH: usize = 32;

/// A directory that is still not empty then is filled by another process.
const ROUNDS: usize = 100;

/// So many names are removed at a time: a process that adds as many elsewhere in the tree meanwhile keeps us no longer.
const MOST: u64 = 20_000_000;

const FILLED: &str =
    "another process adds to it all the time\n        end that first, and then: rubber clean";

/// A tree that is being emptied, never by going up: after a rename `..` is another directory than the one we came
/// from, which may be the host's. So the way back is kept open, and as a tree may be deeper than we may have files
/// open (and than any path is long), what lies too deep is renamed to the top, which is kept open, too.
struct Emptying<'a> {
    top: &'a OwnedFd,
    /// How many directories were renamed to the top.
    moved: usize,
    left: &'a mut u64,
}

/// A directory on the way down.
struct Level {
    name: OsString,
    entries: OwningIter,
}

impl Emptying<'_> {
    fn all(mut self, name: &OsStr) -> Result<()> {
        // Once more: reading moves the position of an open directory.
        self.below(openat(self.top, ".", DIRECTORY, Mode::empty()).context("openat(\".\")")?, name)?;
        let mut done = 0;
        while done < self.moved {
            let name = moved_name(done);
            if let Some(directory) = step_into(self.top, &name, Path::new(&name))? {
                self.below(directory, &name)?;
            }
            done += 1;
        }
        Ok(())
    }

    /// Each name once: one that another process has put back is left, for the next round.
    fn below(&mut self, directory: OwnedFd, name: &OsStr) -> Result<()> {
        let mut open = vec![Level::new(directory, name)?];
        while let Some(last) = open.last_mut() {
            let Some(child) = last.next_full(self.left)? else {
                let emptied = open.pop();
                if let (Some(above), Some(emptied)) = (open.last(), emptied) {
                    gone(above.directory(), &emptied.name)?;
                }
                continue;
            };
            let names = open.iter().map(|level| &level.name);
            let path: PathBuf = names.chain([&child]).collect();
            let parent = open[open.len() - 1].directory();
            let entered = match step_into(parent, &child, &path) {
                // We may have fewer files open than that.
                Err(error) if is_one_too_many(&error) && self.moves_up(parent, &child) => continue,
                entered => entered?,
            };
            if let Some(directory) = entered
                && !(open.len() >= DEPTH && self.moves_up(parent, &child))
            {
                open.push(Level::new(directory, &child)?);
            }
        }
        Ok(())
    }

    /// By now its owner may write in it, which is what it takes to give it another `..`. Where a rename is refused all the
    /// same, it is emptied where it is.
    fn moves_up(&mut self, parent: BorrowedFd, child: &OsStr) -> bool {
        let moved = renameat(parent, child, self.top, moved_name(self.moved).as_os_str()).is_ok();
        self.moved += usize::from(moved);
        moved
    }
}

fn moved_name(number: usize) -> OsString {
    format!(".rubber-removes-{number}").into()
}

impl Level {
    fn new(directory: OwnedFd, name: &OsStr) -> Result<Level> {
        Ok(Level { name: name.to_owned(), entries: Dir::from_fd(directory)?.into_iter() })
    }

    fn directory(&self) -> BorrowedFd<'_> {
        // SAFETY: it is open for as long as its entries are read.
        unsafe { BorrowedFd::borrow_raw(self.entries.as_raw_fd()) }
    }

    /// Unlinks everything up to the next directory that is not empty, and returns that one's name.
    fn next_full(&mut self, left: &mut u64) -> Result<Option<OsString>> {
        while let Some(entry) = self.entries.next() {
            let entry = match entry {
                Err(Errno::ENOENT) => break, // another process has removed the directory
                entry => entry.context("getdents64()")?,
            };
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            *left = left.checked_sub(1).context(FILLED)?;
            if !gone(self.directory(), name)? {
                return Ok(Some(name.to_owned()));
            }
        }
        Ok(None)
    }
}

/// Unlinks `name`; false when it is a directory with something in it.
fn gone(parent: impl AsFd, name: &OsStr) -> Result<bool> {
    match unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(true),
        Err(Errno::EISDIR | Errno::EPERM) => (),
        // A directory of an ordinary user's image may forbid its owner to write: `step_into` mends that.
        Err(error) => return Err(error).with_context(|| format!("unlinkat({name:?})")),
    }
    match unlinkat(&parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(false),
        Err(Errno::EBUSY) => mount_point(name),
        Err(error) => Err(error).with_context(|| format!("unlinkat({name:?}, AT_REMOVEDIR)")),
    }
}

/// Opens a directory that is about to be emptied, and makes sure that its owner may; `None` when it has vanished, or
/// is no directory any more.
fn step_into(parent: impl AsFd, name: &OsStr, path: &Path) -> Result<Option<OwnedFd>> {
    let open = |flags| open_on_the_same_mount(&parent, name, flags);
    let opened = match open(DIRECTORY) {
        Err(Errno::EACCES) => open(DIRECTORY | OFlag::O_PATH).and_then(|closed| {
            // Of the directory that is held: its name may be a link's by now, which fchmodat(2) would follow.
            let itself = format!("/proc/self/fd/{}", closed.as_raw_fd());
            fchmodat(AT_FDCWD, itself.as_str(), Mode::S_IRWXU, FchmodatFlags::FollowSymlink)?;
            openat(&closed, ".", DIRECTORY, Mode::empty())
        }),
        other => other,
    };
    let opened = match opened {
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => return Ok(None),
        Err(Errno::EXDEV) => return mount_point(path.as_os_str()),
        other => other.with_context(|| format!("openat2({path:?}, RESOLVE_NO_XDEV)"))?,
    };
    if fstat(&opened)?.st_mode & 0o700 != 0o700 {
        fchmod(&opened, Mode::S_IRWXU).context("fchmod(0700)")?;
    }
    Ok(Some(opened))
}

fn open_on_the_same_mount(parent: impl AsFd, name: &OsStr, flags: OFlag) -> nix::Result<OwnedFd> {
    // NO_XDEV sees bind mounts of the same filesystem too, which st_dev does not.
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_XDEV);
    match openat2(&parent, name, how) {
        Err(Errno::ENOSYS) => {}
        opened => return opened,
    }
    // Before Linux 5.6: what is open says which mount it is on (proc_pid_fdinfo(5)).
    let opened = openat(&parent, name, flags, Mode::empty())?;
    let mount = |file: BorrowedFd| {
        let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()));
        let about = about.map_err(|_| Errno::EXDEV)?;
        about.lines().find(|line| line.starts_with("mnt_id:")).map(str::to_owned).ok_or(Errno::EXDEV)
    };
    if mount(parent.as_fd())? == mount(opened.as_fd())? { Ok(opened) } else { Err(Errno::EXDEV) }
}

fn is_one_too_many(error: &Error) -> bool {
    error.downcast_ref() == Some(&Errno::EMFILE)
}

fn mount_point<T>(name: &OsStr) -> Result<T> {
    bail!("{name:?} is a mount point: unmount it first, rubber removes nothing across a mount")
}

//! Owner, mode, time and extended attributes of one file, and the order in which they must be set.

use super::below;
use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, openat},
    libc,
    sys::{
        stat::{
            FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstat, futimens,
            utimensat,
        },
        time::TimeSpec,
    },
    unistd::{Gid, Uid, fchown, fchownat, geteuid},
};
use std::{
    ffi::{OsStr, OsString},
    fs::File,
    os::{
        fd::{AsFd, AsRawFd},
        unix::ffi::OsStrExt,
    },
};
use xattr::FileExt;

#[derive(PartialEq)]
pub struct Attributes {
    pub owner: (u32, u32),
    pub mode: u32,
    pub mtime: TimeSpec,
    pub xattrs: Vec<(OsString, Vec<u8>)>,
}

impl Attributes {
    /// Those of a file that is there; `file` is where its extended attributes are read from.
    pub fn of(stat: &FileStat, file: Option<&File>) -> Result<Attributes> {
        let mut xattrs = Vec::new();
        if let Some(file) = file {
            // ENOTSUP: this filesystem has none.
            for name in file.list_xattr().into_iter().flatten().filter(|name| welcome(name.as_bytes())) {
                let value = file.get_xattr(&name).with_context(|| format!("fgetxattr({name:?})"))?;
                xattrs.extend(value.map(|value| (name, value)));
            }
        }
        Ok(Attributes {
            owner: (stat.st_uid, stat.st_gid),
            mode: stat.st_mode & 0o7777,
            mtime: TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec),
            xattrs,
        })
    }

    /// Sets them all; false when the owner could not be kept.
    ///
    /// The order matters: chown(2) clears setuid and file capabilities, and the time goes last.
    pub fn set(&self, file: &File) -> Result<bool> {
        let (uid, gid) = self.ids();
        let kept = chowned(fchown(file, uid, gid))?;
        fchmod(file, self.permissions(kept)).context("fchmod()")?;
        for (name, value) in &self.xattrs {
            match file.set_xattr(name, value) {
                // A file capability is root's to give, and not every filesystem has attributes.
                Err(error) if !kept || error.raw_os_error() == Some(libc::EOPNOTSUPP) => (),
                // The disk is not full: what a filesystem has for attributes is little.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::E2BIG | libc::ERANGE)) =>
                {
                    bail!(
                        "the attribute {name:?} of {} bytes is more than this filesystem keeps",
                        value.len()
                    )
                }
                other => other.with_context(|| format!("fsetxattr({name:?})"))?,
            }
        }
        futimens(file, &TimeSpec::UTIME_OMIT, &self.mtime).context("futimens()")?;
        Ok(kept)
    }

    /// For links, fifos and device nodes, which cannot be opened to act on. Nothing follows the name.
    pub fn set_by_name(&self, parent: impl AsFd, name: &OsStr) -> Result<bool> {
        let (uid, gid) = self.ids();
        let kept = chowned(fchownat(&parent, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW))?;
        let how = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let made = openat(&parent, name, how, Mode::empty()).context("openat(O_PATH)")?;
        if below::kind(&fstat(&made)?) != SFlag::S_IFLNK {
            // Of the fifo itself: chmod(2) by its name would follow what is there by now, if somebody else writes
            // here too.
            let name = format!("/proc/self/fd/{}", made.as_raw_fd());
            fchmodat(AT_FDCWD, name.as_str(), self.permissions(kept), FchmodatFlags::FollowSymlink)
                .context("fchmodat()")?;
        }
        utimensat(&parent, name, &TimeSpec::UTIME_OMIT, &self.mtime, UtimensatFlags::NoFollowSymlink)
            .context("utimensat()")?;
        Ok(kept)
    }

    fn ids(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.owner.0)), Some(Gid::from_raw(self.owner.1)))
    }

    /// A setuid file becomes the caller's when its owner cannot be kept, so it must lose the bit too.
    fn permissions(&self, owner_kept: bool) -> Mode {
        Mode::from_bits_truncate(self.mode & if owner_kept { 0o7777 } else { 0o1777 })
    }
}

/// File capabilities, access lists and the user's own attributes. Not overlayfs's, with which a layer could redirect
/// names.
pub fn welcome(xattr: &[u8]) -> bool {
    let of_system: [&[u8]; 3] =
        [b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"];
    of_system.contains(&xattr) || (xattr.starts_with(b"user.") && !xattr.starts_with(b"user.overlay."))
}

/// Only root may give files away, and only to ids that its user namespace has. What an ordinary user makes is its own.
fn chowned(result: nix::Result<()>) -> Result<bool> {
    match result {
        Ok(()) => Ok(geteuid().is_root()),
        Err(Errno::EPERM | Errno::EINVAL) => Ok(false),
        Err(errno) => Err(errno).context("fchown()"),
    }
}

//! `rubber cp`: files from the host into a container, and from a container to the host.
//!
//! It is a tar stream between two processes: one is root in the container, and knows no names but those below its
//! root, which the kernel resolves (openat2(2), RESOLVE_IN_ROOT). Whatever is renamed or linked in there meanwhile,
//! no name leads outside (CVE-2018-15664); the other one never sees a name of the container's.

use super::{
    find::Container,
    inside::{Purpose, Visit, both},
};
use crate::image::{
    below::{self, Below},
    pack::{self, Bounds, Packer},
    stream,
    unpack::{self, LeftOut, Manner, Owner, unpack_into},
};
use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    fcntl::readlinkat,
    sys::stat::SFlag,
    unistd::{getegid, geteuid},
};
use std::{
    ffi::OsString,
    io::{BufWriter, Read, Write, pipe},
    mem::ManuallyDrop,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

/// What is asked for beyond the two names.
#[derive(Clone, Copy)]
pub struct How {
    /// Users and groups are kept, by number.
    pub keeps_owners: bool,
    /// What a link points to is copied, not the link.
    pub follows: bool,
}

const BUFFER: usize = 1 << 16;

/// From a container to the host.
pub fn out(container: &Container, source: &Path, dest: &Path, how: How) -> Result<()> {
    let visit = Visit::prepare(container, Purpose::Read)?;
    let host = Below::open(Path::new("/"))?;
    let owner = match how.keeps_owners {
        true => Owner::Archived,
        false => Owner::Caller(geteuid().as_raw(), getegid().as_raw()),
    };
    let (target, manner) = arrive(&host, &absolute(dest)?, source, owner)?;
    let (mut reader, writer) = pipe()?;
    let other = reader.as_raw_fd();
    let visit = &visit;
    let packs = move || {
        // Open until we end, which is after we have said why.
        let writer = ManuallyDrop::new(writer);
        close(other);
        depart(&visit.enter()?, source, how, BufWriter::with_capacity(BUFFER, &*writer))?;
        Ok(0)
    };
    both(packs, || {
        let left_out =
            unpack_into(&mut reader, target, manner).with_context(|| format!("cannot copy to {dest:?}"))?;
        std::io::copy(&mut reader, &mut std::io::sink())?;
        tell(&left_out);
        Ok(())
    })
}

/// From a container to `out`, as a tar stream.
pub fn out_stream(container: &Container, source: &Path, how: How, out: impl Write) -> Result<()> {
    let visit = Visit::prepare(container, Purpose::Read)?;
    both(
        || depart(&visit.enter()?, source, how, BufWriter::with_capacity(BUFFER, out)).map(|()| 0),
        || Ok(()),
    )
}

/// From the host into a container.
pub fn into(container: &Container, source: &Path, dest: &Path, how: How) -> Result<()> {
    let visit = Visit::prepare(container, Purpose::Write)?;
    let host = Below::open(Path::new("/"))?;
    let (reader, writer) = pipe()?;
    let other = writer.as_raw_fd();
    let visit = &visit;
    let unpacks = move || {
        let mut reader = ManuallyDrop::new(reader);
        close(other);
        let owner = if how.keeps_owners { Owner::Archived } else { Owner::Given(0, 0) };
        let (target, manner) = arrive(&visit.enter()?, &rooted(dest), source, owner)?;
        let left_out = unpack_into(&mut *reader, target, manner)
            .with_context(|| format!("cannot copy to {}:{}", container.name, dest.display()))?;
        tell(&left_out);
        std::io::copy(&mut *reader, &mut std::io::sink())?;
        Ok(0)
    };
    both(unpacks, || depart(&host, &absolute(source)?, how, BufWriter::with_capacity(BUFFER, writer)))
}

/// From a tar stream into a directory of a container; owners are the archive's.
pub fn into_stream(container: &Container, archive: impl Read, dest: &Path) -> Result<()> {
    let visit = Visit::prepare(container, Purpose::Write)?;
    let unpacks = || {
        let root = visit.enter()?;
        let target = root.directory(&rooted(dest));
        let target =
            target.with_context(|| format!("no directory {dest:?} in container {}", container.name))?;
        let tar = stream::decompress(archive)?;
        tell(&unpack_into(tar, Below::at(target), Manner::of(unpack::Purpose::Copy))?);
        Ok(0)
    };
    both(unpacks, || Ok(()))
}

/// The other process's end of the pipe.
fn close(fd: i32) {
    // SAFETY: nobody in this process uses it: its owner's code runs in the process we were copied from.
    unsafe { nix::libc::close(fd) };
}

fn absolute(path: &Path) -> Result<PathBuf> {
    let mut absolute = std::env::current_dir().context("where we are is gone")?;
    absolute.push(path);
    Ok(absolute)
}

/// A name of the container's starts at its root, with or without a slash.
fn rooted(path: &Path) -> PathBuf {
    Path::new("/").join(path)
}

/// As in `DIR/.`: what is in there is meant, and not the directory.
fn means_content(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes == b"." || bytes.ends_with(b"/.") || path.file_name().is_none()
}

fn means_directory(path: &Path) -> bool {
    means_content(path) || path.as_os_str().as_bytes().ends_with(b"/")
}

/// Packs `source` under its own name, or its content if that is meant.
fn depart(root: &Below, source: &Path, how: How, out: impl Write) -> Result<()> {
    let mut packer = Packer::new(out, Bounds::Files);
    let name = source.file_name().map(PathBuf::from).unwrap_or_default();
    let top = if means_content(source) { PathBuf::new() } else { name };
    let packed = pack(&mut packer, root, source, how, &top);
    if packed.is_err() {
        packer.abandon();
        return packed;
    }
    for path in packer.finish()? {
        crate::narrate::warn(format_args!("{path:?} became shorter while it was read: its end is zeros"));
    }
    Ok(())
}

fn pack(packer: &mut Packer<impl Write>, root: &Below, source: &Path, how: How, top: &Path) -> Result<()> {
    let (parent, leaf) = find(root, source, how)?;
    if pack::is_kernels(&parent) {
        bail!(
            "{source:?} is no file on a disk: the kernel makes it up as it is read (rubber exec NAME cat ...)"
        );
    }
    match leaf {
        None => packer.tree(&Below::at(parent), top),
        Some(leaf) => packer.add(&parent, &leaf, top).map(drop),
    }
    .with_context(|| format!("cannot copy {source:?}"))
}

/// A directory, or the directory and the name of something else.
fn find(root: &Below, source: &Path, how: How) -> Result<(OwnedFd, Option<OsString>)> {
    let source = rooted(source);
    let missing = |errno: Errno| match errno {
        Errno::ENOENT => anyhow::anyhow!("no file {source:?}"),
        errno => anyhow::Error::new(errno).context(format!("cannot open {source:?}")),
    };
    if means_directory(&source) {
        return Ok((root.directory(&source).map_err(missing)?, None));
    }
    let (parent, name) = below::split(&source);
    let (parent, name) = match how.follows {
        true => follow(root, parent, name)?,
        false => (root.directory(&parent).map_err(missing)?, name),
    };
    let found = below::look(&parent, &name)?.ok_or(Errno::ENOENT).map_err(missing)?;
    match below::kind(&found) {
        SFlag::S_IFDIR => Ok((Below::at(parent).directory(Path::new(&name)).map_err(missing)?, None)),
        _ => Ok((parent, Some(name))),
    }
}

/// Where a chain of links ends: a directory and a name in it that is no link (or not there).
fn follow(root: &Below, mut parent: PathBuf, mut name: OsString) -> Result<(OwnedFd, OsString)> {
    for _ in 0..40 {
        let directory = root.directory(&parent).with_context(|| format!("no directory {parent:?}"))?;
        match readlinkat(&directory, name.as_os_str()) {
            Ok(target) => {
                let path = parent.join(target);
                if root.directory(&path).is_ok() {
                    return Ok((root.directory(&path)?, ".".into()));
                }
                (parent, name) = below::split(&path);
            }
            Err(_) => return Ok((directory, name)),
        }
    }
    bail!("{name:?}: too many links, one after the other")
}

/// Where a copy of `source` goes: into the directory `dest`, or to that name. As docker's, and as cp(1)'s.
fn arrive(root: &Below, dest: &Path, source: &Path, owner: Owner) -> Result<(Below, Manner)> {
    let mut manner = Manner::of(unpack::Purpose::Copy);
    manner.owner = owner;
    manner.strip = usize::from(!means_content(source));
    match root.directory(dest) {
        Ok(there) => {
            if manner.strip == 1 {
                manner.prefix = source.file_name().map(PathBuf::from).unwrap_or_default();
            }
            Ok((Below::at(there), manner))
        }
        Err(Errno::ENOENT | Errno::ENOTDIR) => {
            let (parent, name) = below::split(dest);
            if means_directory(dest) {
                manner.purpose = unpack::Purpose::CopyDirectory;
            }
            let (parent, name) = follow(root, parent, name)?;
            manner.prefix = name.into();
            Ok((Below::at(parent), manner))
        }
        Err(errno) => Err(errno).with_context(|| format!("cannot open {dest:?}")),
    }
}

/// What did not come along: one line for each kind.
fn tell(left_out: &LeftOut) {
    if let Some(first) = left_out.devices.first() {
        let more = match left_out.devices.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        crate::narrate::warn(format_args!("left out the device {first}{more}"));
    }
    if left_out.owners > 0 {
        crate::narrate::warn(format_args!("{} files could not keep their owners", left_out.owners));
    }
}

//! Our own program, as whoever is in a container may come to see it: whoever gets hold of /proc/PID/exe in there, and has
//! it executed, must not come by a way to write to the program on the host (CVE-2019-5736).

use crate::{
    sys,
    sys::mounts::{NODEV, NOSUID, RDONLY, fsconfig_create, fsconfig_set, fsmount, fsopen, openat_nofollow},
};
use anyhow::{Context, Result, bail};
use nix::{fcntl::AtFlags, sys::memfd::MFdFlags, unistd::execveat};
use std::{
    ffi::{CStr, CString, OsString},
    fs::{File, read_link},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{ffi::OsStringExt, fs::MetadataExt},
    },
    path::{Component, Path},
};

const OWN: &str = "/proc/self/exe";

/// Goes on as the same program, seen through an overlay without an upper layer: nobody can ever write to that. Where it
/// cannot be had, as for an ordinary user, a copy in memory is sealed: to make it takes longer than all the rest.
pub fn seal_program() -> Result<()> {
    if is_sealed()? {
        return Ok(());
    }
    match covered() {
        Ok(program) => go_on_as(&program),
        Err(_) => go_on_as(&copied()?),
    }
}

/// As a copy, or in a mount that has no place in any table: it begins with the directory of the program, so that this is
/// beside the root, where there is no such file.
fn is_sealed() -> Result<bool> {
    let link = read_link(OWN)?;
    if link.as_os_str().as_encoded_bytes().starts_with(b"/memfd:") {
        return Ok(true);
    }
    let is_beside_root =
        matches!(link.components().collect::<Vec<_>>()[..], [Component::RootDir, Component::Normal(_)]);
    let itself = |path: &Path| path.metadata().map(|about| (about.dev(), about.ino())).ok();
    Ok(is_beside_root && itself(&link) != itself(Path::new(OWN)))
}

fn copied() -> Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let copy = nix::sys::memfd::memfd_create(c"rubber", flags).context("memfd_create(\"rubber\")")?;
    let mut program = File::open(OWN).context("cannot read our own program: is /proc mounted?")?;
    let mut copy = File::from(copy);
    std::io::copy(&mut program, &mut copy)?;
    sys::fcntl_seal(&copy)?;
    Ok(copy.into())
}

/// Without an upper layer the kernel wants two lower ones. The second is never looked into: what the first has is a file.
fn covered() -> Result<OwnedFd> {
    let own = read_link(OWN)?;
    let (Some(dir), Some(name)) = (own.parent(), own.file_name()) else { bail!("{own:?} has no name") };
    let dir = dir.to_str().with_context(|| format!("{own:?} is not UTF-8"))?;
    let first = dir.replace('\\', "\\\\").replace(':', "\\:");
    let overlay = fsopen("overlay")?;
    fsconfig_set(&overlay, "lowerdir", &format!("{first}:/dev"))?;
    fsconfig_create(&overlay)?;
    openat_nofollow(&fsmount(&overlay, RDONLY | NOSUID | NODEV)?, name)
}

fn go_on_as(program: &OwnedFd) -> Result<()> {
    let strings = |all: Vec<OsString>| {
        all.into_iter().map(|word| CString::new(word.into_vec())).collect::<Result<Vec<_>, _>>()
    };
    let args = strings(std::env::args_os().collect())?;
    let env = std::env::vars_os().map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'='));
    let env = env.map(CString::new).collect::<Result<Vec<_>, _>>()?;
    let none: &CStr = c"";
    let Err(errno) = execveat(program, none, &args, &env, AtFlags::AT_EMPTY_PATH);
    bail!("execveat({}, \"\"): {errno}", program.as_raw_fd())
}

//! Our own program, as whoever is in a container may come to see it: whoever gets hold of /proc/PID/exe in there, and has
//! it executed, must not come by a way to write to the program on the host (CVE-2019-5736).

use crate::{
    place::is,
    sys,
    sys::mounts::{NODEV, NOSUID, RDONLY, mount_setattr, open_tree_alone},
};
use anyhow::{Context, Result, bail};
use nix::{errno::Errno, fcntl::AtFlags, sys::memfd::MFdFlags, unistd::execveat};
use std::{
    ffi::{CStr, CString, OsString},
    fs::{File, read_link},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

/// How long pages may be held.
const PATIENCE: Duration = Duration::from_secs(10);

const OWN: &str = "/proc/self/exe";

/// Goes on as the same program, seen through a mount that is read-only and in no table: without a place there, nobody can
/// ever change it back. Where it cannot be had, as for an ordinary user, a copy in memory is sealed: to make it takes
/// longer than all the rest.
pub fn seal_program() -> Result<()> {
    if is_sealed()? {
        return Ok(());
    }
    match covered() {
        Ok(program) => go_on_as(&program),
        Err(_) => go_on_as(&copied()?),
    }
}

/// As a copy, or as the root of a mount that has no place: no other program is called `/`.
fn is_sealed() -> Result<bool> {
    let link = read_link(OWN)?;
    Ok(link == Path::new("/") || link.as_os_str().as_encoded_bytes().starts_with(b"/memfd:"))
}

fn copied() -> Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let copy = nix::sys::memfd::memfd_create(c"rubber", flags).context("memfd_create(\"rubber\")")?;
    let mut program = File::open(OWN).context("cannot read our own program: is /proc mounted?")?;
    let mut copy = File::from(copy);
    std::io::copy(&mut program, &mut copy)?;
    seal(&copy)?;
    Ok(copy.into())
}

/// EBUSY is for as long as anything holds a page of it. Nobody else has the file: it is the kernel itself, which moves or
/// counts pages, and on a busy machine is not done within the 0.15 s that it waits for that (mm/memfd.c).
fn seal(copy: &File) -> Result<()> {
    let begin = Instant::now();
    loop {
        match sys::fcntl_seal(copy) {
            Err(error) if is(&error, Errno::EBUSY) && begin.elapsed() < PATIENCE => {
                sleep(Duration::from_millis(1))
            }
            done => return done,
        }
    }
}

/// The mount goes when nobody runs the program any more; until then it is ours alone, as the descriptor ends with execve(2).
fn covered() -> Result<OwnedFd> {
    let own = File::open(OWN)?;
    let mount = open_tree_alone(own.as_fd())?;
    mount_setattr(&mount, false, RDONLY | NOSUID | NODEV, 0)?;
    Ok(mount)
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

//! The process of a config.json: its numbers are taken as they are, and nothing in the root has a say in them.

use crate::{
    Exit,
    config::Config,
    container::streams,
    layers::{process, rlimits},
    narrate, sys,
};
use anyhow::{Error, Result, anyhow, bail};
use caps::{CapSet, Capability};
use nix::{
    errno::Errno,
    sys::stat::{SFlag, fstat, makedev},
    unistd::{AccessFlags, Gid, Uid, eaccess},
};
use std::{
    ffi::OsString,
    os::{fd::BorrowedFd, unix::ffi::OsStrExt},
    path::PathBuf,
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct User {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// A session of its own, and with a terminal one of the size it was asked for.
pub fn take_session(config: &Config) -> Result<()> {
    process::take_session(config)?;
    size(config)
}

/// The same without the session.
pub fn take_streams(config: &Config) -> Result<()> {
    streams::take(config)?;
    size(config)
}

fn size(config: &Config) -> Result<()> {
    match config.bundle.rows_and_columns {
        Some(size) if config.tty => sys::ioctl_window(size),
        _ => Ok(()),
    }
}

/// What execve(2) can ever give back: see the layer `capabilities`.
pub fn bound(config: &Config) -> Result<()> {
    let mut known: Vec<_> = caps::all().into_iter().collect();
    known.sort_by_key(Capability::index);
    let keep = &config.bundle.capabilities.bounding;
    let goes = |one: &Capability| {
        !keep.contains(one) && caps::has_cap(None, CapSet::Bounding, *one).unwrap_or(false)
    };
    known.into_iter().filter(goes).try_for_each(sys::prctl_capbset_drop)
}

/// With what is permitted: `keep` takes of it what nobody is to have.
pub fn become_user(config: &Config) -> Result<()> {
    let User { uid, gid, groups } = &config.bundle.user;
    (0..=2).try_for_each(|fd| give(fd, *uid))?;
    let groups: Vec<_> = groups.iter().copied().map(Gid::from_raw).collect();
    match sys::setgroups(&groups) {
        // Whoever mapped one id alone has given up this call, and there are no groups to lose.
        Err(error) if groups.is_empty() && error.downcast_ref() == Some(&Errno::EPERM) => {}
        done => done?,
    }
    sys::setgid(Gid::from_raw(*gid))?;
    sys::prctl_keepcaps()?;
    sys::setuid(Uid::from_raw(*uid))
}

/// Not the one that it was: see `hide`.
pub fn is_another_user(config: &Config) -> bool {
    let User { uid, gid, .. } = &config.bundle.user;
    (*uid, *gid) != (0, 0)
}

/// The caller's streams are opened again in there, by /proc/self/fd: it must be allowed to its user.
fn give(fd: i32, uid: u32) -> Result<()> {
    // SAFETY: descriptors 0 to 2 stay open for as long as this process lives, if they are.
    let stream = unsafe { BorrowedFd::borrow_raw(fd) };
    let Ok(about) = fstat(stream) else { return Ok(()) };
    let is_null =
        about.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits() && about.st_rdev == makedev(1, 3);
    if is_null || about.st_uid == uid {
        return Ok(());
    }
    match nix::unistd::fchown(stream, Some(Uid::from_raw(uid)), None) {
        // An id that is not known here, or a filesystem that is read-only.
        Err(Errno::EINVAL | Errno::EPERM | Errno::EROFS) | Ok(()) => Ok(()),
        Err(errno) => bail!("fchown({fd}, {uid}, -1): {errno}"),
    }
}

pub fn keep(config: &Config) -> Result<()> {
    let sets = &config.bundle.capabilities;
    sys::capset_each(&sets.effective, &sets.permitted, &sets.inheritable)?;
    // Only what is permitted and inheritable can be ambient (capabilities(7)), and clients ask for more.
    let can_be = |one: &&Capability| sets.permitted.contains(one) && sets.inheritable.contains(one);
    sets.ambient.iter().filter(can_be).try_for_each(|one| sys::prctl_cap_ambient_raise(*one))
}

/// Whether it can be started is told to who makes the container, and not only to who starts it.
pub fn look(config: &Config) -> Result<()> {
    sys::chdir(&config.workdir)?;
    // A link of /proc's may lead to a directory of the host's (CVE-2024-21626): no name leads there from here.
    if std::env::current_dir().is_err() {
        bail!("the working directory {:?} is outside of the container", config.workdir);
    }
    sys::umask(config.umask)?;
    let env = process::environment(config)?;
    let program = find(config, &env)?;
    let found = match program.is_dir() {
        true => Err(Errno::EACCES),
        false => eaccess(&program, AccessFlags::X_OK),
    };
    found.map_err(|errno| in_runcs_words(process::why_not(&program, Error::new(errno))))
}

pub fn execute(config: &Config) -> Result<()> {
    let env = process::environment(config)?;
    let program = find(config, &env)?;
    sys::reset_signals()?;
    sys::close_range(3 + config.bundle.preserved)?;
    let args = process::c_strings(&config.command)?;
    rlimits::set(config)?;
    // The maker and the starter are told by a descriptor that closes.
    narrate::let_go_of_listener();
    let outcome = sys::execve(&process::c_string(program.as_os_str())?, &args, &process::c_strings(&env)?);
    outcome.map_err(|error| in_runcs_words(process::why_not(&program, error)))
}

/// Without a PATH of its own it is looked for in the usual places; its environment stays as it is.
fn find(config: &Config, env: &[OsString]) -> Result<PathBuf> {
    let usual = OsString::from("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let has_path = env.iter().any(|entry| entry.as_bytes().starts_with(b"PATH="));
    let found = if has_path { process::find(config, env) } else { process::find(config, &[usual]) };
    found.map_err(in_runcs_words)
}

/// podman and others look for these very words to know 127 from 126 from all else.
fn in_runcs_words(error: Error) -> Error {
    let words = match error.downcast_ref::<Exit>() {
        Some(Exit(127, _)) => "executable file not found in $PATH",
        Some(Exit(126, _)) => "permission denied",
        _ => return error,
    };
    anyhow!("{error:#}: {words}")
}

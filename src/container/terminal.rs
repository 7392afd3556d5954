//! A terminal of the container's own (`-t`): a pty made inside, whose other end comes out to rubber.

use crate::{
    config::Config,
    layers::{Layer, user},
    narrate, sys,
};
use anyhow::{Context, Result};
use nix::{
    libc,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
};
use std::{
    fs::{File, OpenOptions},
    io::{IoSlice, IoSliceMut, IsTerminal},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
};

/// The way a terminal comes out of the container: (rubber's end, pid 1's end).
pub type Channel = (UnixStream, UnixStream);

/// Makes a pty, makes it this session's controlling terminal and standard
/// streams, and hands the other end to rubber. In a container with a /dev of
/// its own it comes from there; before that, from the host's (a relative name
/// is the host's at this point, see `run`).
pub fn take(config: &Config) -> Result<()> {
    let Some((_, ours)) = &config.streams.terminal else { return Ok(()) };
    let ptmx = match Path::new("/dev/ptmx") {
        _ if narrate::is_dry() => "/dev/null",
        of_ours if of_ours.exists() => "/dev/ptmx",
        _ => "dev/ptmx",
    };
    let master =
        OpenOptions::new().read(true).write(true).open(ptmx).with_context(|| format!("open({ptmx:?})"))?;
    let terminal = sys::ioctl_terminal(&master)?;
    // One that joins has no session of its own yet: see `join`.
    if config.target.is_none() {
        sys::ioctl_controlling_terminal(terminal.as_fd())?;
    }
    if config.layers.contains(Layer::Mount) && config.target.is_none() {
        // The first of a devpts of our own.
        let name = PathBuf::from("/dev/pts/0");
        sys::mount(Some(&name), Path::new("/dev/console"), None, nix::mount::MsFlags::MS_BIND, None)?;
    }
    if narrate::is_dry() {
        return Ok(());
    }
    // Where it is a terminal, it is raw now: what goes there goes through ours.
    if !std::io::stderr().is_terminal() {
        narrate::keep_listener();
    }
    send(ours, &master)?;
    nix::unistd::dup2_stdin(&terminal)?;
    nix::unistd::dup2_stdout(&terminal)?;
    Ok(nix::unistd::dup2_stderr(&terminal)?)
}

/// Lets the user open it again by its name. Who that is stands in a file of the image's: by now no link in there
/// leads to the host.
pub fn give(config: &Config) -> Result<()> {
    sys::fchown(std::io::stdin().as_fd(), user::account(config)?.uid)
}

pub fn any(config: &Config) -> bool {
    config.tty
}

/// Sends an open file to whoever is at the other end.
pub fn send(socket: &UnixStream, fd: &File) -> Result<()> {
    let fds = [fd.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(b"t")], &message, MsgFlags::empty(), None)?;
    Ok(())
}

/// The other end of the terminal, if there was one: not when pid 1 failed before.
pub fn receive(socket: &UnixStream) -> Result<Option<File>> {
    let mut space = nix::cmsg_space!([libc::c_int; 1]);
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let fd = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(fd.map(|fd| unsafe { File::from_raw_fd(fd) }))
}

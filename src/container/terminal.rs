//! A terminal of the container's own (`-t`): a pty made inside, whose other end comes out to rubber.

use crate::{
    config::Config,
    layers::{Layer, user},
    narrate, place,
    sys::{self, mounts::*},
};
use anyhow::{Context, Error, Result, ensure};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    libc,
    sys::{
        socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
        stat::{Mode, SFlag, fstat, makedev},
        statfs::{FsType, fstatfs},
    },
};
use std::{
    fs::File,
    io::{IoSlice, IoSliceMut, IsTerminal},
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
};

/// devpts has no name in the C library: linux/magic.h.
const DEVPTS_SUPER_MAGIC: FsType = FsType(0x1cd1);

/// The way a terminal comes out of the container: (rubber's end, pid 1's end).
pub type Channel = (UnixStream, UnixStream);

/// Makes a pty, makes it this session's controlling terminal and standard
/// streams, and hands the other end to rubber.
pub fn take(config: &Config) -> Result<()> {
    let Some((_, ours)) = &config.streams.terminal else { return Ok(()) };
    let master = if config.layers.contains(Layer::Mount) { open_ptmx()? } else { open_hosts_ptmx(config)? };
    let terminal = sys::ioctl_terminal(&master)?;
    // One that joins has no session of its own yet: see `join`.
    if config.target.is_none() {
        sys::ioctl_controlling_terminal(terminal.as_fd())?;
    }
    if config.layers.contains(Layer::Mount) && config.target.is_none() {
        cover_console(&terminal).context("\"/dev/console\"")?;
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

/// The kernel's own, right in the container's devpts, where nothing else can be made. What its /dev/ptmx is, the image
/// or a process in there may have said: a link to any other file.
fn open_ptmx() -> Result<File> {
    let root = sys::open_directory(Path::new("/"))?;
    let terminals = place::open(&root, Path::new("/dev/pts"))?;
    let is_devpts = || Ok::<_, Error>(fstatfs(&terminals)?.filesystem_type() == DEVPTS_SUPER_MAGIC);
    ensure!(narrate::is_dry() || is_devpts()?, "no terminals here: a devpts has to be mounted at /dev/pts");
    match openat2_right_in(&terminals, "ptmx") {
        // Of a devpts of the host's, shown by a volume, an ordinary user may open only the node beside it.
        Err(error) if place::is(&error, Errno::EACCES) => {
            let dev = place::open(&root, Path::new("/dev"))?;
            known_ptmx(openat2_right_in(&dev, "ptmx")?)
        }
        opened => opened.map(File::from),
    }
}

/// For a container without a /dev of its own. (A relative name is the host's until we go inside, see `run`.)
fn open_hosts_ptmx(config: &Config) -> Result<File> {
    let is_elsewhere = config.layers.contains(Layer::Chroot) || config.layers.contains(Layer::PivotRoot);
    let ptmx = match is_elsewhere && config.target.is_none() {
        _ if narrate::is_dry() => "/dev/null",
        true => "dev/ptmx",
        false => "/dev/ptmx",
    };
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let opened = nix::fcntl::open(ptmx, flags, Mode::empty()).with_context(|| format!("open({ptmx:?})"))?;
    known_ptmx(opened)
}

fn known_ptmx(file: OwnedFd) -> Result<File> {
    let about = fstat(&file)?;
    let is_character = about.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits();
    let is_it = is_character && about.st_rdev == makedev(5, 2);
    ensure!(narrate::is_dry() || is_it, "its /dev/ptmx is not the device 5:2");
    Ok(file.into())
}

/// On the node that was made for it, or a file of the image's: a link that the image has there is not followed, as it
/// may lead into /proc (CVE-2025-52565).
fn cover_console(terminal: &OwnedFd) -> Result<()> {
    let root = sys::open_directory(Path::new("/"))?;
    let dev = place::open(&root, Path::new("/dev")).and_then(place::not_proc)?;
    let console = openat_nofollow(&dev, "console".as_ref())?;
    let is_link = || Ok::<_, Error>(fstat(&console)?.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFLNK.bits());
    ensure!(narrate::is_dry() || !is_link()?, "it is a link in the root, where the terminal is mounted");
    move_mount(&open_tree_alone(terminal.as_fd())?, &console)
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

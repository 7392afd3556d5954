//! Files of the caller's as standard streams. The command gets pipes of ours instead, and rubber copies: by
//! /proc/self/fd it could open a file of the host's once more, to read what it was only to write, or to truncate it, and
//! go from a directory to all that is below.
//!
//! What cannot be opened in another way than it was lent is handed in as it is: a terminal, a socket, /dev/null, and a
//! pipe without a name, of which only the other end could be had.

use anyhow::{Result, bail};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, SpliceFFlags, fcntl, splice},
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signalfd::SignalFd,
        stat::{SFlag, fstat, makedev},
        statfs::{FsType, fstatfs},
    },
    unistd::{Whence, isatty, lseek, read, write},
};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Pipes that have no name are in a filesystem of their own: linux/magic.h.
const PIPEFS_MAGIC: FsType = FsType(0x5049_5045);

/// At most so many bytes at a time: more than a pipe holds.
const MOST: usize = 1 << 20;

/// What a pipe takes without waiting, when it has room at all (pipe(7), PIPE_BUF). A file on a disk takes more.
const ROOM: usize = 4096;
const ROOM_ON_DISK: usize = 1 << 16;

const NAMES: [&str; 3] = ["stdin", "stdout", "stderr"];

fn callers(stream: i32) -> BorrowedFd<'static> {
    // SAFETY: descriptors 0 to 2 stay open for as long as this process lives, if they are.
    unsafe { BorrowedFd::borrow_raw(stream) }
}

/// Whether the caller's stream 0, 1 or 2 has to be copied. A directory can be neither copied nor handed in.
pub fn is_file(stream: i32) -> Result<bool> {
    let Ok(about) = fstat(callers(stream)) else { return Ok(false) };
    Ok(match SFlag::from_bits_truncate(about.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFDIR => {
            let name = NAMES[stream as usize];
            bail!(
                "{name} is a directory: in the container all of the host's that is below it could be opened"
            )
        }
        SFlag::S_IFREG | SFlag::S_IFBLK => true,
        SFlag::S_IFCHR => about.st_rdev != makedev(1, 3) && !isatty(callers(stream)).unwrap_or(false),
        SFlag::S_IFIFO => fstatfs(callers(stream))?.filesystem_type() != PIPEFS_MAGIC,
        _ => false,
    })
}

/// Whether stdout and stderr are one file, opened in one way: then what is printed stays in its order.
pub fn are_one() -> bool {
    let about = |stream| {
        let about = fstat(callers(stream)).ok()?;
        Some((about.st_dev, about.st_ino, fcntl(callers(stream), FcntlArg::F_GETFL).ok()?))
    };
    about(1).is_some() && about(1) == about(2)
}

enum End {
    Callers(BorrowedFd<'static>),
    Ours(OwnedFd),
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            End::Callers(fd) => *fd,
            End::Ours(fd) => fd.as_fd(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Passed {
    Bytes(usize),
    /// There is nothing to copy, or no room.
    Nothing,
    End,
}

/// One stream that is copied. Both ends go when there is nothing more to copy.
pub struct Lent {
    name: &'static str,
    ends: Option<(End, End)>,
    /// Of stdin: what is in the pipe was not read by the command.
    unread: Option<OwnedFd>,
    waits_for_room: bool,
    /// splice(2) does not take every file, and none that is opened for appending.
    by_hand: bool,
}

impl Lent {
    /// From stdin into a pipe of ours, of which the other end is kept as well.
    pub fn stdin(pipe: OwnedFd, other: OwnedFd) -> Lent {
        let ends = Some((End::Callers(callers(0)), End::Ours(pipe)));
        Lent { name: NAMES[0], ends, unread: Some(other), waits_for_room: false, by_hand: false }
    }

    /// From a pipe of ours, which does not block, to the caller's stream 1 or 2.
    pub fn outlet(pipe: OwnedFd, stream: i32) -> Lent {
        let ends = Some((End::Ours(pipe), End::Callers(callers(stream))));
        Lent { name: NAMES[stream as usize], ends, unread: None, waits_for_room: false, by_hand: false }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What to wait for.
    pub fn event(&self) -> Option<(BorrowedFd<'_>, PollFlags)> {
        self.ends.as_ref().map(|(from, to)| match self.waits_for_room {
            true => (to.as_fd(), PollFlags::POLLOUT),
            false => (from.as_fd(), PollFlags::POLLIN),
        })
    }

    /// Copies what can be copied at once.
    pub fn pass(&mut self) -> Result<Passed, Errno> {
        let Some((from, to)) = &self.ends else { return Ok(Passed::End) };
        let passed = match self.by_hand {
            true => by_hand(from, to),
            false => match splice(from, None, to, None, MOST, SpliceFFlags::SPLICE_F_NONBLOCK) {
                Err(Errno::EINVAL) => {
                    self.by_hand = true;
                    by_hand(from, to)
                }
                passed => passed,
            },
        };
        match passed {
            Ok(0) => {
                self.ends = None;
                Ok(Passed::End)
            }
            Ok(count) => Ok(Passed::Bytes(count)),
            // It is for one of the two: the other one next time.
            Err(Errno::EAGAIN) => {
                self.waits_for_room = !self.waits_for_room;
                Ok(Passed::Nothing)
            }
            Err(Errno::EINTR) => Ok(Passed::Nothing),
            Err(errno) => {
                self.ends = None;
                Err(errno)
            }
        }
    }

    /// When the command has ended: what it has printed comes out, and what it has not read is the caller's to read. Where
    /// nobody reads on, it is given up when a signal comes, or at once where one is the reason that the command ended.
    pub fn finish(&mut self, signals: Option<&SignalFd>) -> Result<(), Errno> {
        if let Some(pipe) = self.unread.take() {
            let unread = waiting_in(&pipe)?;
            if unread > 0 && is_on_disk(callers(0))? {
                lseek(callers(0), -(unread as i64), Whence::SeekCur)?;
            }
            return Ok(());
        }
        let Some((End::Ours(pipe), _)) = &self.ends else { return Ok(()) };
        // And no more: who is still there, without a pid namespace, may print for ever.
        let mut left = waiting_in(pipe)?;
        while left > 0 {
            match self.pass()? {
                Passed::Bytes(count) => left = left.saturating_sub(count),
                Passed::End => break,
                Passed::Nothing if self.waits_for_room && !self.comes_to_room(signals)? => break,
                Passed::Nothing => {}
            }
        }
        Ok(())
    }

    fn comes_to_room(&self, signals: Option<&SignalFd>) -> nix::Result<bool> {
        let (Some((fd, flags)), Some(signals)) = (self.event(), signals) else { return Ok(false) };
        loop {
            let mut fds = [PollFd::new(fd, flags), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::NONE)?;
            let ends_it = |signal: u32| ![libc::SIGCHLD, libc::SIGWINCH].contains(&(signal as i32));
            if signals.read_signal()?.is_some_and(|about| ends_it(about.ssi_signo)) {
                return Ok(false);
            }
            if fds[0].any() == Some(true) {
                return Ok(true);
            }
        }
    }
}

/// The same with a copy in between. It is read only what there is room for, as nothing is kept here.
fn by_hand(from: &End, to: &End) -> nix::Result<usize> {
    let mut room = [PollFd::new(to.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut room, PollTimeout::ZERO)? == 0 {
        return Err(Errno::EAGAIN);
    }
    let mut bytes = [0; ROOM_ON_DISK];
    let most = if is_on_disk(to.as_fd())? { ROOM_ON_DISK } else { ROOM };
    let count = read(from, &mut bytes[..most])?;
    let mut rest = &bytes[..count];
    while !rest.is_empty() {
        rest = &rest[write(to, rest)?..];
    }
    Ok(count)
}

fn is_on_disk(file: BorrowedFd) -> nix::Result<bool> {
    let kind = SFlag::from_bits_truncate(fstat(file)?.st_mode) & SFlag::S_IFMT;
    Ok([SFlag::S_IFREG, SFlag::S_IFBLK].contains(&kind))
}

/// How many bytes.
fn waiting_in(pipe: &OwnedFd) -> nix::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, which is ours.
    Errno::result(unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &mut count) })?;
    Ok(count as usize)
}

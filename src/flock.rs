//! A file that is locked for as long as this is kept: flock(2). (nix's own panics where letting go fails, and a
//! filesystem over a network may well say so.)

use nix::{
    errno::Errno,
    fcntl::FlockArg,
    libc::{LOCK_EX, LOCK_NB, LOCK_SH, LOCK_UN, flock},
};
use std::{
    fs::File,
    ops::{Deref, DerefMut},
    os::fd::AsRawFd,
};

#[derive(Debug)]
pub struct Flock(File);

impl Flock {
    /// Gives the file back where somebody else has it locked (EWOULDBLOCK), or it cannot be.
    pub fn lock(file: File, how: FlockArg) -> Result<Flock, (File, Errno)> {
        match change(&file, how) {
            Ok(()) => Ok(Flock(file)),
            Err(errno) => Err((file, errno)),
        }
    }

    /// From one kind of lock to another, which may be nobody's for a moment.
    pub fn relock(&self, how: FlockArg) -> Result<(), Errno> {
        change(&self.0, how)
    }
}

fn change(file: &File, how: FlockArg) -> Result<(), Errno> {
    let operation = match how {
        FlockArg::LockShared => LOCK_SH,
        FlockArg::LockSharedNonblock => LOCK_SH | LOCK_NB,
        FlockArg::LockExclusiveNonblock => LOCK_EX | LOCK_NB,
        _ => LOCK_EX,
    };
    loop {
        // SAFETY: no pointers.
        match Errno::result(unsafe { flock(file.as_raw_fd(), operation) }) {
            Err(Errno::EINTR) => {}
            done => return done.map(drop),
        }
    }
}

/// Also for who has a copy of it, made by a fork.
impl Drop for Flock {
    fn drop(&mut self) {
        // SAFETY: no pointers. What fails here the kernel does when the last copy is closed.
        let _ = unsafe { flock(self.0.as_raw_fd(), LOCK_UN) };
    }
}

impl Deref for Flock {
    type Target = File;
    fn deref(&self) -> &File {
        &self.0
    }
}

impl DerefMut for Flock {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.0
    }
}

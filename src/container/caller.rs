//! The terminal or pipe that rubber was called from, lent to a container: raw while it is, and as it was after.

use anyhow::Result;
use nix::{
    libc,
    sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
};
use std::{
    io::{Write, stderr, stdin, stdout},
    os::fd::BorrowedFd,
};

use super::log::Stream;

/// Ctrl-P Ctrl-Q, as in docker.
const DETACH: [u8; 2] = [16, 17];

/// What came of reading what was typed.
#[derive(Debug, PartialEq)]
pub enum Typed {
    Bytes(Vec<u8>),
    /// The end of a pipe.
    End,
    /// The keys that leave a container running.
    Detach,
}

pub struct Caller {
    /// Whether what is typed goes in (`-i`), and there may be more.
    pub reads: bool,
    /// The terminal as it was.
    saved: Option<Termios>,
    /// The first of the two keys was typed last.
    halfway: bool,
}

impl Caller {
    pub fn new(reads: bool) -> Caller {
        Caller { reads, saved: None, halfway: false }
    }

    /// From here on each key goes inside as it is: Ctrl-C too is the command's.
    pub fn make_raw(&mut self) -> Result<()> {
        if let (true, Ok(as_it_was)) = (self.reads, tcgetattr(stdin())) {
            let mut raw = as_it_was.clone();
            cfmakeraw(&mut raw);
            self.saved = Some(as_it_was);
            tcsetattr(stdin(), SetArg::TCSANOW, &raw)?;
        }
        Ok(())
    }

    pub fn fd() -> BorrowedFd<'static> {
        // SAFETY: descriptor 0 stays open for as long as this process lives.
        unsafe { BorrowedFd::borrow_raw(0) }
    }

    /// Reads around std's buffer, which poll knows nothing of.
    pub fn read(&mut self) -> Typed {
        let mut bytes = [0; 4096];
        let count = nix::unistd::read(Caller::fd(), &mut bytes).unwrap_or(0);
        if count == 0 {
            self.reads = false;
            return Typed::End;
        }
        // Only a terminal has keys.
        if self.saved.is_none() { Typed::Bytes(bytes[..count].into()) } else { self.keys(&bytes[..count]) }
    }

    fn keys(&mut self, typed: &[u8]) -> Typed {
        let mut keys = if self.halfway { vec![DETACH[0]] } else { vec![] };
        keys.extend_from_slice(typed);
        if keys.windows(2).any(|pair| pair == DETACH) {
            return Typed::Detach;
        }
        self.halfway = keys.last() == Some(&DETACH[0]);
        if self.halfway {
            keys.pop();
        }
        Typed::Bytes(keys)
    }

    /// A caller that reads no more is no reason to stop the container.
    pub fn show(&self, stream: Stream, bytes: &[u8]) {
        let _ = match stream {
            Stream::Stdout => {
                let mut out = stdout();
                out.write_all(bytes).and_then(|()| out.flush())
            }
            Stream::Stderr => stderr().write_all(bytes),
        };
    }

    pub fn restore(&mut self) {
        if let Some(as_it_was) = self.saved.take() {
            let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &as_it_was);
        }
    }
}

/// How the terminal was before another process, which may be killed, made it raw.
pub struct Modes(Option<Termios>);

impl Modes {
    pub fn of_stdin() -> Modes {
        Modes(tcgetattr(stdin()).ok())
    }

    /// Only if they have changed: who is in the background may not, and would be stopped.
    pub fn restore(self) {
        if let (Some(as_it_was), Ok(now)) = (self.0, tcgetattr(stdin()))
            && as_it_was != now
        {
            let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &as_it_was);
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.restore();
    }
}

/// Rows and columns of the terminal we were called from.
pub fn window() -> Option<libc::winsize> {
    // SAFETY: the call fills one winsize, which is ours.
    unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        (libc::ioctl(0, libc::TIOCGWINSZ, &mut size) == 0).then_some(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_keys_detach_however_they_arrive() {
        let mut caller = Caller::new(true);
        assert_eq!(caller.keys(b"a\x10"), Typed::Bytes(b"a".into()));
        assert_eq!(caller.keys(b"b"), Typed::Bytes(b"\x10b".into()));
        assert_eq!(caller.keys(b"\x10"), Typed::Bytes(vec![]));
        assert_eq!(caller.keys(b"\x11"), Typed::Detach);
        assert_eq!(Caller::new(true).keys(b"x\x10\x11y"), Typed::Detach);
    }
}

//! The instructor's terminal: taken over for the screen, and given back however we end.

use anyhow::Result;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
    },
    unistd::getpid,
};
use std::{
    io::{IsTerminal, Write, stdin, stdout},
    os::fd::{AsFd, BorrowedFd},
    sync::OnceLock,
};

/// With fewer columns two of them side by side cannot be read.
pub const COLUMNS: usize = 80;
pub const ROWS: usize = 20;

/// The alternate screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The process that has taken the terminal, and how that was before. For the panic hook, too.
static TAKEN: OnceLock<(i32, libc::termios)> = OnceLock::new();

pub struct Terminal {
    signals: SignalFd,
    before: SigSet,
}

pub enum Event {
    Key(Key),
    Resized,
    /// Somebody wants us to end, with this signal.
    Signal(i32),
    /// What else was waited for.
    Ready,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Key {
    Next,
    Back,
    Again,
    Shell,
    Notes,
    Help,
    Quit,
    Other,
}

/// Whether the screen can be laid out here.
pub fn is_fit() -> bool {
    let (columns, rows) = size();
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb" || term.is_empty());
    stdin().is_terminal() && stdout().is_terminal() && !dumb && columns >= COLUMNS && rows >= ROWS
}

/// Columns and rows; none where there is no terminal.
pub fn size() -> (usize, usize) {
    // SAFETY: the ioctl writes one winsize, which is ours.
    let size = unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        libc::ioctl(1, libc::TIOCGWINSZ, &mut size);
        size
    };
    (size.ws_col.into(), size.ws_row.into())
}

impl Terminal {
    pub fn take() -> Result<Terminal> {
        let before = SigSet::thread_get_mask()?;
        let held = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGWINCH];
        let held: SigSet = held.into_iter().collect();
        held.thread_block()?;
        let signals = SignalFd::with_flags(&held, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let as_it_was = tcgetattr(stdin())?;
        TAKEN.get_or_init(|| (getpid().as_raw(), as_it_was.into()));
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            report(panic);
        }));
        let terminal = Terminal { signals, before };
        terminal.take_again()?;
        Ok(terminal)
    }

    /// After `give_back`.
    pub fn take_again(&self) -> Result<()> {
        let mut raw = tcgetattr(stdin())?;
        cfmakeraw(&mut raw);
        tcsetattr(stdin(), SetArg::TCSADRAIN, &raw)?;
        self.draw(ENTER)
    }

    /// In one write(2), so that nobody sees half of a screen.
    pub fn draw(&self, text: &str) -> Result<()> {
        let mut out = stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Waits for a key (if `keys`), a signal or something to read from `also`.
    pub fn wait(&self, keys: bool, also: Option<BorrowedFd>) -> Result<Event> {
        loop {
            let stdin = stdin();
            let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            fds.extend(also.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
            fds.extend(keys.then(|| PollFd::new(stdin.as_fd(), PollFlags::POLLIN)));
            poll(&mut fds, PollTimeout::NONE)?;
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any() != Some(false)).collect();
            if let Some(about) = self.signals.read_signal()? {
                return Ok(match about.ssi_signo as i32 {
                    libc::SIGWINCH => Event::Resized,
                    signal => Event::Signal(signal),
                });
            }
            if also.is_some() && ready[1] {
                return Ok(Event::Ready);
            }
            if keys && ready[ready.len() - 1] {
                return read_key();
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        give_back();
        let _ = self.before.thread_set_mask();
    }
}

/// As it was before we came. Not in a copy of this process: the terminal is not its own.
pub fn give_back() {
    let Some((owner, before)) = TAKEN.get() else { return };
    if *owner == getpid().as_raw() {
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &Termios::from(*before));
        let _ = stdout().write_all(LEAVE.as_bytes()).and_then(|()| stdout().flush());
    }
}

fn read_key() -> Result<Event> {
    let mut bytes = [0; 64];
    // SAFETY: descriptor 0 stays open; read around std's buffer, which poll knows nothing of.
    match nix::unistd::read(unsafe { BorrowedFd::borrow_raw(0) }, &mut bytes) {
        // The terminal is gone.
        Ok(0) | Err(_) => Ok(Event::Signal(libc::SIGHUP)),
        Ok(length) => Ok(Event::Key(key(&bytes[..length]))),
    }
}

/// A presenter's remote control sends PageDown and PageUp.
fn key(bytes: &[u8]) -> Key {
    match bytes {
        b"\x1b[6~" | b"\x1b[C" | b"\x1bOC" => Key::Next,
        b"\x1b[5~" | b"\x1b[D" | b"\x1bOD" => Key::Back,
        [0x1b, ..] => Key::Other,
        [b' ' | b'\r' | b'\n', ..] => Key::Next,
        [b'b' | 0x7f | 0x08, ..] => Key::Back,
        [b'r', ..] => Key::Again,
        [b't', ..] => Key::Shell,
        [b'n', ..] => Key::Notes,
        [b'?' | b'h', ..] => Key::Help,
        // Ctrl-C and Ctrl-D are only bytes here.
        [b'q' | 3 | 4, ..] => Key::Quit,
        _ => Key::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_their_escape_sequences() {
        assert_eq!([b" ".as_slice(), b"\r", b"\x1b[6~"].map(key), [Key::Next; 3]);
        assert_eq!([b"b".as_slice(), b"\x1b[D"].map(key), [Key::Back; 2]);
        assert_eq!([b"q".as_slice(), b"\x03"].map(key), [Key::Quit; 2]);
        assert_eq!([b"\x1b[A".as_slice(), b"x", b"\x1b"].map(key), [Key::Other; 3]);
    }
}

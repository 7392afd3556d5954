//! A terminal of the container's own (`-t`): a pty made inside, whose other end
//! rubber holds and copies to and from the caller's terminal.

use crate::{
    config::Config,
    layers::{Layer, user},
    narrate, sys,
};
use anyhow::{Context, Result};
use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    libc,
    sys::{
        socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg},
        termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr},
    },
};
use std::{
    fs::{File, OpenOptions},
    io::{ErrorKind, IoSlice, IoSliceMut, Read, Write, stdin, stdout},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd},
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
    let Some((_, ours)) = &config.terminal else { return Ok(()) };
    let ptmx = match Path::new("/dev/ptmx") {
        _ if narrate::is_dry() => "/dev/null",
        of_ours if of_ours.exists() => "/dev/ptmx",
        _ => "dev/ptmx",
    };
    let master =
        OpenOptions::new().read(true).write(true).open(ptmx).with_context(|| format!("open({ptmx:?})"))?;
    let terminal = sys::ioctl_terminal(&master)?;
    sys::fchown(&terminal, user::account(config)?.uid)?;
    sys::ioctl_controlling_terminal(&terminal)?;
    if config.layers.contains(Layer::Mount) {
        // The first of a devpts of our own.
        let name = PathBuf::from("/dev/pts/0");
        sys::mount(Some(&name), Path::new("/dev/console"), None, nix::mount::MsFlags::MS_BIND, None)?;
    }
    if narrate::is_dry() {
        return Ok(());
    }
    narrate::keep_listener();
    send(ours, &master)?;
    nix::unistd::dup2_stdin(&terminal)?;
    nix::unistd::dup2_stdout(&terminal)?;
    Ok(nix::unistd::dup2_stderr(&terminal)?)
}

fn send(socket: &UnixStream, fd: &File) -> Result<()> {
    let fds = [fd.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(b"t")], &message, MsgFlags::empty(), None)?;
    Ok(())
}

/// The other end of the terminal, if there was one: not when pid 1 failed before.
fn receive(socket: &UnixStream) -> Result<Option<File>> {
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

/// Copies between the caller's terminal and the container's.
#[derive(Default)]
pub struct Relay {
    /// Where the container's terminal will come from.
    channel: Option<UnixStream>,
    terminal: Option<File>,
    /// Whether what is typed goes in (`-i`), and there may be more.
    reads: bool,
    /// Typed, but not taken by the container yet.
    typed: Vec<u8>,
    /// The caller's terminal as it was.
    saved: Option<Termios>,
}

impl Relay {
    /// For who has no terminal to care for.
    pub fn none() -> Relay {
        Relay::default()
    }

    pub fn start(config: &Config) -> Result<Relay> {
        let mut relay = Relay::none();
        if let Some((ours, _)) = &config.terminal {
            relay.channel = Some(ours.try_clone()?);
            relay.reads = config.interactive;
        }
        Ok(relay)
    }

    pub fn is_on(&self) -> bool {
        self.terminal.is_some()
    }

    /// What to wait for: the container's side, then the caller's.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        let inside = self.channel.as_ref().map(AsFd::as_fd).or(self.terminal.as_ref().map(AsFd::as_fd));
        let reads = self.is_on() && self.reads && self.typed.is_empty();
        // SAFETY: descriptor 0 stays open for as long as this process lives.
        let caller = reads.then(|| unsafe { BorrowedFd::borrow_raw(0) });
        inside.into_iter().chain(caller).collect()
    }

    /// `ready` says which of `fds` have something for us.
    pub fn move_bytes(&mut self, ready: &[bool]) -> Result<()> {
        if ready.first() == Some(&true) {
            match self.channel.take() {
                Some(channel) => self.take_over(receive(&channel)?)?,
                None => self.show()?,
            }
        }
        if ready.get(1) == Some(&true) {
            self.read_typed()?;
        }
        self.hand_in()
    }

    /// From here on each key goes inside as it is: Ctrl-C too is the command's.
    fn take_over(&mut self, terminal: Option<File>) -> Result<()> {
        let Some(terminal) = terminal else { return Ok(()) };
        fcntl(&terminal, FcntlArg::F_SETFL(OFlag::O_NONBLOCK | OFlag::O_RDWR))?;
        self.terminal = Some(terminal);
        self.resize();
        if let (true, Ok(as_it_was)) = (self.reads, tcgetattr(stdin())) {
            let mut raw = as_it_was.clone();
            cfmakeraw(&mut raw);
            self.saved = Some(as_it_was);
            tcsetattr(stdin(), SetArg::TCSANOW, &raw)?;
        }
        Ok(())
    }

    /// The window has a new size.
    pub fn resize(&self) {
        let Some(terminal) = &self.terminal else { return };
        // SAFETY: both calls take one winsize, which is ours.
        unsafe {
            let mut size: libc::winsize = std::mem::zeroed();
            if libc::ioctl(0, libc::TIOCGWINSZ, &mut size) == 0 {
                libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &size);
            }
        }
    }

    /// Prints what the container printed. EIO: nobody inside has it open any more.
    fn show(&mut self) -> Result<()> {
        let Some(terminal) = &mut self.terminal else { return Ok(()) };
        let mut bytes = [0; 16384];
        match terminal.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Ok(0) | Err(_) => {
                self.restore();
                self.terminal = None;
                Ok(())
            }
            Ok(count) => {
                let mut out = stdout();
                // A caller that reads no more is no reason to stop the container.
                let _ = out.write_all(&bytes[..count]).and_then(|()| out.flush());
                Ok(())
            }
        }
    }

    fn read_typed(&mut self) -> Result<()> {
        let mut bytes = [0; 4096];
        // SAFETY: descriptor 0 is the caller's; read around std's buffer, which poll knows nothing of.
        let count = nix::unistd::read(unsafe { BorrowedFd::borrow_raw(0) }, &mut bytes).unwrap_or(0);
        if count == 0 {
            // The end of a pipe is said to a terminal with Ctrl-D.
            self.reads = false;
            bytes[0] = 4;
        }
        self.typed.extend_from_slice(&bytes[..count.max(1)]);
        Ok(())
    }

    fn hand_in(&mut self) -> Result<()> {
        let Some(terminal) = &mut self.terminal else { return Ok(()) };
        if !self.typed.is_empty() {
            match terminal.write(&self.typed) {
                Ok(count) => drop(self.typed.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.typed.clear(),
            }
        }
        Ok(())
    }

    /// What is still on its way out when the command has ended.
    pub fn drain(&mut self) {
        if let Some(channel) = self.channel.take() {
            let _ = channel.set_nonblocking(true);
            let _ = receive(&channel).and_then(|terminal| self.take_over(terminal));
        }
        for _ in 0..64 {
            let _ = self.show();
        }
        self.restore();
    }

    fn restore(&mut self) {
        if let Some(as_it_was) = self.saved.take() {
            let _ = tcsetattr(stdin(), SetArg::TCSADRAIN, &as_it_was);
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.restore();
    }
}

//! `rubber attach`: back to a container in the background.

use crate::{
    container::{
        attach::{LONGEST, knock},
        caller::{self, Caller, Typed},
        find::{self, State},
        log::Stream,
    },
    image::Store,
};
use anyhow::{Context, Result, bail};
use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, SigmaskHow, Signal, sigprocmask},
        signalfd::{SfdFlags, SignalFd},
        socket::{MsgFlags, recv, send},
    },
};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// Go back to a container in the background; Ctrl-P Ctrl-Q leaves it running
#[derive(clap::Args)]
pub struct Attach {
    container: String,
}

impl Attach {
    /// Returns the container's exit code.
    pub fn main(self, store: &Store) -> Result<u8> {
        let container = find::find(store, &self.container)?;
        if let State::Ended(ended) = &container.state {
            bail!(
                "container {} has ended (exit code {}): rubber logs has what it printed",
                container.name,
                ended.code
            );
        }
        let door = knock(&container.file("attach")).with_context(|| {
            format!("container {} has no door: it runs where it was typed, in the foreground", container.name)
        })?;
        let mut caller = Caller::new(container.record.config.interactive);
        if container.record.config.tty {
            caller.make_raw()?;
        }
        converse(&door, caller)
    }
}

fn converse(door: &OwnedFd, mut caller: Caller) -> Result<u8> {
    let mut resized = SigSet::empty();
    resized.add(Signal::SIGWINCH);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&resized), None)?;
    let signals = SignalFd::with_flags(&resized, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    tell_window(door);
    loop {
        let mut fds = vec![
            PollFd::new(door.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        if caller.reads {
            fds.push(PollFd::new(Caller::fd(), PollFlags::POLLIN));
        }
        poll(&mut fds, PollTimeout::NONE)?;
        let ready: Vec<_> = fds.iter().map(|fd| fd.any() != Some(false)).collect();
        drop(fds);
        if ready[0]
            && let Some(code) = hear(door, &caller)?
        {
            return Ok(code);
        }
        while signals.read_signal()?.is_some() {
            tell_window(door);
        }
        if ready.get(2) == Some(&true) {
            match caller.read() {
                Typed::Bytes(bytes) => say(door, b'i', &bytes),
                Typed::End => {}
                Typed::Detach => return Ok(0),
            }
        }
    }
}

/// The container's exit code, when it has ended.
fn hear(door: &OwnedFd, caller: &Caller) -> Result<Option<u8>> {
    let mut bytes = vec![0; LONGEST];
    let length = recv(door.as_raw_fd(), &mut bytes, MsgFlags::empty())?;
    match bytes[..length] {
        [b'1', ref printed @ ..] => caller.show(Stream::Stdout, printed),
        [b'2', ref printed @ ..] => caller.show(Stream::Stderr, printed),
        [b'e', code] => return Ok(Some(code)),
        [] => bail!("the container's rubber was killed, and the container with it"),
        _ => {}
    }
    Ok(None)
}

fn tell_window(door: &OwnedFd) {
    if let Some(libc::winsize { ws_row, ws_col, .. }) = caller::window() {
        say(door, b'w', &[ws_row.to_le_bytes(), ws_col.to_le_bytes()].concat());
    }
}

/// It may have ended meanwhile, which is heard next.
fn say(door: &OwnedFd, letter: u8, bytes: &[u8]) {
    let _ = send(door.as_raw_fd(), &[&[letter], bytes].concat(), MsgFlags::MSG_NOSIGNAL);
}

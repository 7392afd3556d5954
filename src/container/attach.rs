//! The door to a container in the background: a socket in the store, at which `rubber attach` knocks.
//!
//! Each message begins with a letter. In: `i` typed bytes, `w` rows and columns of the window. Out: `1` and
//! `2` what was printed, `e` the exit code.

use super::log::Stream;
use anyhow::{Context, Result};
use nix::{
    libc,
    sys::{
        socket::{
            AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind, connect, listen,
            recv, send, setsockopt, socket, sockopt::SendTimeout,
        },
        time::TimeVal,
    },
};
use std::{
    fs::{self, File},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    path::{Path, PathBuf},
};

/// More than a pipe or a terminal gives at once.
pub const LONGEST: usize = 1 << 15;

/// Seconds that whoever attached may read nothing while more is printed; then they are dropped.
const PATIENCE: i64 = 5;

pub struct Door {
    path: PathBuf,
    listener: OwnedFd,
    clients: Vec<OwnedFd>,
}

pub enum Said {
    Nothing,
    Typed(Vec<u8>),
    Window(libc::winsize),
}

impl Door {
    pub fn open(path: &Path) -> Result<Door> {
        let listener = socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            None,
        )?;
        let (_dir, address) = address(path)?;
        bind(listener.as_raw_fd(), &address).with_context(|| path.display().to_string())?;
        listen(&listener, Backlog::new(16)?)?;
        Ok(Door { path: path.into(), listener, clients: vec![] })
    }

    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    pub fn clients(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.clients.iter().map(AsFd::as_fd)
    }

    pub fn answer(&mut self) -> Result<()> {
        if let Ok(fd) = accept4(self.listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            // SAFETY: the kernel has just made this descriptor for us.
            let client = unsafe { OwnedFd::from_raw_fd(fd) };
            setsockopt(&client, SendTimeout, &TimeVal::new(PATIENCE, 0))?;
            self.clients.push(client);
        }
        Ok(())
    }

    pub fn tell(&mut self, stream: Stream, bytes: &[u8]) {
        let letter = if stream == Stream::Stdout { b'1' } else { b'2' };
        let message = [&[letter], bytes].concat();
        let takes = |client: &OwnedFd| send(client.as_raw_fd(), &message, MsgFlags::MSG_NOSIGNAL).is_ok();
        self.clients.retain(takes);
    }

    pub fn hear(&mut self, n: usize) -> Said {
        let Some(client) = self.clients.get(n) else { return Said::Nothing };
        let mut bytes = vec![0; LONGEST];
        let length = recv(client.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT).unwrap_or(0);
        match bytes[..length] {
            [b'i', ref typed @ ..] => Said::Typed(typed.to_vec()),
            [b'w', a, b, c, d] => {
                let (ws_row, ws_col) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
                Said::Window(libc::winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 })
            }
            [] => {
                self.clients.remove(n);
                Said::Nothing
            }
            _ => Said::Nothing,
        }
    }

    pub fn close(self, code: u8) {
        for client in &self.clients {
            let _ = send(client.as_raw_fd(), &[b'e', code], MsgFlags::MSG_NOSIGNAL);
        }
        let _ = fs::remove_file(&self.path);
    }
}

/// Knocks at the door of a container.
pub fn knock(path: &Path) -> Result<OwnedFd> {
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    let (_dir, address) = address(path)?;
    connect(socket.as_raw_fd(), &address).with_context(|| path.display().to_string())?;
    Ok(socket)
}

/// An address has room for 107 bytes, and a store may lie deeper: so its directory goes by a short name.
fn address(path: &Path) -> Result<(File, UnixAddr)> {
    let dir = File::open(path.parent().context("it lies in a directory")?)?;
    let name = path.file_name().context("it has a name")?;
    let short = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    let address = UnixAddr::new(&short)?;
    Ok((dir, address))
}

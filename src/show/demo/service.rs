//! A process of the stand-in host's, for demos to reach and to kill: it answers on the loopback and holds an
//! abstract socket.

use anyhow::Result;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, UnixAddr, bind, listen, setsockopt, socket,
    sockopt,
};
use std::{
    io::{Read, Write},
    net::TcpListener,
    os::fd::AsRawFd,
};

pub const NAME: &str = "database";
const PORT: u16 = 5432;
const ANSWER: &[u8] = b"HTTP/1.0 200 OK\r\n\r\nthe host's customers: 4,112\n";

pub fn main() -> Result<u8> {
    nix::sys::prctl::set_name(&std::ffi::CString::new(NAME)?)?;
    let bus = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(bus.as_raw_fd(), &UnixAddr::new_abstract(NAME.as_bytes())?)?;
    listen(&bus, Backlog::new(1)?)?;
    let door = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&door, sockopt::ReuseAddr, &true)?;
    bind(door.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, PORT))?;
    listen(&door, Backlog::new(8)?)?;
    // Whoever started us waits for this line.
    println!("ready");
    for guest in TcpListener::from(door).incoming() {
        let Ok(mut guest) = guest else { continue };
        let _ = guest.read(&mut [0; 4096]).and_then(|_| guest.write_all(ANSWER));
    }
    Ok(0)
}

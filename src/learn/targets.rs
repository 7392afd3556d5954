//! Targets: things of the host's that attacks are aimed at, and how they look afterwards.

use super::{
    attack::{self, Orders},
    ground,
};
use crate::{facts, sys};
use anyhow::Result;
use nix::{
    libc,
    sys::{
        socket::{MsgFlags, recv},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        linux::net::SocketAddrExt,
        unix::{
            fs::MetadataExt,
            net::{SocketAddr, UnixListener},
        },
    },
    path::Path,
};

/// A process and two services, for as long as the arena stands.
pub struct Targets {
    bystander: Pid,
    loopback: TcpListener,
    socket: UnixListener,
    pub orders: Orders,
}

impl Targets {
    pub fn new(attacks: &[String], nonce: &str, secret: &str) -> Result<Targets> {
        // Any number that is not taken; and who is not in this namespace cannot even guess it.
        let key = i32::from_str_radix(&nonce[..7], 16)?;
        sys::msgsnd(sys::msgget(key, libc::IPC_CREAT | 0o666)?, secret.as_bytes())?;
        let bystander = sys::fork("bystander", || {
            loop {
                nix::unistd::pause();
            }
        })?;
        let loopback = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        loopback.set_nonblocking(true)?;
        let name = format!("rubber-{nonce}");
        let socket = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
        socket.set_nonblocking(true)?;
        let orders = Orders {
            attacks: attacks.to_vec(),
            nonce: nonce.into(),
            canary: ground::CANARY.into(),
            bystander: bystander.as_raw(),
            port: loopback.local_addr()?.port(),
            queue: key,
            socket: name,
        };
        Ok(Targets { bystander, loopback, socket, orders })
    }

    /// After all attacks, while the attacker `pid` still stands there.
    pub fn look(&self, pid: i32) -> Value {
        let alive = matches!(waitpid(self.bystander, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive));
        let process = Path::new("/proc").join(pid.to_string());
        let about = |file: &str| process.join("root").join(&file[1..]).symlink_metadata().ok();
        json!({
            "bystander": if alive { "alive" } else { "dead" },
            "loopback": self.loopback.accept().ok().map(|(caller, _)| heard(caller.as_fd())),
            "abstract": self.socket.accept().ok().map(|(caller, _)| heard(caller.as_fd())),
            "bytes": bytes_below(&Path::new(ground::STORE).join("containers")),
            "owner": about(attack::MINE).map(|about| about.uid()),
            "node": about(attack::NODE).map(|about| about.rdev()),
            "given": about(attack::GIVEN).map(|about| about.uid()),
            // Behind a line of titles.
            "raw": fs::read_to_string(process.join("net/packet")).ok().map(|table| table.lines().count() - 1),
            // Where there is no such number (the root of version 2) nobody was.
            "throttled": facts::cpu_stat(pid, "nr_throttled").unwrap_or(0),
        })
    }
}

/// It was sent before we ask; for more nobody waits.
fn heard(caller: BorrowedFd) -> String {
    let mut said = [0; 64];
    let length = recv(caller.as_raw_fd(), &mut said, MsgFlags::MSG_DONTWAIT).unwrap_or(0);
    String::from_utf8_lossy(&said[..length]).into_owned()
}

/// As du(1) counts.
fn bytes_below(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => bytes_below(&entry.path()),
            Ok(about) => about.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

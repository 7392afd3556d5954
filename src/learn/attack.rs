//! Attacks: what a container tries against its host, as the probe does it inside.
//!
//! Each works at the stage before its chapter, and fails from there on. Whether it worked is not for
//! the probe to say: `targets` are looked at from outside, and a secret read is a secret told.

use crate::sys;
use anyhow::{Context, Result, bail};
use nix::{
    errno::Errno,
    mount::MsFlags,
    sys::{
        resource::{UsageWho, getrusage},
        signal::Signal,
        socket::{AddressFamily, SockFlag, SockType, socket},
        stat::{Mode, SFlag, makedev, mknod},
        time::TimeVal,
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    fs::{self, OpenOptions},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::{
        fd::IntoRawFd,
        linux::net::SocketAddrExt,
        unix::fs::chown,
        unix::net::{SocketAddr as UnixAddress, UnixStream},
    },
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

/// What is to be tried, in this order, and against what.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Orders {
    pub attacks: Vec<String>,
    /// A word to leave where the witness looks.
    pub nonce: String,
    /// A file of the host's.
    pub canary: String,
    /// A process of the host's.
    pub bystander: i32,
    /// A service on the host's 127.0.0.1.
    pub port: u16,
    /// A message queue of the host's.
    pub queue: i32,
    /// Another, on an abstract socket (unix(7)).
    pub socket: String,
}

/// How one ended: what it got, or the call that was refused.
#[derive(Serialize, Deserialize)]
pub struct Told {
    pub attack: String,
    pub got: Option<Value>,
    pub refused: Option<String>,
}

/// A variable of the host's environment.
pub const VARIABLE: &str = "RUBBER_HOSTS_SECRET";
/// What `owner` writes.
pub const MINE: &str = "/tmp/mine";
/// What `disk` makes, with a number that no device has: "for local and experimental use" (block 240).
pub const NODE: &str = "/dev/disk";
/// What `give` gives away, and whose it is then.
pub const GIVEN: &str = "/tmp/given";
const SOMEBODY: u32 = 4242;
/// Bounds that do no harm where nothing else bounds them.
const BYTES: usize = 128 << 20;
const PROCESSES: usize = 100;
const SPINNERS: usize = 12;
const SPIN: Duration = Duration::from_millis(300);

type Attack = fn(&Orders) -> Result<Value>;

const ALL: &[(&str, Attack)] = &[
    ("environment", environment),
    ("descriptor", descriptor),
    ("canary", canary),
    ("mount", mount),
    ("null", null),
    ("breakout", breakout),
    ("copy", copy),
    ("rename", rename),
    ("kill", kill),
    ("loopback", loopback),
    ("abstract", abstract_socket),
    ("spin", spin),
    ("hog", hog),
    ("forks", forks),
    ("owner", owner),
    ("disk", disk),
    ("raw", raw),
    ("clock", clock),
    ("give", give),
    ("roots", owner),
    ("queue", queue),
];

pub fn attempt(name: &str, orders: &Orders) -> Told {
    let found = ALL.iter().find(|(known, _)| *known == name);
    let outcome = found.context("there is no such attack").and_then(|(_, attack)| attack(orders));
    let (got, refused) = match outcome {
        Ok(got) => (Some(got), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    Told { attack: name.into(), got, refused }
}

// ---- 00 process ----------------------------------------------------------------

fn environment(_: &Orders) -> Result<Value> {
    Ok(std::env::var(VARIABLE).context(VARIABLE)?.into())
}

/// Reads whatever was left open, without knowing its name.
fn descriptor(_: &Orders) -> Result<Value> {
    let mut buffer = [0_u8; 64];
    for fd in 3..256 {
        // SAFETY: the buffer is ours; of a descriptor that is not open, or no file, it says EBADF or ESPIPE.
        let length = unsafe { libc::pread(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        if length > 0 {
            return Ok(String::from_utf8_lossy(&buffer[..length as usize]).into());
        }
    }
    bail!("read(3): EBADF")
}

// ---- 01 chroot, 03 pivot_root ----------------------------------------------------

fn canary(orders: &Orders) -> Result<Value> {
    Ok(fs::read_to_string(&orders.canary).with_context(|| format!("open({:?})", orders.canary))?.into())
}

/// chroot(2) moves the root but not the working directory: from outside of the new root, `..` leads on
/// up to where the mount table itself begins.
fn breakout(orders: &Orders) -> Result<Value> {
    let read = in_child("breakout", || {
        let hole = Path::new("/tmp/hole");
        sys::mkdir(hole, 0o755)?;
        sys::chroot(hole)?;
        for _ in 0..64 {
            sys::chdir(Path::new(".."))?;
        }
        sys::chroot(Path::new("."))?;
        fs::read_to_string(&orders.canary).with_context(|| format!("open({:?})", orders.canary))
    });
    Ok(read?.into())
}

// ---- 02 mount --------------------------------------------------------------------

fn mount(_: &Orders) -> Result<Value> {
    let tmpfs = Some(Path::new("tmpfs"));
    sys::mount(tmpfs, Path::new("/mnt"), Some("tmpfs"), MsFlags::empty(), None)?;
    Ok("/mnt".into())
}

/// How large /dev/null becomes when it is written to.
fn null(_: &Orders) -> Result<Value> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open("/dev/null")?;
    file.write_all(&[0; 1 << 16])?;
    Ok(file.metadata()?.len().into())
}

// ---- 04 overlay ------------------------------------------------------------------

/// There is nothing more to it than to be started.
fn copy(_: &Orders) -> Result<Value> {
    Ok("started".into())
}

// ---- 05 uts, 06 pid, 07 net --------------------------------------------------------

fn rename(_: &Orders) -> Result<Value> {
    sys::sethostname("renamed".as_ref())?;
    Ok("renamed".into())
}

/// Until it is gone: a signal takes a moment.
fn kill(orders: &Orders) -> Result<Value> {
    let bystander = Pid::from_raw(orders.bystander);
    sys::kill(bystander, Signal::SIGKILL as i32)?;
    let begin = Instant::now();
    while nix::sys::signal::kill(bystander, None).is_ok() && begin.elapsed().as_secs() < 1 {
        sleep(Duration::from_millis(2));
    }
    Ok(orders.bystander.into())
}

fn loopback(orders: &Orders) -> Result<Value> {
    let address = SocketAddr::from(([127, 0, 0, 1], orders.port));
    let mut service = TcpStream::connect(address).with_context(|| format!("connect({address})"))?;
    service.write_all(orders.nonce.as_bytes())?;
    Ok(address.to_string().into())
}

fn abstract_socket(orders: &Orders) -> Result<Value> {
    let address = UnixAddress::from_abstract_name(&orders.socket)?;
    let mut service =
        UnixStream::connect_addr(&address).with_context(|| format!("connect(@{})", orders.socket))?;
    service.write_all(orders.nonce.as_bytes())?;
    Ok(format!("@{}", orders.socket).into())
}

// ---- 08 cpu, 09 memory, 10 user ----------------------------------------------------

/// Many processes, because each gets its turn. Tells the microseconds they took of each 100,000.
fn spin(_: &Orders) -> Result<Value> {
    let (begin, before) = (Instant::now(), time_of_children()?);
    let end = begin + SPIN;
    let spinner = || {
        sys::fork("spin", || {
            while Instant::now() < end {}
            Ok(0)
        })
    };
    let spinners = (0..SPINNERS).map(|_| spinner()).collect::<Result<Vec<_>>>()?;
    for spinner in spinners {
        waitpid(spinner, None)?;
    }
    let took = (time_of_children()? - before).as_micros() * 100_000 / begin.elapsed().as_micros();
    Ok(u64::try_from(took)?.into())
}

/// Of those that have ended.
fn time_of_children() -> Result<Duration> {
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = |time: TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    Ok(Duration::from_micros(u64::try_from(micros(used.user_time()) + micros(used.system_time()))?))
}

fn hog(_: &Orders) -> Result<Value> {
    let took = in_child("hog", || {
        // Zeroes need no memory until they are written.
        let much = vec![1_u8; BYTES];
        Ok(std::hint::black_box(much).len().to_string())
    });
    Ok(json!(took?.parse::<u64>()?))
}

/// All of them at once, and then none.
fn forks(_: &Orders) -> Result<Value> {
    let mut children = Vec::new();
    let refused = loop {
        if children.len() == PROCESSES {
            break None;
        }
        match sys::fork("forks", || {
            loop {
                nix::unistd::pause();
            }
        }) {
            Ok(child) => children.push(child),
            Err(error) => break Some(error),
        }
    };
    for child in &children {
        sys::kill(*child, Signal::SIGKILL as i32)?;
        waitpid(*child, None)?;
    }
    match refused {
        Some(error) => Err(error.context(format!("after {} processes", children.len()))),
        None => Ok(children.len().into()),
    }
}

fn owner(orders: &Orders) -> Result<Value> {
    fs::write(MINE, &orders.nonce).with_context(|| format!("open({MINE:?})"))?;
    Ok(MINE.into())
}

// ---- 11 capabilities -----------------------------------------------------------------

/// Nobody opens it: to have made it is enough, for a node with the number of a disk is the disk.
fn disk(_: &Orders) -> Result<Value> {
    let device = makedev(240, 7);
    mknod(NODE, SFlag::S_IFBLK, Mode::S_IRUSR, device)
        .with_context(|| format!("mknod({NODE:?}, S_IFBLK|0400, makedev(240, 7))"))?;
    Ok(device.into())
}

/// It sees every packet, and stays open until we end.
fn raw(_: &Orders) -> Result<Value> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None);
    let socket = socket.context("socket(AF_PACKET, SOCK_RAW)")?;
    Ok(socket.into_raw_fd().into())
}

/// The kernel keeps an estimate of how wrong its clock is. Who may write it may set the clock; it is
/// written as it was.
fn clock(_: &Orders) -> Result<Value> {
    // SAFETY: adjtimex(2) reads and writes one timex, which is ours; all zeroes only asks.
    unsafe {
        let mut time: libc::timex = std::mem::zeroed();
        Errno::result(libc::adjtimex(&mut time))?;
        time.modes = libc::ADJ_ESTERROR;
        Errno::result(libc::adjtimex(&mut time)).context("adjtimex(ADJ_ESTERROR)")?;
    }
    Ok("set".into())
}

fn give(orders: &Orders) -> Result<Value> {
    fs::write(GIVEN, &orders.nonce).with_context(|| format!("open({GIVEN:?})"))?;
    chown(GIVEN, Some(SOMEBODY), None).with_context(|| format!("chown({GIVEN:?}, {SOMEBODY}, -1)"))?;
    Ok(SOMEBODY.into())
}

// ---- how ---------------------------------------------------------------------------

/// What must not happen to the probe itself happens to a child of it.
fn in_child(name: &'static str, work: impl FnOnce() -> Result<String>) -> Result<String> {
    let (mut reader, mut writer) = std::io::pipe()?;
    let child = sys::fork(name, move || {
        let (code, text) = work().map_or_else(|error| (1, format!("{error:#}")), |text| (0, text));
        writer.write_all(text.as_bytes())?;
        Ok(code)
    })?;
    let mut text = String::new();
    reader.read_to_string(&mut text)?;
    match waitpid(child, None)? {
        WaitStatus::Exited(_, 0) => Ok(text),
        WaitStatus::Signaled(_, signal, _) => bail!("killed by {signal}"),
        _ => bail!(text),
    }
}

// ---- 14 ipc --------------------------------------------------------------------------

/// Takes a message that is not for us. A queue has no file: only its key, and that is for all of its namespace.
fn queue(orders: &Orders) -> Result<Value> {
    let queue = sys::msgget(orders.queue, 0)?;
    let message = sys::msgrcv(queue)?;
    Ok(String::from_utf8_lossy(&message).into_owned().into())
}

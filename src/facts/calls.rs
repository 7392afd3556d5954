//! The system calls that only ask. They change nothing, so nobody narrates them.

use super::{Interface, proc::because, proc::text};
use caps::CapSet;
use nix::{
    ifaddrs::getifaddrs,
    net::if_::InterfaceFlags,
    sched::{CloneFlags, setns},
    sys::wait::waitpid,
    unistd::{ForkResult, fork, pipe},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs::File,
    io,
    io::{Read, Write},
    os::unix::ffi::OsStrExt,
    sync::atomic::{AtomicBool, Ordering},
};

/// The hostname and the domain name of our uts namespace.
pub fn uname() -> io::Result<(String, String)> {
    let names = nix::sys::utsname::uname()?;
    Ok((text(names.nodename().as_bytes()), text(names.domainname().as_bytes())))
}

pub fn release() -> io::Result<String> {
    Ok(text(nix::sys::utsname::uname()?.release().as_bytes()))
}

/// The interfaces of our network namespace, in the kernel's order.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    let mut found: Vec<Interface> = Vec::new();
    for address in getifaddrs()? {
        let at = found.iter().position(|known| known.name == address.interface_name);
        let at = at.unwrap_or_else(|| {
            let up = Some(address.flags.contains(InterfaceFlags::IFF_UP));
            found.push(Interface { name: address.interface_name, up, addresses: vec![] });
            found.len() - 1
        });
        let Some(number) = address.address else { continue };
        let text = number.as_sockaddr_in().map(|v4| v4.ip().to_string());
        let text = text.or_else(|| number.as_sockaddr_in6().map(|v6| v6.ip().to_string()));
        found[at].addresses.extend(text);
    }
    Ok(found)
}

/// What `look` sees inside other namespaces: a child enters each of `doors`, so we stay where we are.
///
/// The first door may stay shut (we are inside already, or need not be); the last must open.
pub fn after_entering<T>(doors: &[File], look: fn() -> io::Result<T>) -> io::Result<T>
where
    T: Serialize + DeserializeOwned,
{
    let (from_child, to_parent) = pipe()?;
    // SAFETY: rubber has no threads, so none can hold a lock the child would wait for.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let mut entered = Ok(());
            for door in doors {
                entered = setns(door, CloneFlags::empty());
            }
            let seen = entered.map_err(io::Error::from).and_then(|()| look());
            let told = seen.map_err(|error| super::proc::reason(&error));
            let _ = File::from(to_parent).write_all(&serde_json::to_vec(&told).unwrap_or_default());
            // SAFETY: ends the child here, without running what the parent means to run at its end.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop(to_parent);
            let mut told = Vec::new();
            File::from(from_child).read_to_end(&mut told)?;
            let _ = waitpid(child, None);
            serde_json::from_slice::<Result<T, String>>(&told)?.map_err(because)
        }
    }
}

/// The signals that are ignored from our start on: by Rust's runtime, and by `surroundings`.
pub const OUR_OWN: [(i32, &str); 2] = [(libc::SIGPIPE, "SIGPIPE"), (libc::SIGXFSZ, "SIGXFSZ")];

static WERE_IGNORED: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];

/// Which of them were not ignored by whoever started us.
pub fn ignored_by_us() -> impl Iterator<Item = &'static str> {
    let all = OUR_OWN.iter().zip(&WERE_IGNORED);
    all.filter(|(_, were)| !were.load(Ordering::Relaxed)).map(|((_, name), _)| *name)
}

/// The C library calls what stands in this section before anything of Rust, which ignores
/// one for itself and so forgets whether we were started that way.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK_AT_SIGNALS: extern "C" fn() = {
    extern "C" fn look() {
        for ((signal, _), were) in OUR_OWN.iter().zip(&WERE_IGNORED) {
            were.store(disposition(*signal) == libc::SIG_IGN, Ordering::Relaxed);
        }
    }
    look
};

/// What happens to us on `signal`: SIG_DFL, SIG_IGN or the address of a function.
///
/// Asked of the kernel itself, because the C library hides signals 32 and 33, and leaves
/// them ignored in what it spawns.
pub fn disposition(signal: i32) -> libc::sighandler_t {
    // The kernel's struct: handler, flags, on some machines restorer, mask.
    let mut action = [0usize; 4];
    // SAFETY: without a new action rt_sigaction(2) only fills in the old one, which is ours.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, 0, action.as_mut_ptr(), size_of::<u64>()) };
    action[0]
}

/// The signals ignored and those caught, as masks in which bit 0 is signal 1.
pub fn signal_dispositions() -> (u64, u64) {
    let mask = |wanted: fn(libc::sighandler_t) -> bool| {
        (1..=64)
            .filter(|signal| wanted(disposition(*signal)))
            .fold(0, |mask, signal| mask | 1 << (signal - 1))
    };
    (
        mask(|action| action == libc::SIG_IGN),
        mask(|action| action != libc::SIG_IGN && action != libc::SIG_DFL),
    )
}

/// Bit 0 is signal 1.
pub fn blocked_signals() -> io::Result<u64> {
    let mut mask = 0u64;
    // SAFETY: without a new mask rt_sigprocmask(2) only fills in the old one, which is ours.
    let answer =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, 0, &mut mask, size_of::<u64>()) };
    if answer == 0 { Ok(mask) } else { Err(io::Error::last_os_error()) }
}

/// The ids used for files. setfsuid(2) answers with the old one, and -1 is refused as a new one.
pub fn fs_ids() -> (u32, u32) {
    // SAFETY: plain numbers in and out.
    unsafe { (libc::setfsuid(u32::MAX) as u32, libc::setfsgid(u32::MAX) as u32) }
}

/// One of our capability sets, by the name `CAPABILITY_SETS` gives it.
pub fn capabilities(set: &str) -> io::Result<u64> {
    let set = match set {
        "effective" => CapSet::Effective,
        "permitted" => CapSet::Permitted,
        "inheritable" => CapSet::Inheritable,
        "bounding" => CapSet::Bounding,
        _ => CapSet::Ambient,
    };
    let found = caps::read(None, set).map_err(|error| because(error.to_string()))?;
    Ok(found.iter().fold(0, |bits, cap| bits | cap.bitmask()))
}

/// 0 or 2: in mode 1, strict, this call would be our last, but so would have been all before it.
pub fn seccomp() -> io::Result<u32> {
    // SAFETY: this prctl(2) takes no pointer.
    let mode = unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) };
    u32::try_from(mode).map_err(|_| io::Error::last_os_error())
}

/// Soft and hard; none is unlimited.
pub fn rlimit(number: u32) -> (Option<u64>, Option<u64>) {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: fills in the struct, which is ours.
    unsafe { libc::getrlimit(number as _, &mut limit) };
    let finite = |value: u64| Some(value).filter(|value| *value != libc::RLIM_INFINITY);
    (finite(limit.rlim_cur), finite(limit.rlim_max))
}

/// Our open files. Their names stand in /proc alone, so here is only what kind each is.
pub fn open_fds() -> BTreeMap<u32, String> {
    // Who has more than this many open does not have them by accident.
    const SEARCHED: i32 = 1024;
    let kind = |fd: i32| {
        // SAFETY: fstat(2) fills in a struct that is ours; a number without a file is EBADF.
        let mode = unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            (libc::fstat(fd, &mut stat) == 0).then_some(stat.st_mode & libc::S_IFMT)
        }?;
        let word = match mode {
            libc::S_IFREG => "file",
            libc::S_IFDIR => "directory",
            libc::S_IFCHR => "character device",
            libc::S_IFBLK => "block device",
            libc::S_IFIFO => "pipe",
            libc::S_IFSOCK => "socket",
            _ => "other",
        };
        Some((fd as u32, word.to_owned()))
    };
    (0..SEARCHED).filter_map(kind).collect()
}

/// The CPUs we may run on, as a list such as `0-3,8`.
pub fn cpus_allowed() -> io::Result<String> {
    // SAFETY: fills in a set that is ours.
    let allowed: Vec<usize> = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of_val(&set), &mut set) != 0 {
            return Err(io::Error::last_os_error());
        }
        (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect()
    };
    let runs = allowed.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => one.to_string(),
        run => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    Ok(runs.collect::<Vec<_>>().join(","))
}

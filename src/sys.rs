//! System calls: the only file that asks the kernel to isolate anything.
//!
//! Every function here is named after the call it makes, makes exactly one,
//! reports it to the narrator, and puts the call with its arguments and errno
//! on the error when it fails. What a call is *for* is its caller's business.

mod cradle;
pub mod mounts;
mod privileges;
mod process;
pub mod schedule;

pub use cradle::Cradle;
pub use privileges::*;
pub use process::*;

use crate::narrate;
use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    libc,
    mount::{MntFlags, MsFlags},
    sched::CloneFlags,
    sys::stat::{Mode, SFlag},
    unistd::{Gid, Uid},
};
use std::{
    ffi::{CString, OsStr},
    fmt::Arguments,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    path::Path,
};

/// What a call gives back: the number strace(1) prints for it, and what to go
/// on with in a dry run, where nothing is called.
trait Answer: Sized {
    fn number(&self) -> i64;
    fn pretended() -> Result<Self>;
}

impl Answer for () {
    fn number(&self) -> i64 {
        0
    }
    fn pretended() -> Result<Self> {
        Ok(())
    }
}

impl Answer for i32 {
    fn number(&self) -> i64 {
        (*self).into()
    }
    fn pretended() -> Result<Self> {
        Ok(0)
    }
}

impl Answer for usize {
    fn number(&self) -> i64 {
        *self as i64
    }
    fn pretended() -> Result<Self> {
        Ok(0)
    }
}

impl Answer for OwnedFd {
    fn number(&self) -> i64 {
        self.as_raw_fd().into()
    }
    fn pretended() -> Result<Self> {
        Ok(std::fs::File::open("/dev/null")?.into())
    }
}

/// Makes the call, tells the narrator, and names the call on the error.
fn call<T: Answer>(text: Arguments, make: impl FnOnce() -> nix::Result<T>) -> Result<T> {
    if narrate::is_dry() {
        narrate::intent(text);
        return T::pretended();
    }
    let result = make();
    narrate::call(text, result.as_ref().map(Answer::number).map_err(|errno| *errno));
    result.with_context(|| text.to_string())
}

// ---- namespaces ------------------------------------------------------------

/// nix has no name for it.
pub const CLONE_NEWTIME: CloneFlags = CloneFlags::from_bits_retain(libc::CLONE_NEWTIME);

pub fn unshare(flags: CloneFlags) -> Result<()> {
    call(format_args!("unshare({})", kinds(flags)), || nix::sched::unshare(flags))
}

/// Joins the namespaces of the process behind `pidfd` that `flags` name (since Linux 5.8).
pub fn setns(pidfd: &OwnedFd, flags: CloneFlags) -> Result<()> {
    let text = kinds(flags);
    call(format_args!("setns({}, {text})", pidfd.as_raw_fd()), || nix::sched::setns(pidfd, flags))
}

fn kinds(flags: CloneFlags) -> String {
    let time = flags.contains(CLONE_NEWTIME).then_some(("CLONE_NEWTIME", CLONE_NEWTIME));
    let mut all: Vec<_> = time.into_iter().chain(flags.iter_names()).collect();
    // As strace(1) has them.
    all.sort_by_key(|(_, flag)| flag.bits());
    names(all.into_iter())
}

pub fn sethostname(name: &OsStr) -> Result<()> {
    call(format_args!("sethostname({name:?}, {})", name.len()), || nix::unistd::sethostname(name))
}

pub fn setdomainname(name: &OsStr) -> Result<()> {
    let bytes = name.as_encoded_bytes();
    // SAFETY: the kernel reads as many bytes as we say there are.
    call(format_args!("setdomainname({name:?}, {})", bytes.len()), || {
        Errno::result(unsafe { libc::setdomainname(bytes.as_ptr().cast(), bytes.len()) }).map(drop)
    })
}

/// Joins the one namespace that `file` is.
pub fn setns_file(file: &OwnedFd, kind: CloneFlags) -> Result<()> {
    let text = kinds(kind);
    call(format_args!("setns({}, {text})", file.as_raw_fd()), || nix::sched::setns(file, kind))
}

/// A socket to make requests about network links with; nothing is sent on it.
pub fn socket() -> Result<OwnedFd> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    call(format_args!("socket(AF_INET, SOCK_DGRAM|SOCK_CLOEXEC, IPPROTO_IP)"), || {
        socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
    })
}

/// Brings the link called `name` up.
pub fn ioctl_link_up(socket: &OwnedFd, name: &str) -> Result<()> {
    // SAFETY: all bytes zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    let fd = socket.as_raw_fd();
    // SAFETY: SIOCSIFFLAGS reads one ifreq.
    call(
        format_args!("ioctl({fd}, SIOCSIFFLAGS, {{ifr_name={name:?}, ifr_flags=IFF_UP|IFF_RUNNING}})"),
        || Errno::result(unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS, &request) }).map(drop),
    )
}

/// Unlocks a new pty and opens its inner end, the terminal: as grantpt(3),
/// unlockpt(3) and ptsname(3), without asking a file system for its name.
pub fn ioctl_terminal(pty: &std::fs::File) -> Result<OwnedFd> {
    let fd = pty.as_raw_fd();
    let unlock: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int, TIOCGPTPEER takes flags and no pointer.
    call(format_args!("ioctl({fd}, TIOCSPTLCK, [0])"), || {
        Errno::result(unsafe { libc::ioctl(fd, libc::TIOCSPTLCK, &unlock) }).map(drop)
    })?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    call(format_args!("ioctl({fd}, TIOCGPTPEER, {flags:#x})"), || {
        Errno::result(unsafe { libc::ioctl(fd, libc::TIOCGPTPEER, flags) })
            .map(|peer| unsafe { OwnedFd::from_raw_fd(peer) })
    })
}

/// From here on nobody can change the file, or the seals (memfd_create(2)).
pub fn fcntl_seal(file: &std::fs::File) -> Result<()> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    let seals = SealFlag::all() & !SealFlag::F_SEAL_FUTURE_WRITE;
    call(format_args!("fcntl({}, F_ADD_SEALS, {})", file.as_raw_fd(), names(seals.iter_names())), || {
        fcntl(file, FcntlArg::F_ADD_SEALS(seals)).map(drop)
    })
}

pub fn chown(path: &Path, uid: u32, gid: u32) -> Result<()> {
    call(format_args!("chown({path:?}, {uid}, {gid})"), || {
        nix::unistd::chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
    })
}

/// Gives a file to user `uid`, and leaves its group as it is.
pub fn fchown(file: BorrowedFd, uid: u32) -> Result<()> {
    call(format_args!("fchown({}, {uid}, -1)", file.as_raw_fd()), || {
        nix::unistd::fchown(file, Some(Uid::from_raw(uid)), None)
    })
}

/// Makes `terminal` the controlling terminal of this session.
pub fn ioctl_controlling_terminal(terminal: BorrowedFd) -> Result<()> {
    let fd = terminal.as_raw_fd();
    // SAFETY: no pointers.
    call(format_args!("ioctl({fd}, TIOCSCTTY, 0)"), || {
        Errno::result(unsafe { libc::ioctl(fd, libc::TIOCSCTTY, 0) }).map(drop)
    })
}

/// Tells the terminal at stdin how large it is.
pub fn ioctl_window((rows, columns): (u16, u16)) -> Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize, which is ours.
    call(format_args!("ioctl(0, TIOCSWINSZ, {{ws_row={rows}, ws_col={columns}}})"), || {
        Errno::result(unsafe { libc::ioctl(0, libc::TIOCSWINSZ, &size) }).map(drop)
    })
}

// ---- mounts and the root ---------------------------------------------------

/// mount(2). `None` where the kernel does not look at an argument.
pub fn mount(
    source: Option<&Path>,
    target: &Path,
    fstype: Option<&str>,
    flags: MsFlags,
    data: Option<&OsStr>,
) -> Result<()> {
    let text = format_args!(
        "mount({}, {target:?}, {}, {}, {})",
        or_null(source),
        or_null(fstype),
        names(flags.iter_names()),
        or_null(data)
    )
    .to_string();
    call(format_args!("{text}"), || nix::mount::mount(source, target, fstype, flags, data))
}

/// Makes every mount at and below `path` read-only, or writable.
pub fn mount_setattr_read_only(path: &Path, on: bool) -> Result<()> {
    const AT_RECURSIVE: libc::c_uint = 0x8000;
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let name = CString::new(path.as_os_str().as_encoded_bytes())?;
    // struct mount_attr: what to set, what to clear, propagation, user namespace.
    let attr = if on { [MOUNT_ATTR_RDONLY, 0, 0, 0] } else { [0, MOUNT_ATTR_RDONLY, 0, 0] };
    let word = if on { "attr_set" } else { "attr_clr" };
    // SAFETY: the kernel reads a path and one mount_attr, both ours.
    call(
        format_args!("mount_setattr(AT_FDCWD, {path:?}, AT_RECURSIVE, {{{word}=MOUNT_ATTR_RDONLY}})"),
        || {
            Errno::result(unsafe {
                libc::syscall(
                    libc::SYS_mount_setattr,
                    libc::AT_FDCWD,
                    name.as_ptr(),
                    AT_RECURSIVE,
                    &attr,
                    size_of_val(&attr),
                )
            })
            .map(drop)
        },
    )
}

pub fn umount2(target: &str, flags: MntFlags) -> Result<()> {
    call(format_args!("umount2({target:?}, {})", names(flags.iter_names())), || {
        nix::mount::umount2(target, flags)
    })
}

pub fn pivot_root(new: &str, old: &str) -> Result<()> {
    call(format_args!("pivot_root({new:?}, {old:?})"), || nix::unistd::pivot_root(new, old))
}

pub fn chroot(path: &Path) -> Result<()> {
    call(format_args!("chroot({path:?})"), || nix::unistd::chroot(path))
}

pub fn chdir(path: &Path) -> Result<()> {
    call(format_args!("chdir({path:?})"), || nix::unistd::chdir(path))
}

pub fn fchdir(directory: &OwnedFd) -> Result<()> {
    call(format_args!("fchdir({})", directory.as_raw_fd()), || nix::unistd::fchdir(directory))
}

/// A handle on a directory that keeps it reachable when its path is not any more.
pub fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    call(format_args!("openat(AT_FDCWD, {path:?}, O_PATH|O_DIRECTORY|O_CLOEXEC)"), || {
        nix::fcntl::open(path, flags, Mode::empty())
    })
}

// ---- files -----------------------------------------------------------------

pub fn mkdir(path: &Path, mode: u32) -> Result<()> {
    call(format_args!("mkdir({path:?}, 0{mode:o})"), || {
        nix::unistd::mkdir(path, Mode::from_bits_truncate(mode))
    })
}

pub fn rmdir(path: &Path) -> Result<()> {
    let flag = nix::unistd::UnlinkatFlags::RemoveDir;
    call(format_args!("rmdir({path:?})"), || nix::unistd::unlinkat(nix::fcntl::AT_FDCWD, path, flag))
}

pub fn symlink(target: &str, path: &str) -> Result<()> {
    call(format_args!("symlink({target:?}, {path:?})"), || {
        nix::unistd::symlinkat(target, nix::fcntl::AT_FDCWD, path)
    })
}

/// Makes the character device `major`:`minor`.
pub fn mknod(path: &str, mode: u32, major: u64, minor: u64) -> Result<()> {
    call(format_args!("mknod({path:?}, S_IFCHR|0{mode:o}, makedev({major:#x}, {minor:#x}))"), || {
        let device = nix::sys::stat::makedev(major, minor);
        nix::sys::stat::mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(mode), device)
    })
}

/// Makes an empty file, such as a file can be mounted on.
pub fn mknod_file(path: &str) -> Result<()> {
    call(format_args!("mknod({path:?}, S_IFREG|0666, 0)"), || {
        nix::sys::stat::mknod(path, SFlag::S_IFREG, Mode::from_bits_truncate(0o666), 0)
    })
}

/// Writes `value` to a file of the kernel's (in /proc or a cgroup), whole.
pub fn write(path: &Path, value: &str) -> Result<()> {
    write_each(path, [value])
}

/// Several values for one file, each in a write of its own: files of the kernel's take one at a time.
pub fn write_each<V: AsRef<str>>(path: &Path, values: impl IntoIterator<Item = V>) -> Result<()> {
    let mut file = None;
    values.into_iter().try_for_each(|value| {
        let value = value.as_ref();
        call(format_args!("write({path:?}, {value:?}, {})", value.len()), || {
            let file = match &file {
                Some(file) => file,
                None => {
                    file.insert(nix::fcntl::open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?)
                }
            };
            nix::unistd::write(file, value.as_bytes())
        })
        .map(drop)
    })
}

// ---- more than one call ----------------------------------------------------

/// Does `work`, which is many calls and told as one line, but not in a dry run.
pub fn many_calls(text: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    narrate::note(format_args!("{text}"));
    if narrate::is_dry() { Ok(()) } else { work() }
}

/// Removes `path` and all below it: told as one line, for it can be many calls.
pub fn remove_tree(path: &Path) -> Result<()> {
    if narrate::is_speaking() && (narrate::is_dry() || path.exists()) {
        narrate::note(format_args!("remove {path:?} and all below it"));
    }
    if narrate::is_dry() { Ok(()) } else { crate::removal::remove_tree(path) }
}

// ---- how calls are written down --------------------------------------------

fn names<'a, F>(flags: impl Iterator<Item = (&'a str, F)>) -> String {
    let names: Vec<_> = flags.map(|(name, _)| name).collect();
    if names.is_empty() { "0".into() } else { names.join("|") }
}

fn or_null<T: std::fmt::Debug>(argument: Option<T>) -> String {
    argument.map_or("NULL".into(), |argument| format!("{argument:?}"))
}

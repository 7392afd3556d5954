//! System calls: the only file that asks the kernel to isolate anything.
//!
//! Every function here is named after the call it makes, makes exactly one,
//! reports it to the narrator, and puts the call with its arguments and errno
//! on the error when it fails. What a call is *for* is its caller's business.

use crate::narrate;
use anyhow::{Context, Result};
use caps::{CapSet, Capability};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    libc,
    mount::{MntFlags, MsFlags},
    sched::CloneFlags,
    sys::{
        signal::{SigSet, SigmaskHow, Signal},
        stat::{Mode, SFlag},
        wait::WaitPidFlag,
    },
    unistd::{ForkResult, Gid, Pid, Uid},
};
use std::{
    cell::RefCell,
    ffi::{CString, OsStr},
    fmt::Arguments,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
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

// ---- processes -------------------------------------------------------------

thread_local! {
    /// A pidfd of the process that forked this one.
    static PARENT: RefCell<Option<OwnedFd>> = const { RefCell::new(None) };
}

/// Makes a copy of this process. The copy does `work`, is called `name` in the narration and
/// `rubber:name` in ps(1), is killed when we end, and exits with what `work` answers: it never
/// returns into our code.
pub fn fork(name: &'static str, work: impl FnOnce() -> Result<u8>) -> Result<Pid> {
    if narrate::is_dry() {
        return rehearse(name, work);
    }
    // Only to tell the story in order: the copy says nothing until we have told of the fork.
    let order = narrate::is_speaking().then(|| nix::unistd::pipe2(OFlag::O_CLOEXEC)).transpose()?;
    let parent = pidfd_open(nix::unistd::getpid())?;
    // SAFETY: no second thread exists here (held by a test), so no lock can be
    // held by a thread that does not exist in the copy.
    match unsafe { nix::unistd::fork() }.context("fork()")? {
        ForkResult::Parent { child } => {
            narrate::call(format_args!("fork()"), Ok(child.as_raw().into()));
            Ok(child)
        }
        ForkResult::Child => {
            if let Some((reader, writer)) = order {
                drop(writer);
                let _ = nix::unistd::read(&reader, &mut [0]);
            }
            PARENT.set(Some(parent));
            let outcome = begin(name).and_then(|()| work());
            std::process::exit(outcome.unwrap_or_else(crate::report).into())
        }
    }
}

fn begin(name: &'static str) -> Result<()> {
    narrate::speaker(name);
    if !narrate::is_dry() {
        nix::sys::prctl::set_name(&CString::new(format!("rubber:{name}"))?)?;
    }
    prctl_pdeathsig()
}

/// A dry run tells both lives in one process, one after the other.
fn rehearse(name: &'static str, work: impl FnOnce() -> Result<u8>) -> Result<Pid> {
    narrate::intent(format_args!("fork()"));
    let before = narrate::who();
    let rehearsed = begin(name).and_then(|()| work());
    narrate::speaker(before);
    rehearsed.map(|_| Pid::from_raw(0))
}

/// Asks to be killed when the process that forked us ends, however it ends: a
/// container must not outlive its rubber. It may have ended before we asked:
/// then we end here and now.
pub fn prctl_pdeathsig() -> Result<()> {
    call(format_args!("prctl(PR_SET_PDEATHSIG, SIGKILL)"), || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
    })?;
    PARENT.with_borrow(|parent| match parent {
        Some(parent) if is_readable(parent.as_fd()) => std::process::exit(125),
        _ => Ok(()),
    })
}

/// Whether `fd` has something to say right now. A pidfd has, once its process
/// has ended (pidfd_open(2)).
fn is_readable(fd: BorrowedFd) -> bool {
    let mut fds = [nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLIN)];
    nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

pub fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    // SAFETY: the call makes a new descriptor (close-on-exec) and takes no pointers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })
        .with_context(|| format!("pidfd_open({pid}, 0)"))?;
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Collects a child that has ended: its pid, and its exit code or 128 + n for
/// signal n, as in the shell. `None` while all of them run.
///
/// By hand and not with nix, whose signal type has no real-time signals: a
/// command ended by one would be an error of ours.
pub fn wait4(flags: WaitPidFlag) -> Result<Option<(Pid, u8)>> {
    if narrate::is_dry() {
        narrate::intent(format_args!("wait4(-1)"));
        return Ok(None);
    }
    let mut status = 0;
    // SAFETY: `status` is ours, and no rusage is asked for.
    let ended =
        Errno::result(unsafe { libc::waitpid(-1, &mut status, flags.bits()) }).context("wait4(-1)")?;
    if ended == 0 {
        return Ok(None);
    }
    let status = Ended(status);
    narrate::call(format_args!("wait4(-1, {status})"), Ok(ended.into()));
    Ok(Some((Pid::from_raw(ended), status.code())))
}

/// A wait status, told as strace(1) does.
struct Ended(i32);

impl Ended {
    fn code(&self) -> u8 {
        match libc::WIFEXITED(self.0) {
            true => libc::WEXITSTATUS(self.0) as u8,
            false => 128 + libc::WTERMSIG(self.0) as u8,
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match libc::WIFEXITED(self.0) {
            true => write!(f, "exit code {}", self.code()),
            false => write!(f, "signal {}", libc::WTERMSIG(self.0)),
        }
    }
}

pub fn execve(program: &CString, args: &[CString], env: &[CString]) -> Result<()> {
    let text = format!("execve({program:?}, {args:?}, {} variables)", env.len());
    // Told before it is made: when it works, there is nobody left to tell it.
    narrate::intent(format_args!("{text}"));
    if narrate::is_dry() {
        return Ok(());
    }
    let Err(errno) = nix::unistd::execve(program, args, env);
    narrate::call(format_args!("execve({program:?}, ...)"), Err(errno));
    Err(errno).context(text)
}

pub fn setsid() -> Result<()> {
    call(format_args!("setsid()"), || nix::unistd::setsid().map(|session| session.as_raw())).map(drop)
}

pub fn kill(pid: Pid, signal: i32) -> Result<()> {
    // SAFETY: no pointers. (nix's signals have no real-time ones.)
    call(format_args!("kill({pid}, {signal})"), || {
        Errno::result(unsafe { libc::kill(pid.as_raw(), signal) }).map(drop)
    })
}

/// Hides this process's memory and /proc/PID/exe from whoever is in the
/// container with it.
pub fn prctl_not_dumpable() -> Result<()> {
    call(format_args!("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE)"), || nix::sys::prctl::set_dumpable(false))
}

/// Closes every descriptor from `first` on.
pub fn close_range(first: u32) -> Result<()> {
    // SAFETY: only called where the next thing is execve: nothing uses them any more.
    call(format_args!("close_range({first}, {}, 0)", u32::MAX), || {
        Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
    })
}

pub fn umask(mode: u32) -> Result<()> {
    let mode = Mode::from_bits_truncate(mode);
    call(format_args!("umask(0{:o})", mode.bits()), || Ok(nix::sys::stat::umask(mode).bits() as i32))
        .map(drop)
}

/// Every signal back to what it does by default, and none held back.
pub fn reset_signals() -> Result<()> {
    if narrate::is_dry() {
        return Ok(());
    }
    // The kernel's own sigaction, with SIG_DFL and nothing else set: the C library hides
    // two of the signals, and a caller may ignore those too. KILL and STOP cannot be set.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        // SAFETY: the kernel reads one sigaction, which is ours, and writes nothing.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), 0, 8) };
    }
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .context("rt_sigprocmask(SIG_SETMASK, [])")
}

// ---- namespaces ------------------------------------------------------------

pub fn unshare(flags: CloneFlags) -> Result<()> {
    call(format_args!("unshare({})", names(flags.iter_names())), || nix::sched::unshare(flags))
}

pub fn sethostname(name: &OsStr) -> Result<()> {
    call(format_args!("sethostname({name:?}, {})", name.len()), || nix::unistd::sethostname(name))
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

/// Gives a file to user `uid`, and leaves its group as it is.
pub fn fchown(file: &OwnedFd, uid: u32) -> Result<()> {
    call(format_args!("fchown({}, {uid}, -1)", file.as_raw_fd()), || {
        nix::unistd::fchown(file, Some(Uid::from_raw(uid)), None)
    })
}

/// Makes `terminal` the controlling terminal of this session.
pub fn ioctl_controlling_terminal(terminal: &OwnedFd) -> Result<()> {
    let fd = terminal.as_raw_fd();
    // SAFETY: no pointers.
    call(format_args!("ioctl({fd}, TIOCSCTTY, 0)"), || {
        Errno::result(unsafe { libc::ioctl(fd, libc::TIOCSCTTY, 0) }).map(drop)
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
        if flags.is_empty() { "0".into() } else { names(flags.iter_names()) },
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
    call(format_args!("write({path:?}, {value:?}, {})", value.len()), || {
        let file = nix::fcntl::open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        nix::unistd::write(&file, value.as_bytes())
    })
    .map(drop)
}

// ---- who we are, and what we may -------------------------------------------

pub fn setgroups(groups: &[Gid]) -> Result<()> {
    let numbers: Vec<_> = groups.iter().map(Gid::to_string).collect();
    call(format_args!("setgroups({}, [{}])", groups.len(), numbers.join(", ")), || {
        nix::unistd::setgroups(groups)
    })
}

pub fn setgid(gid: Gid) -> Result<()> {
    call(format_args!("setgid({gid})"), || nix::unistd::setgid(gid))
}

pub fn setuid(uid: Uid) -> Result<()> {
    call(format_args!("setuid({uid})"), || nix::unistd::setuid(uid))
}

/// Takes one capability out of the bounding set of this process, for good.
pub fn prctl_capbset_drop(capability: Capability) -> Result<()> {
    call(format_args!("prctl(PR_CAPBSET_DROP, {capability})"), || {
        caps::drop(None, CapSet::Bounding, capability).map_err(|_| Errno::last())
    })
}

/// Sets the effective and the permitted set to `keep`, and the inheritable
/// one to nothing (and with it the ambient one, see capabilities(7)).
pub fn capset(keep: &[Capability]) -> Result<()> {
    let mask = keep.iter().fold(0, |mask, capability| mask | capability.bitmask());
    // The kernel takes 64 bits as two words: version 3 of its interface.
    let header = [0x2008_0522_u32, 0];
    let words = |mask: u64| [mask as u32, mask as u32, 0];
    let data = [words(mask), words(mask >> 32)];
    // SAFETY: the layouts are those of capset(2), and both live through the call.
    call(format_args!("capset(effective = permitted = {mask:#x}, inheritable = 0)"), || {
        Errno::result(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }).map(drop)
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
    flags.map(|(name, _)| name).collect::<Vec<_>>().join("|")
}

fn or_null<T: std::fmt::Debug>(argument: Option<T>) -> String {
    argument.map_or("NULL".into(), |argument| format!("{argument:?}"))
}

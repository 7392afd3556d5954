//! System calls: the only file that asks the kernel to isolate anything.
//!
//! Every function here is named after the call it makes, makes exactly one,
//! reports it to the narrator, and puts the call with its arguments and errno
//! on the error when it fails. What a call is *for* is its caller's business.

pub mod mounts;
mod process;
pub mod schedule;

pub use process::*;

use crate::narrate;
use anyhow::{Context, Result};
use caps::{CapSet, Capability};
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
pub fn ioctl_controlling_terminal(terminal: &OwnedFd) -> Result<()> {
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
    let mask = bits(keep);
    capset_masks(format_args!("capset(effective = permitted = {mask:#x}, inheritable = 0)"), [mask, mask, 0])
}

/// Each set for itself.
pub fn capset_each(
    effective: &[Capability],
    permitted: &[Capability],
    inheritable: &[Capability],
) -> Result<()> {
    let masks @ [effective, permitted, inheritable] = [effective, permitted, inheritable].map(bits);
    let text =
        format!("effective = {effective:#x}, permitted = {permitted:#x}, inheritable = {inheritable:#x}");
    capset_masks(format_args!("capset({text})"), masks)
}

fn bits(set: &[Capability]) -> u64 {
    set.iter().fold(0, |mask, capability| mask | capability.bitmask())
}

fn capset_masks(text: Arguments, masks: [u64; 3]) -> Result<()> {
    // The kernel takes 64 bits as two words: version 3 of its interface.
    let header = [0x2008_0522_u32, 0];
    let data = [masks.map(|mask| mask as u32), masks.map(|mask| (mask >> 32) as u32)];
    // SAFETY: the layouts are those of capset(2), and both live through the call.
    call(text, || {
        Errno::result(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) }).map(drop)
    })
}

/// A new session keyring without a name, which nobody else can join.
pub fn keyctl_join_session_keyring() -> Result<()> {
    // From linux/keyctl.h.
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    call(format_args!("keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)"), || {
        // SAFETY: a null pointer is no name.
        Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, 0) })
            .map(|serial| serial as i32)
    })
    .map(drop)
}

/// Whether what is permitted stays so when the user changes; the next execve(2) forgets it.
pub fn prctl_keepcaps() -> Result<()> {
    call(format_args!("prctl(PR_SET_KEEPCAPS, 1)"), || nix::sys::prctl::set_keepcaps(true))
}

/// A capability that programs without any of their own get as well.
pub fn prctl_cap_ambient_raise(capability: Capability) -> Result<()> {
    call(format_args!("prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, {capability}, 0, 0)"), || {
        caps::raise(None, CapSet::Ambient, capability).map_err(|_| Errno::last())
    })
}

/// From here on no execve(2) gives privileges: for good, and for all children.
pub fn prctl_no_new_privs() -> Result<()> {
    call(format_args!("prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)"), nix::sys::prctl::set_no_new_privs)
}

/// Has the kernel run `program` at each system call of this process and its children, for good.
pub fn seccomp_filter(program: &[libc::sock_filter]) -> Result<()> {
    let len = program.len();
    let about = libc::sock_fprog { len: u16::try_from(len)?, filter: program.as_ptr().cast_mut() };
    call(format_args!("seccomp(SECCOMP_SET_MODE_FILTER, 0, {{len={len}}})"), || {
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        // SAFETY: the kernel copies the program, which lives through the call, and writes nothing.
        Errno::result(unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &about) }).map(drop)
    })
}

/// The same, with flags of SECCOMP_FILTER_FLAG_*.
pub fn seccomp_filter_with(program: &[libc::sock_filter], flags: u64) -> Result<()> {
    let about = libc::sock_fprog { len: program.len().try_into()?, filter: program.as_ptr().cast_mut() };
    call(format_args!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {{len={}}})", program.len()), || {
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        // SAFETY: as above.
        Errno::result(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &about) }).map(drop)
    })
}

/// And what the program leaves open is asked at the descriptor that is returned: seccomp_unotify(2).
pub fn seccomp_listener(program: &[libc::sock_filter], flags: u64) -> Result<OwnedFd> {
    let flags = flags | libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    let about = libc::sock_fprog { len: program.len().try_into()?, filter: program.as_ptr().cast_mut() };
    call(format_args!("seccomp(SECCOMP_SET_MODE_FILTER, {flags:#x}, {{len={}}})", program.len()), || {
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        // SAFETY: as above; and the descriptor is new.
        Errno::result(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &about) })
            .map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })
    })
}

/// Loads a program that says which devices may be opened; it is for `bpf_attach`.
pub fn bpf_load_device_program(program: &[u64]) -> Result<OwnedFd> {
    // From linux/bpf.h; of the attributes only the first ones are set.
    const BPF_PROG_LOAD: i32 = 5;
    const BPF_PROG_TYPE_CGROUP_DEVICE: u64 = 15;
    let count = program.len() as u64;
    let (code, licence) = (program.as_ptr() as u64, c"MIT".as_ptr() as u64);
    let mut attributes = [0_u64; 16];
    attributes[..3].copy_from_slice(&[BPF_PROG_TYPE_CGROUP_DEVICE | count << 32, code, licence]);
    call(
        format_args!("bpf(BPF_PROG_LOAD, {{prog_type=BPF_PROG_TYPE_CGROUP_DEVICE, insn_cnt={count}}})"),
        || bpf(BPF_PROG_LOAD, &attributes).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) }),
    )
}

/// Has the kernel ask `program` when somebody in the group opens a device. It ends with the group.
pub fn bpf_attach(group: &OwnedFd, program: &OwnedFd) -> Result<()> {
    const BPF_PROG_ATTACH: i32 = 8;
    const BPF_CGROUP_DEVICE: u64 = 6;
    // Beside those that others attach, and all are asked.
    const BPF_F_ALLOW_MULTI: u64 = 2;
    let (group, program) = (group.as_raw_fd() as u64, program.as_raw_fd() as u64);
    let mut attributes = [0_u64; 16];
    attributes[..2].copy_from_slice(&[group | program << 32, BPF_CGROUP_DEVICE | BPF_F_ALLOW_MULTI << 32]);
    call(format_args!("bpf(BPF_PROG_ATTACH, {{attach_type=BPF_CGROUP_DEVICE}})"), || {
        bpf(BPF_PROG_ATTACH, &attributes).map(drop)
    })
}

fn bpf(command: i32, attributes: &[u64; 16]) -> nix::Result<libc::c_long> {
    // SAFETY: the kernel reads the attributes, and the program and the text they point to, which the caller holds.
    Errno::result(unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of_val(attributes)) })
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

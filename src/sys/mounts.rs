//! System calls on mounts that are held by a descriptor instead of a name, and on what lies below a directory:
//! whoever may change names while we work (another container, say) cannot lead these calls astray.

use super::{call, names};
use anyhow::Result;
use nix::{
    errno::Errno,
    fcntl::{OFlag, OpenHow, ResolveFlag},
    libc,
    sys::stat::{Mode, SFlag},
};
use std::{
    ffi::{CString, OsStr},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    path::Path,
};

// From linux/mount.h and linux/fcntl.h; the C library has not all of them.
pub const RDONLY: u64 = 1;
pub const NOSUID: u64 = 2;
pub const NODEV: u64 = 4;
pub const NOEXEC: u64 = 8;
/// All the bits of how access times are kept: to set one way, all of them are cleared first.
pub const ATIME: u64 = 0x70;
pub const NOATIME: u64 = 0x10;
pub const STRICTATIME: u64 = 0x20;
pub const NODIRATIME: u64 = 0x80;
pub const NOSYMFOLLOW: u64 = 0x20_0000;
const IDMAP: u64 = 0x10_0000;
const AT_RECURSIVE: u32 = 0x8000;
const AT_EMPTY_PATH: u32 = libc::AT_EMPTY_PATH as u32;
const OPEN_TREE_CLONE: u32 = 1;
const OPEN_TREE_CLOEXEC: u32 = OFlag::O_CLOEXEC.bits() as u32;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSCONFIG_CMD_RECONFIGURE: u32 = 7;
const FSPICK_CLOEXEC_EMPTY_PATH: u32 = 1 | 8;

pub const PRIVATE: u64 = libc::MS_PRIVATE;
pub const SLAVE: u64 = libc::MS_SLAVE;
pub const SHARED: u64 = libc::MS_SHARED;
pub const UNBINDABLE: u64 = libc::MS_UNBINDABLE;

/// The working directory, for calls that take a directory's descriptor.
pub const HERE: BorrowedFd<'static> = nix::fcntl::AT_FDCWD;

/// Opens what `path` is called below `directory`, which is "/" for every link and ".." on the way.
/// With O_PATH it is held, and not opened for reading.
pub fn openat2_in_root(directory: BorrowedFd, path: &Path, flags: OFlag) -> Result<OwnedFd> {
    openat2(directory, path, flags, ResolveFlag::empty())
}

/// The same, and nothing that is mounted on the way is entered: that is EXDEV.
pub fn openat2_in_mount(directory: BorrowedFd, path: &Path, flags: OFlag) -> Result<OwnedFd> {
    openat2(directory, path, flags, ResolveFlag::RESOLVE_NO_XDEV)
}

fn openat2(directory: BorrowedFd, path: &Path, flags: OFlag, also: ResolveFlag) -> Result<OwnedFd> {
    let below = path.strip_prefix("/").unwrap_or(path);
    let below = if below.as_os_str().is_empty() { Path::new(".") } else { below };
    let how = OpenHow::new()
        .flags(flags | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS | also);
    let words = names((flags | OFlag::O_CLOEXEC).iter_names());
    let resolve = if also.is_empty() { String::new() } else { names(also.iter_names()) + "|" };
    let text = format!(
        "openat2({}, {below:?}, {{flags={words}, resolve={resolve}RESOLVE_NO_MAGICLINKS|RESOLVE_IN_ROOT}}, 24)",
        fd(directory)
    );
    // EAGAIN: something was renamed on this machine while the kernel walked over a ".." (openat2(2)).
    let mut tries = 0..100;
    loop {
        match call(format_args!("{text}"), || nix::fcntl::openat2(directory, below, how)) {
            Err(error) if error.downcast_ref() == Some(&Errno::EAGAIN) && tries.next().is_some() => {}
            opened => return opened,
        }
    }
}

/// Opens `name`, which must be right in `directory` and no link, nor anything that is mounted there.
pub fn openat2_right_in(directory: &OwnedFd, name: &str) -> Result<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let how =
        OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let words = "flags=O_RDWR|O_NOCTTY|O_CLOEXEC, resolve=RESOLVE_NO_XDEV|RESOLVE_NO_SYMLINKS";
    call(format_args!("openat2({}, {name:?}, {{{words}}}, 24)", directory.as_raw_fd()), || {
        nix::fcntl::openat2(directory, name, how)
    })
}

/// Writes `value` to a file below /proc, which is `proc`: and to nothing that is mounted there.
pub fn write_below_proc(proc: &OwnedFd, name: &str, value: &str) -> Result<()> {
    let resolve =
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(OFlag::O_WRONLY | OFlag::O_CLOEXEC).resolve(resolve);
    call(format_args!("write(\"/proc/{name}\", {value:?}, {})", value.len()), || {
        nix::unistd::write(nix::fcntl::openat2(proc, name, how)?, value.as_bytes()).map(drop)
    })
}

/// Holds `name`, which must be right in `directory`; a link is not followed.
pub fn openat_nofollow(directory: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    call(format_args!("openat({}, {name:?}, O_NOFOLLOW|O_CLOEXEC|O_PATH)", directory.as_raw_fd()), || {
        nix::fcntl::openat(directory, name, flags, Mode::empty())
    })
}

/// Makes a file of mode 0644 and opens it for writing.
pub fn openat_create(directory: &OwnedFd, name: &str) -> Result<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let text = "O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0644";
    call(format_args!("openat({}, {name:?}, {text})", directory.as_raw_fd()), || {
        nix::fcntl::openat(directory, name, flags, Mode::from_bits_truncate(0o644))
    })
}

pub fn mkdirat(directory: &OwnedFd, name: &OsStr, mode: u32) -> Result<()> {
    call(format_args!("mkdirat({}, {name:?}, 0{mode:o})", directory.as_raw_fd()), || {
        nix::sys::stat::mkdirat(directory, name, Mode::from_bits_truncate(mode))
    })
}

/// Makes an empty file, such as a file can be mounted on.
pub fn mknodat_file(directory: &OwnedFd, name: &OsStr) -> Result<()> {
    call(format_args!("mknodat({}, {name:?}, S_IFREG|0644)", directory.as_raw_fd()), || {
        let mode = Mode::from_bits_truncate(0o644);
        nix::sys::stat::mknodat(directory, name, SFlag::S_IFREG, mode, 0)
    })
}

/// Makes the device `number` of this kind, with the mode that the umask leaves of it.
pub fn mknodat_device(directory: &OwnedFd, name: &OsStr, kind: SFlag, mode: u32, number: u64) -> Result<()> {
    let (major, minor) = (libc::major(number), libc::minor(number));
    let dir = directory.as_raw_fd();
    let words = names(kind.iter_names());
    call(format_args!("mknodat({dir}, {name:?}, {words}|0{mode:o}, makedev({major:#x}, {minor:#x}))"), || {
        nix::sys::stat::mknodat(directory, name, kind, Mode::from_bits_truncate(mode), number)
    })
}

pub fn symlinkat(target: &str, directory: &OwnedFd, name: &str) -> Result<()> {
    call(format_args!("symlinkat({target:?}, {}, {name:?})", directory.as_raw_fd()), || {
        nix::unistd::symlinkat(target, directory, name)
    })
}

/// A copy of the mount that `name` in `directory` is on, from there down, with all that is mounted below. It is
/// nowhere in the mount table yet. An empty name is the directory (or the file) itself.
pub fn open_tree(directory: BorrowedFd, name: &str) -> Result<OwnedFd> {
    let path = CString::new(name)?;
    let (mut flags, mut words) = (OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE, "");
    if name.is_empty() {
        (flags, words) = (flags | AT_EMPTY_PATH, "AT_EMPTY_PATH|");
    }
    call(
        format_args!(
            "open_tree({}, {name:?}, {words}AT_RECURSIVE|OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC)",
            fd(directory)
        ),
        // SAFETY: the kernel reads one path, which is ours, and makes a new descriptor.
        || {
            descriptor(unsafe {
                libc::syscall(libc::SYS_open_tree, directory.as_raw_fd(), path.as_ptr(), flags)
            })
        },
    )
}

/// The same without what is mounted below.
pub fn open_tree_alone(file: BorrowedFd) -> Result<OwnedFd> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH;
    call(
        format_args!("open_tree({}, \"\", AT_EMPTY_PATH|OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC)", fd(file)),
        // SAFETY: the kernel reads an empty path and makes a new descriptor.
        || descriptor(unsafe { libc::syscall(libc::SYS_open_tree, file.as_raw_fd(), c"".as_ptr(), flags) }),
    )
}

/// Puts a mount that is nowhere yet onto what `target` is.
pub fn move_mount(mount: &OwnedFd, target: &OwnedFd) -> Result<()> {
    let (from, to) = (mount.as_raw_fd(), target.as_raw_fd());
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    let text = "MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH";
    call(format_args!("move_mount({from}, \"\", {to}, \"\", {text})"), || {
        let none = c"".as_ptr();
        // SAFETY: the kernel reads two empty paths.
        Errno::result(unsafe { libc::syscall(libc::SYS_move_mount, from, none, to, none, flags) }).map(drop)
    })
}

/// Sets attributes of a mount, or of all below it as well, and how it tells other mounts of new ones
/// (0: as before). Takes nothing away, so what a user namespace has locked stays.
pub fn mount_setattr(mount: &OwnedFd, recursive: bool, set: u64, propagation: u64) -> Result<()> {
    mount_setattr_and_clear(mount, recursive, [set, 0, propagation])
}

/// Attributes to set, attributes to clear (which a user namespace may have locked: EPERM), and propagation.
pub fn mount_setattr_and_clear(mount: &OwnedFd, recursive: bool, how: [u64; 3]) -> Result<()> {
    let flags = AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    let words = if recursive { "AT_EMPTY_PATH|AT_RECURSIVE" } else { "AT_EMPTY_PATH" };
    let [set, clear, propagation] = how;
    let attr = [set, clear, propagation, 0];
    let fd = mount.as_raw_fd();
    let text = attributes(set, clear, propagation);
    // SAFETY: the kernel reads an empty path and one struct mount_attr of four words, both ours.
    call(format_args!("mount_setattr({fd}, \"\", {words}, {{{text}}}, 32)"), || {
        let size = size_of_val(&attr);
        let done = unsafe { libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, &attr, size) };
        Errno::result(done).map(drop)
    })
}

/// Shows the files of a mount that is nowhere yet, and of all below it, with the owners they have in the user
/// namespace `user`: id n on the disk is its n (since Linux 5.12, and as the filesystem allows).
pub fn mount_idmap(mount: &OwnedFd, user: &OwnedFd) -> Result<()> {
    idmap(mount, user, AT_EMPTY_PATH | AT_RECURSIVE, "AT_EMPTY_PATH|AT_RECURSIVE")
}

/// The same, of this mount only.
pub fn mount_idmap_alone(mount: &OwnedFd, user: &OwnedFd) -> Result<()> {
    idmap(mount, user, AT_EMPTY_PATH, "AT_EMPTY_PATH")
}

fn idmap(mount: &OwnedFd, user: &OwnedFd, flags: u32, words: &str) -> Result<()> {
    let (fd, user) = (mount.as_raw_fd(), user.as_raw_fd());
    let attr = [IDMAP, 0, 0, user as u64];
    let text = format!("attr_set=MOUNT_ATTR_IDMAP, attr_clr=0, propagation=0, userns_fd={user}");
    // SAFETY: as above.
    call(format_args!("mount_setattr({fd}, \"\", {words}, {{{text}}}, 32)"), || {
        let size = size_of_val(&attr);
        let done = unsafe { libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, &attr, size) };
        Errno::result(done).map(drop)
    })
}

fn attributes(set: u64, clear: u64, propagation: u64) -> String {
    let propagation = match propagation {
        PRIVATE => "MS_PRIVATE",
        SLAVE => "MS_SLAVE",
        SHARED => "MS_SHARED",
        UNBINDABLE => "MS_UNBINDABLE",
        _ => "0",
    };
    let (set, clear) = (attribute_names(set), attribute_names(clear));
    format!("attr_set={set}, attr_clr={clear}, propagation={propagation}, userns_fd=0")
}

fn attribute_names(set: u64) -> String {
    let known = [
        ("RDONLY", RDONLY),
        ("NOSUID", NOSUID),
        ("NODEV", NODEV),
        ("NOEXEC", NOEXEC),
        ("NODIRATIME", NODIRATIME),
        ("NOSYMFOLLOW", NOSYMFOLLOW),
    ];
    // How access times are kept is a number in the midst of the bits, and relatime is 0.
    let times = match set & ATIME {
        NOATIME => Some("NOATIME"),
        STRICTATIME => Some("STRICTATIME"),
        ATIME => Some("_ATIME"),
        _ => None,
    };
    let names = known.into_iter().filter(|(_, bit)| set & bit != 0).map(|(name, _)| name).chain(times);
    let names = names.map(|name| format!("MOUNT_ATTR_{name}"));
    let names = names.collect::<Vec<_>>().join("|");
    if names.is_empty() { "0".into() } else { names }
}

/// Begins to make a new filesystem of this type.
pub fn fsopen(fstype: &str) -> Result<OwnedFd> {
    let name = CString::new(fstype)?;
    // SAFETY: the kernel reads one string and makes a new descriptor.
    call(format_args!("fsopen({fstype:?}, FSOPEN_CLOEXEC)"), || {
        descriptor(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) })
    })
}

pub fn fsconfig_set(filesystem: &OwnedFd, key: &str, value: &str) -> Result<()> {
    let fd = filesystem.as_raw_fd();
    let (name, text) = (CString::new(key)?, CString::new(value)?);
    let command = FSCONFIG_SET_STRING;
    // SAFETY: the kernel reads two strings of ours.
    call(format_args!("fsconfig({fd}, FSCONFIG_SET_STRING, {key:?}, {value:?}, 0)"), || {
        let done = unsafe { libc::syscall(libc::SYS_fsconfig, fd, command, name.as_ptr(), text.as_ptr(), 0) };
        Errno::result(done).map(drop)
    })
}

/// An option that has no value.
pub fn fsconfig_flag(filesystem: &OwnedFd, key: &str) -> Result<()> {
    let fd = filesystem.as_raw_fd();
    let name = CString::new(key)?;
    // SAFETY: the kernel reads one string of ours.
    call(format_args!("fsconfig({fd}, FSCONFIG_SET_FLAG, {key:?}, NULL, 0)"), || {
        let done = unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_SET_FLAG, name.as_ptr(), 0, 0) };
        Errno::result(done).map(drop)
    })
}

pub fn fsconfig_create(filesystem: &OwnedFd) -> Result<()> {
    let fd = filesystem.as_raw_fd();
    let command = FSCONFIG_CMD_CREATE;
    // SAFETY: no pointers but null ones.
    call(format_args!("fsconfig({fd}, FSCONFIG_CMD_CREATE, NULL, NULL, 0)"), || {
        Errno::result(unsafe { libc::syscall(libc::SYS_fsconfig, fd, command, 0, 0, 0) }).map(drop)
    })
}

/// A filesystem that is mounted already, by the root of a mount of it: fspick(2).
pub fn fspick(mount: &OwnedFd) -> Result<OwnedFd> {
    let fd = mount.as_raw_fd();
    // SAFETY: the kernel reads an empty string and makes a new descriptor.
    call(format_args!("fspick({fd}, \"\", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH)"), || {
        descriptor(unsafe { libc::syscall(libc::SYS_fspick, fd, c"".as_ptr(), FSPICK_CLOEXEC_EMPTY_PATH) })
    })
}

pub fn fsconfig_reconfigure(filesystem: &OwnedFd) -> Result<()> {
    let fd = filesystem.as_raw_fd();
    let command = FSCONFIG_CMD_RECONFIGURE;
    // SAFETY: no pointers but null ones.
    call(format_args!("fsconfig({fd}, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0)"), || {
        Errno::result(unsafe { libc::syscall(libc::SYS_fsconfig, fd, command, 0, 0, 0) }).map(drop)
    })
}

/// A mount of the new filesystem, nowhere in the mount table yet.
pub fn fsmount(filesystem: &OwnedFd, attributes: u64) -> Result<OwnedFd> {
    let fd = filesystem.as_raw_fd();
    let text = attribute_names(attributes);
    // SAFETY: no pointers; the kernel makes a new descriptor.
    call(format_args!("fsmount({fd}, FSMOUNT_CLOEXEC, {text})"), || {
        descriptor(unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, attributes) })
    })
}

fn descriptor(answer: libc::c_long) -> nix::Result<OwnedFd> {
    // SAFETY: the kernel has just made this descriptor for us.
    Errno::result(answer).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn fd(directory: BorrowedFd) -> String {
    match directory.as_raw_fd() {
        libc::AT_FDCWD => "AT_FDCWD".into(),
        fd => fd.to_string(),
    }
}

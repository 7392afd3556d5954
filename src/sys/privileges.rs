//! Who a process is, and what it may: ids, capabilities, keys, filters.

use super::call;
use anyhow::Result;
use caps::{CapSet, Capability};
use nix::{
    errno::Errno,
    libc,
    unistd::{Gid, Uid},
};
use std::{
    fmt::Arguments,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

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

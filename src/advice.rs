//! One line of advice for errors that people meet, by the layer and the errno.

use crate::layers::Layer::{self, *};
use anyhow::Error;
use nix::errno::Errno;

pub fn about(layer: Layer, error: &Error) -> Option<String> {
    let errno = *error.chain().find_map(|cause| cause.downcast_ref::<Errno>())?;
    let advice = match (layer, errno) {
        (Userns, _) => return Some(crate::doctor::why_no_user_namespace(errno)),
        (User, Errno::EINVAL) => {
            "this id is not mapped into the user namespace; rubber doctor says how to get more"
        }
        (PivotRoot, Errno::EINVAL) => {
            "the root is a shared mount, or not a mount of this namespace: see pivot_root(2)"
        }
        (PivotRoot, Errno::EBUSY) => {
            "the new root is not a mount point, or is the old one: see pivot_root(2)"
        }
        (Overlay, Errno::EINVAL) => {
            "the store's filesystem cannot hold an upper layer (an overlay or a network disk cannot): --root DIR on another"
        }
        (Overlay, Errno::ENODEV) => "this kernel has no overlay: modprobe overlay, or --without overlay",
        (Mount, Errno::EPERM) => {
            "part of /proc or /sys is hidden by whoever started us (a container?): see rubber doctor"
        }
        (Ipc, Errno::ERANGE) => {
            "no clock shows less than 0, which is when the machine started, nor more than 146 years: time_namespaces(7)"
        }
        (Cpu | Memory, Errno::EBUSY) => {
            "version 2 shares out controllers only from a group without processes of its own, and this one has some: \
             see rubber doctor"
        }
        (Cpu | Memory, Errno::EINVAL | Errno::ERANGE) => {
            "the kernel does not take this value: see cgroups(7) and rubber run --help"
        }
        (Process, Errno::ENOENT | Errno::ENOTDIR) if error.to_string().starts_with("chdir(") => {
            "that is no directory of the container's to start in: --workdir names another"
        }
        (_, Errno::ENOSYS) => {
            "this kernel, or a filter of system calls that is on us, does not have it: rubber doctor says what is missing"
        }
        (_, Errno::EMFILE) => "this shell lets a program have too few files open: ulimit -n 64",
        (_, Errno::EPERM | Errno::EACCES) => {
            "rubber doctor tells what you may do on this machine, and why not"
        }
        (_, Errno::ENOSPC) => "the disk or a kernel limit is full: df -h, rubber clean, sysctl user",
        _ => return None,
    };
    Some(advice.into())
}

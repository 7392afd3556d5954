//! SELinux in the files of new filesystems. (Processes and keys have their labels by `layers::confinement`.) What is the host's has been labelled by who made the bundle.

use super::mounts::{Mount, What};
use anyhow::{Context, Result, ensure};
use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};

/// The kernel's own, in which the machine's rules say what each file is.
const FIXED: &[&str] = &["proc", "sysfs", "cgroup", "cgroup2"];

/// Where no label is given to all, but one can be set.
const SETTABLE: &str = "mqueue";

/// A label of the config.json's, if it has one: where nobody looks at it, it would confine nothing.
pub fn known(field: &str, label: Option<&String>) -> Result<Option<String>> {
    let Some(label) = label.filter(|label| !label.is_empty()) else { return Ok(None) };
    let is_on = Path::new("/sys/fs/selinux/enforce").exists();
    ensure!(is_on, "{field} {label:?}: this kernel does not have SELinux, or it is off");
    Ok(Some(label.clone()))
}

/// config-linux.md, "Mount Label": all of a new filesystem is labelled so, unless its options say otherwise.
pub fn on_mounts(label: Option<&String>, mounts: &mut [Mount]) {
    for mount in mounts {
        if let (Some(label), What::New { fstype, options, .. }) = (label, &mut mount.what) {
            let is_free = fstype != SETTABLE && !FIXED.contains(&fstype.as_str());
            if is_free && !options.iter().any(|(key, _)| key == "context") {
                options.push(("context".into(), Some(label.clone())));
            }
        }
    }
}

/// Of the queues, only the directory: each queue is labelled when it is made.
pub fn on_root(tree: &OwnedFd, fstype: &str, label: Option<&String>) -> Result<()> {
    let Some(label) = label.filter(|_| fstype == SETTABLE) else { return Ok(()) };
    let by_number = format!("/proc/self/fd/{}", tree.as_raw_fd());
    xattr::set_deref(by_number, "security.selinux", label.as_bytes())
        .with_context(|| format!("setxattr(\"security.selinux\", {label:?})"))
}

//! rubber has no more power than whoever calls it: installed setuid, setgid or with file capabilities it
//! refuses to run. (An ordinary user's containers need none: they are made in a user namespace.)

use anyhow::{Result, bail};
use caps::CapSet;
use nix::{
    libc::{self, S_ISGID, S_ISUID},
    unistd::{getegid, geteuid, getgid, getuid},
};
use std::os::unix::fs::MetadataExt;

/// All that its caller says would have to be taken for an attack: words, files, variables, limits.
pub fn refuse() -> Result<()> {
    // SAFETY: it reads what the kernel has put beside our arguments, getauxval(3).
    if unsafe { libc::getauxval(libc::AT_SECURE) } == 0 {
        return Ok(());
    }
    let lent = match () {
        // Security modules set AT_SECURE too, which lends nobody anything. And a caller may be two users by itself.
        () if getuid() != geteuid() && is_marked(S_ISUID) => {
            format!("uid {} called it, and it would be uid {}", getuid(), geteuid())
        }
        () if getgid() != getegid() && is_marked(S_ISGID) => {
            format!("gid {} called it, and it would be gid {}", getgid(), getegid())
        }
        () if !getuid().is_root() && has_capabilities() => "its file has capabilities".into(),
        () => return Ok(()),
    };
    bail!(
        "refuses to lend its caller power: {lent}\n        \
         it works as an ordinary user without: chmod ug-s and setcap -r its file (getauxval(3), AT_SECURE)"
    )
}

/// Whether our file has this bit of inode(7); one that cannot be looked at may have.
fn is_marked(bit: u32) -> bool {
    !std::fs::metadata("/proc/self/exe").is_ok_and(|about| about.mode() & bit == 0)
}

/// Ambient ones are no loan of ours: the caller has them.
fn has_capabilities() -> bool {
    let set = |set| caps::read(None, set).unwrap_or_default();
    !set(CapSet::Permitted).is_subset(&set(CapSet::Ambient))
}

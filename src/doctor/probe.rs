//! Trying instead of guessing: each question is put to the kernel by a forked child.
//!
//! A setting says what should happen; only the call itself says what does (seccomp filters,
//! AppArmor and an outer container have no file to read). The child makes everything inside
//! namespaces of its own, so that all of it is gone with the child. These calls are not the
//! container's: nothing of them is narrated, which is why they are not in `sys`.

use nix::{
    errno::Errno,
    libc,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    sys::wait::{WaitStatus, waitpid},
    unistd::{ForkResult, Pid, chdir, fork, pipe, pivot_root, read, write},
};
use std::{fmt, fs, path::Path};

/// A call the kernel did not allow, and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    pub call: String,
    pub errno: Errno,
}

pub type Attempt = Result<(), Refusal>;

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.call, self.errno)
    }
}

/// Names the call in the refusal.
pub fn call<T, E: Into<std::io::Error>>(text: &str, result: Result<T, E>) -> Result<T, Refusal> {
    result.map_err(|error| {
        let errno = Errno::from_raw(error.into().raw_os_error().unwrap_or(libc::EIO));
        Refusal { call: text.into(), errno }
    })
}

/// Runs `inside` in a forked child. The errno comes back as the exit status, and the text of
/// the refused call through a pipe; a child killed by a seccomp filter says so by its signal.
pub fn attempt(inside: impl FnOnce() -> Attempt) -> Attempt {
    let (reader, writer) = call("pipe()", pipe())?;
    // SAFETY: rubber never starts a thread, so no lock can be held by one that does not exist
    // in the child, which leaves by _exit and so runs none of our destructors.
    let child = match call("fork()", unsafe { fork() })? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            let answer = inside();
            if let Err(refusal) = &answer {
                let _ = write(&writer, refusal.call.as_bytes());
            }
            // SAFETY: always sound; it only ends this process.
            unsafe { libc::_exit(answer.map_or_else(|refusal| refusal.errno as i32, |()| 0)) }
        }
    };
    drop(writer); // or the read below would wait for ourselves
    let mut text = [0; 256];
    let length = read(&reader, &mut text).unwrap_or(0);
    answer_of(child, &String::from_utf8_lossy(&text[..length]))
}

fn answer_of(child: Pid, refused: &str) -> Attempt {
    match call("waitpid()", waitpid(child, None))? {
        WaitStatus::Exited(_, 0) => Ok(()),
        WaitStatus::Exited(_, errno) => Err(Refusal { call: refused.into(), errno: Errno::from_raw(errno) }),
        // A seccomp filter may kill instead of refusing: for our purposes that is a refusal.
        WaitStatus::Signaled(_, signal, _) => {
            Err(Refusal { call: format!("killed by {signal}"), errno: Errno::EPERM })
        }
        other => Err(Refusal { call: format!("{other:?}"), errno: Errno::ECHILD }),
    }
}

/// Enters a user namespace in which `uid` and `gid` (the caller's own) are root.
pub fn enter_user_namespace(uid: u32, gid: u32) -> Attempt {
    call("unshare(CLONE_NEWUSER)", unshare(CLONE_NEWUSER))?;
    // Without this an ordinary user may not write gid_map: see user_namespaces(7).
    call("write(/proc/self/setgroups)", fs::write("/proc/self/setgroups", "deny"))?;
    call("write(/proc/self/uid_map)", fs::write("/proc/self/uid_map", format!("0 {uid} 1")))?;
    call("write(/proc/self/gid_map)", fs::write("/proc/self/gid_map", format!("0 {gid} 1")))
}

const CLONE_NEWUSER: CloneFlags = CloneFlags::CLONE_NEWUSER;

/// A mount table of our own, out of which nothing propagates to the host.
pub fn leave_mounts() -> Attempt {
    call("unshare(CLONE_NEWNS)", unshare(CloneFlags::CLONE_NEWNS))?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    call("mount(\"/\", MS_REC|MS_PRIVATE)", mount(None::<&str>, "/", None::<&str>, private, None::<&str>))
}

/// Mounts and goes there; only after `leave_mounts`.
pub fn mount_at(fstype: &str, target: &str, options: Option<&str>) -> Attempt {
    let result = mount(Some(fstype), target, Some(fstype), MsFlags::empty(), options);
    call(&format!("mount({fstype:?})"), result)?;
    call(&format!("chdir({target:?})"), chdir(target))
}

/// A throw-away tmpfs. It covers /proc because that directory is there on every machine on
/// which the steps before this one have worked.
pub fn mount_tmpfs() -> Attempt {
    mount_at("tmpfs", "/proc", None)
}

/// Makes the working directory the root, and lets go of the old one.
pub fn pivot() -> Attempt {
    call("pivot_root(\".\", \".\")", pivot_root(".", "."))?;
    call("umount2(\".\", MNT_DETACH)", umount2(".", MntFlags::MNT_DETACH))
}

pub fn unshare_one(flag: CloneFlags, name: &str) -> Attempt {
    call(&format!("unshare({name})"), unshare(flag))
}

/// Mounts an overlay over the four directories in `dir`, writes through it and deletes a file of
/// the lower layer: a mount that cannot record a deletion is of no use as a root.
pub fn overlay_in(dir: &Path, options: &str) -> Attempt {
    call("chdir(the store)", chdir(dir))?;
    // Relative names, because `:` and `,` in the path would end an option.
    let options = format!("lowerdir=lower,upperdir=upper,workdir=work{options}");
    mount_at("overlay", "merged", Some(&options))?;
    call("write through the overlay", fs::write("new", "new"))?;
    call("unlink through the overlay", fs::remove_file("old"))
}

/// The directories `overlay_in` wants.
pub fn overlay_dirs(dir: &Path) -> std::io::Result<()> {
    ["lower", "upper", "work", "merged"].iter().try_for_each(|name| fs::create_dir(dir.join(name)))?;
    fs::write(dir.join("lower/old"), "old")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_childs_errno_and_call_come_back() {
        let refused = Refusal { call: "open(x)".into(), errno: Errno::ENOTEMPTY };
        assert_eq!(attempt(|| Err(refused.clone())), Err(refused.clone()));
        assert_eq!(attempt(|| Ok(())), Ok(()));
    }

    #[test]
    fn a_killed_child_is_a_refusal() {
        let killed =
            attempt(|| nix::sys::signal::raise(nix::sys::signal::SIGKILL).map_err(|_| unreachable!()));
        assert_eq!(killed.unwrap_err().call, "killed by SIGKILL");
    }
}

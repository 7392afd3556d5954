//! One process's directory in /proc, and why something in it could not be read.

use anyhow::{Result, bail};
use nix::{
    errno::Errno,
    sys::{signal, statfs},
    unistd::Pid,
};
use std::{
    fs, io,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::{Path, PathBuf},
};

pub struct Proc {
    dir: PathBuf,
    pid: i32,
    own: bool,
}

impl Proc {
    /// Our own directory; the error says why /proc is of no use here.
    pub fn own() -> Result<Proc, String> {
        mounted()?;
        let dir = PathBuf::from("/proc/self");
        // A /proc of a pid namespace we are not in has no link for us.
        fs::read_link(&dir).map_err(|_| "the mounted /proc belongs to another pid namespace".to_owned())?;
        Ok(Proc { dir, pid: nix::unistd::getpid().as_raw(), own: true })
    }

    pub fn of(pid: i32) -> Result<Proc> {
        if let Err(reason) = mounted() {
            bail!("cannot look at process {pid}: {reason}; mount it with `mount -t proc proc /proc`");
        }
        let dir = PathBuf::from(format!("/proc/{pid}"));
        if dir.join("stat").exists() {
            return Ok(Proc { dir, pid, own: false });
        }
        // Signal 0 only asks whether there is someone; hidepid hides it in /proc, not from kill(2).
        match signal::kill(Pid::from_raw(pid), None) {
            Err(Errno::ESRCH) => bail!("no process {pid}"),
            _ => bail!("process {pid} is hidden from you: /proc is mounted with hidepid; try as root"),
        }
    }

    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn is_own(&self) -> bool {
        self.own
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn bytes(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(name))
    }

    pub fn text(&self, name: &str) -> io::Result<String> {
        self.bytes(name).map(|bytes| text(&bytes))
    }

    pub fn link(&self, name: &str) -> io::Result<String> {
        fs::read_link(self.path(name)).map(|target| text(&target.into_os_string().into_vec()))
    }

    /// The names in one of its directories, unsorted.
    pub fn names(&self, name: &str) -> io::Result<Vec<String>> {
        fs::read_dir(self.path(name))?
            .map(|entry| entry.map(|entry| text(entry.file_name().as_bytes())))
            .collect()
    }

    /// Clock ticks after boot at which it started: field 22 of proc_pid_stat(5).
    pub fn started(&self) -> Option<u64> {
        stat_fields(&self.text("stat").ok()?).get(19)?.parse().ok()
    }
}

/// The fields of /proc/PID/stat from the third on. The second is the name in parentheses,
/// and a name may hold spaces and parentheses itself: so from the last one.
pub fn stat_fields(stat: &str) -> Vec<&str> {
    stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default()
}

/// A directory of files an image brought along is not the kernel's word.
fn mounted() -> Result<(), String> {
    match statfs::statfs(Path::new("/proc")) {
        Ok(found) if found.filesystem_type() == statfs::PROC_SUPER_MAGIC => Ok(()),
        _ => Err("/proc is not mounted".to_owned()),
    }
}

/// Bytes of the kernel as text: what is not UTF-8 is shown as `\xff`, not dropped.
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

pub fn reason(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM) => {
            "permission denied: only its own user, or one with CAP_SYS_PTRACE, may look".to_owned()
        }
        Some(errno) => errno.to_string(),
        None => error.to_string(),
    }
}

/// An error of our own making, for `Facts::note`.
pub fn because(reason: impl Into<String>) -> io::Error {
    io::Error::other(reason.into())
}

//! A place where only so many processes and threads may be: a cgroup of the tests' own, or an ordinary user's limit.
#![allow(dead_code)]

use crate::lab;
use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

static NUMBER: AtomicUsize = AtomicUsize::new(0);

pub struct Crowd {
    /// None for an ordinary user, who can only be allowed no more than there are already.
    group: Option<PathBuf>,
}

impl Crowd {
    /// None where root has no such cgroup to make.
    pub fn new() -> Option<Crowd> {
        if !lab::is_root() {
            return Some(Crowd { group: None });
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("rubber-tests-crowd-{}-{number}", std::process::id());
        let group = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].iter().map(Path::new).find_map(|tree| {
            let group = tree.join(&name);
            fs::create_dir(&group).ok()?;
            let is_it = group.join("pids.max").exists();
            if is_it { Some(group) } else { fs::remove_dir(group).ok().and(None) }
        });
        group.map(|group| Crowd { group: Some(group) })
    }

    /// How many to try, counted with rubber itself.
    pub fn limits(&self) -> std::ops::RangeInclusive<u32> {
        if self.group.is_some() { 1..=5 } else { 0..=0 }
    }

    /// Has `command` started there.
    pub fn put(&self, command: &mut Command, most: u32) {
        match &self.group {
            Some(group) => {
                fs::write(group.join("pids.max"), most.to_string()).unwrap();
                let file = group.join("cgroup.procs");
                // SAFETY: a file is opened and written to, and nothing else happens between fork and exec.
                unsafe { command.pre_exec(move || fs::write(&file, "0")) };
            }
            None => {
                let limit = libc::rlimit { rlim_cur: most.into(), rlim_max: most.into() };
                // SAFETY: the limit is ours.
                let set = move || match unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &limit) } {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                };
                // SAFETY: setrlimit(2) is all that is called between fork and exec.
                unsafe { command.pre_exec(set) };
            }
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let begin = Instant::now();
        let Some(group) = &self.group else { return };
        while fs::remove_dir(group).is_err() && begin.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

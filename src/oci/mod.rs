//! The OCI runtime: the same layers, told what to do by a config.json, and driven by podman, containerd and others
//! through runc's command line (`rubber-oci`, or `runc`).
//!
//! A container lives in two steps here. `create` makes all of it and ends; pid 1 stays behind, ready to become the
//! command, and waits on a socket. `start` connects to that socket. No daemon keeps the two together: what is true
//! stands in the container's directory and in the kernel's tables, see `state`.

pub mod cgroup;
mod cli;
mod devices;
mod events;
mod exec;
mod facts;
mod freezer;
mod given;
mod hooks;
mod idmap;
mod label;
mod life;
mod log;
pub mod mounts;
mod namespaces;
mod notify;
mod options;
mod process;
mod properties;
mod resources;
mod root;
mod schedule;
mod spec;
mod state;
mod story;
mod systemd;
pub mod write;

pub use cli::main;

use caps::Capability;
use hooks::Hooks;
use std::{
    cell::{Cell, RefCell},
    fs::File,
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// What only a config.json can ask for. The rest of it is in `Config`, as for any container.
#[derive(Default)]
pub struct Bundle {
    pub namespaces: Vec<namespaces::Namespace>,
    pub ids: namespaces::Ids,
    pub domainname: Option<String>,
    pub mounts: Vec<mounts::Mount>,
    pub held: RefCell<mounts::Held>,
    pub nodes: Vec<devices::Node>,
    /// The root is /dev's, too, or the config.json mounts one that is filled by us.
    pub fills_dev: bool,
    /// SELinux's, of the files of new filesystems.
    pub mount_label: Option<String>,
    pub masked: Vec<PathBuf>,
    pub readonly: Vec<PathBuf>,
    /// Of the host's root before ours is put together, and of ours in the end: flags of mount(2).
    pub propagation: Option<nix::mount::MsFlags>,
    pub user: process::User,
    pub capabilities: Capabilities,
    pub schedule: schedule::Schedule,
    pub rows_and_columns: Option<(u16, u16)>,
    pub groups: Vec<cgroup::Group>,
    /// The first of them is made when there is a process to be in it: see `systemd`.
    pub by_systemd: bool,
    /// Descriptors above 2 that the command gets.
    pub preserved: u32,
    pub hooks: Hooks,
    /// Who is asked about calls, and how the host numbers who joins a container.
    pub listener: Option<notify::Listener>,
    pub pid_outside: Cell<Option<i32>>,
    /// The way to who makes us, and then to who starts us.
    pub maker: RefCell<Option<story::Maker>>,
    pub starter: RefCell<Option<UnixStream>>,
    pub door: Option<UnixListener>,
    /// Locked for as long as the command does not run: see `state`.
    pub lock: Option<File>,
}

impl Bundle {
    /// The descriptors that are needed until the command runs.
    pub fn open(&self) -> impl Iterator<Item = RawFd> {
        let starter = self.starter.borrow().as_ref().map(AsRawFd::as_raw_fd);
        let maker = self.maker.borrow().as_ref().map(story::Maker::as_raw_fd);
        let door = self.door.as_ref().map(AsRawFd::as_raw_fd);
        let lock = self.lock.as_ref().map(AsRawFd::as_raw_fd);
        let listener = self.listener.as_ref().map(notify::Listener::as_raw_fd);
        [starter, maker, door, lock, listener].into_iter().flatten()
    }
}

#[derive(Clone, Debug, Default)]
pub struct Capabilities {
    pub bounding: Vec<Capability>,
    pub effective: Vec<Capability>,
    pub permitted: Vec<Capability>,
    pub inheritable: Vec<Capability>,
    pub ambient: Vec<Capability>,
}

/// Whether we were called by a name of the OCI runtime's, or as `rubber oci`: then that word is left out.
pub fn words() -> Option<Vec<std::ffi::OsString>> {
    let mut words: Vec<_> = std::env::args_os().collect();
    let name = Path::new(words.first()?).file_name()?.to_owned();
    if name == "rubber-oci" || name == "runc" {
        return Some(words);
    }
    (words.get(1)? == "oci").then(|| {
        words.remove(0);
        words
    })
}

//! What is known of a container: a directory with its record, a lock and a door.
//!
//! The record says who it is, and is there before anything else of the container. What comes to be known of it later
//! has files of its own: `first` is its first process, and the door has its name when the container is made. Whether
//! it still waits to be started is not written down, for then somebody would have to be alive to change it: pid 1 holds
//! the lock by a descriptor that closes when it becomes the command, however that comes about. A number alone is no
//! process: with it stands when it began.

use super::{cgroup::Group, freezer, systemd::Unit};
use crate::{
    container::{find::start_time, terminal},
    sys, trust,
};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, renameat},
    sys::stat::Mode,
    unistd::{Pid, Uid},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError, read_to_string},
    io::{ErrorKind, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub version: u32,
    pub id: String,
    pub bundle: PathBuf,
    pub rootfs: PathBuf,
    pub created: String,
    pub groups: Vec<Group>,
    /// Whose groups they are, with --systemd-cgroup.
    #[serde(default)]
    pub unit: Option<Unit>,
    /// config.json, as it was when the container was made.
    pub config: Value,
}

pub const VERSION: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        }
    }
}

/// Where the containers of one `--root` are.
pub struct States(pub PathBuf);

impl States {
    /// `/run/rubber-oci`, or an ordinary user's own.
    pub fn open(root: Option<PathBuf>) -> Result<States> {
        let root = match (root, std::env::var_os("XDG_RUNTIME_DIR")) {
            (Some(root), _) => root,
            (None, Some(dir)) if !is_machines_root()? => Path::new(&dir).join("rubber-oci"),
            (None, _) => "/run/rubber-oci".into(),
        };
        Ok(States(std::path::absolute(&root).with_context(|| format!("--root {root:?}"))?))
    }

    fn dir(&self, id: &str) -> Result<PathBuf> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        let is_id = !id.is_empty() && id.len() <= 1024 && id.chars().all(is_plain) && id != "." && id != "..";
        ensure!(is_id, "{id:?} is not an id: letters, digits, and _ + - . are");
        Ok(self.0.join(id))
    }

    /// Whether there are any. Those of another user would say which programs we are to run for them.
    fn check(&self) -> Result<bool> {
        trust::directory(&self.0).context("--root")
    }

    /// Takes the id. What follows is told to others as `creating`, for as long as the lock is held.
    pub fn claim(&self, id: &str) -> Result<(PathBuf, File)> {
        let dir = self.dir(id)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .with_context(|| format!("cannot make {:?}", self.0))?;
        self.check()?;
        match DirBuilder::new().mode(0o700).create(&dir) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                bail!("container with given ID already exists: {id} (delete it, or take another)")
            }
            made => made.with_context(|| format!("cannot make {dir:?}"))?,
        }
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(dir.join("lock"))?;
        // With flock(2): it is whoever has the open file's, and goes with the last of them.
        file.lock().context("flock(LOCK_EX)")?;
        Ok((dir, file))
    }

    pub fn find(&self, id: &str) -> Result<Container> {
        let dir = self.dir(id)?;
        if !self.check()? || !trust::directory_itself(&dir)? {
            bail!("container does not exist: {id} (there is none in {:?})", self.0)
        }
        let file = dir.join("record");
        let bytes = trust::read(&file)?.with_context(|| format!("there is no {file:?} (yet)"))?;
        let record: Record =
            serde_json::from_slice(&bytes).with_context(|| format!("{file:?} is damaged"))?;
        ensure!(record.version == VERSION, "{file:?} was written by another version of rubber");
        let first = read_first(&dir)?;
        Ok(Container { record, first, dir })
    }

    pub fn all(&self) -> Result<Vec<Container>> {
        if !self.check()? {
            return Ok(vec![]);
        }
        let entries = fs::read_dir(&self.0).with_context(|| format!("cannot read {:?}", self.0))?;
        let mut ids = entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>>>()?;
        ids.sort();
        // One may come or go meanwhile.
        Ok(ids.iter().filter_map(|id| self.find(id).ok()).collect())
    }

    /// What is left of one that was killed before it had a record. None where there is nothing.
    pub fn remains(&self, id: &str) -> Result<Option<PathBuf>> {
        let dir = self.dir(id)?;
        if !self.check()? || !trust::directory_itself(&dir)? {
            return Ok(None);
        }
        ["record", "first"].iter().try_for_each(|name| trust::read(&dir.join(name)).map(drop))?;
        Ok((!is_locked(&dir)).then_some(dir))
    }
}

/// And not one that only seems so, in a user namespace, where podman has an ordinary user's: user_namespaces(7).
pub fn is_machines_root() -> Result<bool> {
    let map = read_to_string("/proc/self/uid_map").context("cannot read /proc/self/uid_map")?;
    Ok(Uid::effective().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"]))
}

#[derive(Debug)]
pub struct Container {
    pub record: Record,
    /// Pid 1 as the host sees it, and when it began (proc_pid_stat(5), field 22).
    pub first: Option<(i32, u64)>,
    pub dir: PathBuf,
}

impl Container {
    /// Writes the record: whole, or not at all.
    pub fn save(&self) -> Result<()> {
        replace(&self.dir.join("record"), &serde_json::to_vec(&self.record)?)
    }

    pub fn begin(&mut self, pid: i32) -> Result<()> {
        let began = start_time(pid).context("the container's first process has just ended")?;
        self.first = Some((pid, began));
        replace(&self.dir.join("first"), format!("{pid} {began}").as_bytes())
    }

    pub fn status(&self) -> Status {
        let is_locked = is_locked(&self.dir);
        match self.alive() {
            None if is_locked && self.first.is_none() => Status::Creating,
            None => Status::Stopped,
            Some(_) if is_locked && !has_door(&self.dir) => Status::Creating,
            Some(_) if is_locked => Status::Created,
            Some(_) if freezer::is_paused(&self.record.groups) => Status::Paused,
            Some(_) => Status::Running,
        }
    }

    /// Pid 1, while it lives. (One that has ended and is not collected yet does not.)
    pub fn alive(&self) -> Option<Pid> {
        let (pid, began) = self.first?;
        let stat = stat(pid)?;
        let is_dead = stat.first()?.starts_with(['Z', 'X']);
        (stat.get(19)?.parse() == Ok(began) && !is_dead).then_some(Pid::from_raw(pid))
    }

    /// Whether pid 1 is on its way out: PF_EXITING, of the flags that are field 9 in proc_pid_stat(5).
    pub fn is_ending(&self) -> bool {
        const PF_EXITING: u64 = 4;
        let Some(pid) = self.alive() else { return true };
        let flags = stat(pid.as_raw()).and_then(|stat| stat.get(6)?.parse::<u64>().ok());
        flags.is_none_or(|flags| flags & PF_EXITING != 0)
    }

    /// Held, so that its number cannot become another's.
    pub fn pidfd(&self) -> Result<Option<(Pid, OwnedFd)>> {
        let Some(pid) = self.alive() else { return Ok(None) };
        let pidfd = match sys::pidfd_open(pid) {
            Err(error) if error.downcast_ref() == Some(&Errno::ESRCH) => return Ok(None),
            opened => opened?,
        };
        Ok(self.alive().map(|pid| (pid, pidfd)))
    }

    /// As `state` prints it and hooks read it: runtime.md, "State".
    pub fn state(&self, status: Status) -> Value {
        let record = &self.record;
        let pid = match status {
            Status::Stopped => 0,
            _ => self.first.map_or(0, |(pid, _)| pid),
        };
        let owner = fs::metadata(&self.dir).map(|about| about.uid()).unwrap_or_default();
        json!({
            "ociVersion": record.config["ociVersion"],
            "id": record.id,
            "pid": pid,
            "status": status.name(),
            "bundle": record.bundle,
            "rootfs": record.rootfs,
            "created": record.created,
            "owner": owner.to_string(),
            "annotations": record.config.get("annotations").filter(|all| !all.is_null()).unwrap_or(&json!({})),
        })
    }

    pub fn remove(&self) -> Result<()> {
        remove(&self.dir)
    }
}

pub fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {dir:?}"))
        }
        _ => Ok(()),
    }
}

fn is_locked(dir: &Path) -> bool {
    // Shared, so that two who ask do not answer each other.
    let Ok(file) = File::open(dir.join("lock")) else { return false };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

fn read_first(dir: &Path) -> Result<Option<(i32, u64)>> {
    let Some(bytes) = trust::read(&dir.join("first"))? else { return Ok(None) };
    let text = String::from_utf8(bytes)?;
    let parse = || Some((text.split_once(' ')?.0.parse().ok()?, text.split_once(' ')?.1.parse().ok()?));
    let numbers =
        parse().with_context(|| format!("{:?} is damaged: two numbers are not in it", dir.join("first")))?;
    Ok(Some(numbers))
}

/// The fields of proc_pid_stat(5) from the third on, its state. Before it is its name, with anything in it.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(text.rsplit_once(") ")?.1.split_whitespace().map(str::to_owned).collect())
}

/// Where pid 1 waits. It has its name when all is done that can be done before the start.
pub fn make_door(dir: &Path) -> Result<UnixListener> {
    let (_directory, name) = in_directory(dir, "door.new")?;
    UnixListener::bind(name).context("cannot make the socket that start connects to")
}

pub fn open_door(dir: &Path) -> Result<()> {
    Ok(fs::rename(dir.join("door.new"), dir.join("door"))?)
}

fn has_door(dir: &Path) -> bool {
    dir.join("door").exists()
}

pub fn knock(dir: &Path) -> std::io::Result<UnixStream> {
    let (_directory, name) = in_directory(dir, "door").map_err(std::io::Error::other)?;
    UnixStream::connect(name)
}

/// The name of a socket has 107 bytes at most, and a directory's can be longer: so it is called by its descriptor.
fn in_directory(dir: &Path, name: &str) -> Result<(OwnedFd, PathBuf)> {
    let directory = sys::open_directory(dir)?;
    let name = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    Ok((directory, name.into()))
}

/// Where a number is to be written, held while the host's names are in reach.
pub struct PidFile(OwnedFd, PathBuf);

impl PidFile {
    pub fn open(file: &Path) -> Result<PidFile> {
        let name = file.file_name().with_context(|| format!("--pid-file {file:?} is not a file's name"))?;
        let above = file.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(PidFile(sys::open_directory(above).context("--pid-file")?, name.into()))
    }

    pub fn write(&self, pid: Pid) -> Result<()> {
        let PidFile(directory, name) = self;
        let mut new = name.clone().into_os_string();
        new.push(".new");
        let write = || -> Result<()> {
            let flags =
                OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_WRONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
            let file = openat(directory, new.as_os_str(), flags, Mode::from_bits_truncate(0o644))?;
            File::from(file).write_all(pid.to_string().as_bytes())?;
            Ok(renameat(directory, new.as_os_str(), directory, name)?)
        };
        write().with_context(|| format!("cannot write --pid-file {name:?}"))
    }
}

/// Who wants to hold a process gets its pidfd there.
pub struct PidfdSocket(UnixStream);

impl PidfdSocket {
    pub fn open(socket: &Path) -> Result<PidfdSocket> {
        let stream = UnixStream::connect(socket).with_context(|| format!("--pidfd-socket {socket:?}"))?;
        Ok(PidfdSocket(stream))
    }

    pub fn send(&self, pid: Pid) -> Result<()> {
        terminal::send(&self.0, &File::from(sys::pidfd_open(pid)?)).context("--pidfd-socket")
    }
}

/// By a new file that takes the old one's name.
fn replace(file: &Path, content: &[u8]) -> Result<()> {
    let mut name = file.file_name().context("a file has a name")?.to_owned();
    name.push(".new");
    let new = file.with_file_name(name);
    let write = || {
        let mut to = OpenOptions::new().create(true).truncate(true).write(true).mode(0o644).open(&new)?;
        to.write_all(content)?;
        fs::rename(&new, file)
    };
    write().with_context(|| format!("cannot write {file:?}"))
}

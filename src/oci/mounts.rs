//! The mounts of a config.json, in its order. As volumes are: all is taken hold of while the host's names are in
//! reach, and put in place when none of them is.

use super::{idmap::Shown, label};
use crate::{
    config::Config,
    image,
    layers::masks,
    place::{Kind, by_number, is, is_directory, is_root, not_proc, open, place as find},
    sys::{self, mounts::*},
};
use anyhow::{Context, Error, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    mount::{MntFlags, MsFlags},
    sys::stat::{Mode, fchmod, fstat},
};
use std::{
    collections::VecDeque,
    ffi::OsStr,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

#[derive(Clone, Debug)]
pub struct Mount {
    pub what: What,
    pub target: PathBuf,
    pub how: How,
}

type Options = [(String, Option<String>)];

#[derive(Clone, Debug)]
pub enum What {
    /// Of the host's, with all that is mounted below, or without.
    Tree(PathBuf),
    Bind(PathBuf),
    /// One that the kernel makes: its type, its source, and its own options.
    New {
        fstype: String,
        source: String,
        options: Vec<(String, Option<String>)>,
    },
    /// A link, in a directory that is mounted before: what it says.
    Link(String),
    /// What is mounted there already, with other attributes and options of its filesystem: `remount`.
    Again(Vec<(String, Option<String>)>),
}

/// What is set and cleared at this mount alone, and at all below it, too.
#[derive(Clone, Debug, Default)]
pub struct How {
    pub set: u64,
    pub clear: u64,
    pub set_below: u64,
    pub clear_below: u64,
    /// As in mount(2): MS_PRIVATE and the like; and for all below it.
    pub spread: Option<u64>,
    pub spread_below: Option<u64>,
    /// It begins with a copy of what the root has in its place.
    pub copies_up: bool,
    /// With ids of its own.
    pub shown: Option<Shown>,
}

/// What is held until it is in its place.
#[derive(Default)]
pub struct Held {
    trees: VecDeque<OwnedFd>,
    /// Those with ids of their own, which are taken hold of outside.
    pub shown: VecDeque<OwnedFd>,
    /// What masks files.
    pub null: Option<OwnedFd>,
}

pub fn hold(config: &Config) -> Result<()> {
    // What devices are there for who may not make any is looked for from here.
    sys::chdir(Path::new("/"))?;
    let mut held = config.bundle.held.borrow_mut();
    for mount in &config.bundle.mounts {
        if mount.how.shown.is_some() {
            let tree = held.shown.pop_front().context("nobody has taken hold of it outside")?;
            held.trees.push_back(tree);
        } else if let Some(tree) = take(config, &mount.what).with_context(|| describe(mount))? {
            held.trees.push_back(tree);
        }
    }
    held.null = masks::hold(config)?;
    Ok(())
}

fn take(config: &Config, what: &What) -> Result<Option<OwnedFd>> {
    let open = |source: &Path| {
        nix::fcntl::open(source, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .with_context(|| format!("open({source:?})"))
    };
    match what {
        What::Tree(source) => open_tree(open(source)?.as_fd(), "").map(Some),
        What::Bind(source) => open_tree_alone(open(source)?.as_fd()).map(Some),
        What::New { fstype, source, options } if is_long(source, options) => {
            long(config, fstype, source, options).map(Some)
        }
        What::New { fstype, source, options } => {
            let filesystem = fsopen(fstype)?;
            if !source.is_empty() {
                fsconfig_set(&filesystem, "source", source)?;
            }
            configure(&filesystem, options)?;
            fsconfig_create(&filesystem)?;
            let tree = fsmount(&filesystem, 0)?;
            label::on_root(&tree, fstype, config.bundle.mount_label.as_ref())?;
            Ok(Some(tree))
        }
        What::Link(_) | What::Again(_) => Ok(None),
    }
}

fn configure(filesystem: &OwnedFd, options: &Options) -> Result<()> {
    options.iter().try_for_each(|(key, value)| match value {
        Some(value) => fsconfig_set(filesystem, key, value),
        None => fsconfig_flag(filesystem, key),
    })
}

/// fsconfig(2) takes 255 bytes at a time, and the layers of an overlay are longer.
fn is_long(source: &str, options: &Options) -> bool {
    let is_long = |text: &str| text.len() > 255;
    is_long(source) || options.iter().any(|(_, value)| value.as_deref().is_some_and(is_long))
}

/// The old way, for a moment over the root that is to be.
fn long(config: &Config, fstype: &str, source: &str, options: &Options) -> Result<OwnedFd> {
    let word = |(key, value): &(String, Option<String>)| match value {
        // An SELinux label has commas of its own.
        Some(value) if key.ends_with("context") => format!("{key}=\"{value}\""),
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    };
    let data = options.iter().map(word).collect::<Vec<_>>().join(",");
    let (root, data) = (&config.dir, Some(OsStr::new(&data)));
    sys::mount(Some(Path::new(source)), root, Some(fstype), MsFlags::empty(), data)?;
    let tree = open_tree_alone(sys::open_directory(root)?.as_fd())?;
    sys::umount2(root.to_str().context("the root's name is not UTF-8")?, MntFlags::MNT_DETACH)?;
    Ok(tree)
}

/// A new filesystem with nothing in it, and without options but SELinux's.
pub fn empty(fstype: &str, label: Option<&String>, attributes: u64) -> Result<OwnedFd> {
    let filesystem = fsopen(fstype)?;
    if let Some(label) = label {
        fsconfig_set(&filesystem, "context", label)?;
    }
    fsconfig_create(&filesystem)?;
    fsmount(&filesystem, attributes)
}

pub fn place(config: &Config) -> Result<()> {
    let root = sys::open_directory(Path::new("/"))?;
    let mut trees = std::mem::take(&mut config.bundle.held.borrow_mut().trees);
    for mount in &config.bundle.mounts {
        one(&root, mount, &mut trees).with_context(|| describe(mount))?;
    }
    Ok(())
}

fn one(root: &OwnedFd, mount: &Mount, trees: &mut VecDeque<OwnedFd>) -> Result<()> {
    match &mount.what {
        What::Link(text) => return link(root, text, &mount.target),
        What::Again(options) => return again(root, mount, options),
        _ => {}
    }
    let tree = trees.pop_front().context("nobody has taken hold of its source")?;
    let kind = if is_directory(&tree)? { Kind::Directory } else { Kind::File };
    let place = find(root, &mount.target, kind)?;
    if let What::New { fstype, .. } = &mount.what {
        ensure_plain(root, fstype, &mount.target)?;
    }
    if mount.how.copies_up {
        copy_up(root, &place, &tree)?;
    }
    attributes(&tree, &mount.how)?;
    move_mount(&tree, &place)
}

/// What is not said stays as it is. `ro` is the mount's: the filesystem may be the host's, and then it is that one's, too.
fn again(root: &OwnedFd, mount: &Mount, options: &Options) -> Result<()> {
    let place = open(root, &mount.target)?;
    if !options.is_empty() {
        let filesystem = fspick(&place).map_err(no_mount)?;
        configure(&filesystem, options)?;
        fsconfig_reconfigure(&filesystem)?;
    }
    attributes(&place, &mount.how).map_err(no_mount)
}

fn no_mount(error: Error) -> Error {
    match is(&error, Errno::EINVAL) {
        true => error.context("remount: is anything mounted there, by an entry before this one?"),
        false => error,
    }
}

/// A link in the root would have /proc somewhere else, and what hides parts of it in the wrong place.
fn ensure_plain(root: &OwnedFd, fstype: &str, target: &Path) -> Result<()> {
    if ["proc", "sysfs"].contains(&fstype) {
        let below = target.strip_prefix("/")?;
        let itself = openat_nofollow(root, below.as_os_str()).and_then(not_proc)?;
        ensure!(is_directory(&itself)?, "it is a link in the root, where {fstype} needs a directory");
    }
    Ok(())
}

/// All below first: what is said of the mount itself has the last word.
fn attributes(tree: &OwnedFd, how: &How) -> Result<()> {
    let change = |recursive, set, clear, spread: Option<u64>| match (set, clear, spread.unwrap_or(0)) {
        (0, 0, 0) => Ok(()),
        (set, clear, spread) => mount_setattr_and_clear(tree, recursive, [set, clear, spread]),
    };
    change(true, how.set_below, how.clear_below, how.spread_below)?;
    change(false, how.set, how.clear, how.spread)
}

fn link(root: &OwnedFd, text: &str, target: &Path) -> Result<()> {
    let (Some(above), Some(name)) = (target.parent(), target.file_name().and_then(|name| name.to_str()))
    else {
        bail!("a link has a name");
    };
    symlinkat(text, &find(root, above, Kind::Directory)?, name)
}

/// `tmpcopyup`: and the directory's mode, as it takes its place.
fn copy_up(root: &OwnedFd, place: &OwnedFd, tree: &OwnedFd) -> Result<()> {
    let is_files = !is_root(root, place)? && !image::pack::is_kernels(place);
    ensure!(is_files, "tmpcopyup: a link of the root's leads to / or to what the kernel shows of itself");
    sys::many_calls("copy what the root has there into it", || {
        image::copy(&[by_number(place)?], &by_number(tree)?)
    })?;
    let directory = openat2_in_root(tree.as_fd(), Path::new("."), OFlag::O_RDONLY)?;
    Ok(fchmod(&directory, Mode::from_bits_truncate(fstat(place)?.st_mode & 0o7777))?)
}

fn describe(mount: &Mount) -> String {
    let target = &mount.target;
    match &mount.what {
        What::Tree(source) | What::Bind(source) => format!("{source:?} at {target:?}"),
        What::New { fstype, .. } => format!("{fstype} at {target:?}"),
        What::Link(text) => format!("a link to {text:?} at {target:?}"),
        What::Again(_) => format!("{target:?}"),
    }
}

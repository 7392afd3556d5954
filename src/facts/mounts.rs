//! The mounts a process sees, and its root directory.

use super::{Facts, Root, proc::Proc};
use nix::sys::statfs::{self, FsType};
use serde::{Deserialize, Serialize};
use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mount {
    pub id: u32,
    pub parent: u32,
    pub device: String,
    /// The directory of its filesystem that is mounted: not `/` for a bind mount.
    pub root: String,
    pub target: String,
    pub options: String,
    /// `private`, `shared`, `slave`, `shared,slave` or `unbindable`.
    pub propagation: String,
    pub fstype: String,
    pub source: String,
    /// Options of the filesystem rather than of this mount of it.
    pub super_options: String,
}

pub fn read(proc: &Proc, facts: &mut Facts) {
    facts.mounts = facts.note("mounts", proc.text("mountinfo").map(|table| parse(&table)));
    facts.root = facts.note("root", root(&proc.path("root")));
    let path = facts.note("root.path", proc.link("root"));
    if let Some(root) = &mut facts.root {
        root.path = path;
        // The table knows more filesystems than we do, but after chroot(2) the root need not be in it.
        let mount = facts.mounts.iter().flatten().find(|mount| mount.device == root.device);
        root.fstype = mount.map(|mount| mount.fstype.clone()).or(root.fstype.take());
    }
    facts.cwd = facts.note("cwd", proc.link("cwd"));
    // Behind this link is the process's root, so this is the /dev it sees.
    facts.count.devices = facts.note("count.devices", devices(&proc.path("root/dev")));
}

pub fn root(path: &Path) -> io::Result<Root> {
    let found = fs::metadata(path)?;
    let device = format!("{}:{}", libc::major(found.dev()), libc::minor(found.dev()));
    Ok(Root { path: None, device, inode: found.ino(), fstype: fstype(path) })
}

/// Of the filesystem a path is on, where it is one of the usual ones.
fn fstype(path: &Path) -> Option<String> {
    const NAMES: &[(FsType, &str)] = &[
        (statfs::EXT4_SUPER_MAGIC, "ext4"),
        (statfs::XFS_SUPER_MAGIC, "xfs"),
        (statfs::BTRFS_SUPER_MAGIC, "btrfs"),
        (statfs::OVERLAYFS_SUPER_MAGIC, "overlay"),
        (statfs::TMPFS_MAGIC, "tmpfs"),
        (statfs::NFS_SUPER_MAGIC, "nfs"),
        (statfs::FUSE_SUPER_MAGIC, "fuse"),
    ];
    let found = statfs::statfs(path).ok()?.filesystem_type();
    NAMES.iter().find(|(magic, _)| *magic == found).map(|(_, name)| (*name).to_owned())
}

/// How many device nodes there are; no /dev is no devices.
pub fn devices(dev: &Path) -> io::Result<usize> {
    use std::os::unix::fs::FileTypeExt;
    let entries = match fs::read_dir(dev) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let is_device = |kind: fs::FileType| kind.is_char_device() || kind.is_block_device();
    Ok(entries.flatten().filter(|entry| entry.file_type().is_ok_and(is_device)).count())
}

pub fn parse(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(parse_line).collect()
}

/// One line of proc_pid_mountinfo(5): six fields, any number of tags, a dash, three fields.
fn parse_line(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ');
    let mut after = after.splitn(3, ' ');
    Some(Mount {
        id: before.next()?.parse().ok()?,
        parent: before.next()?.parse().ok()?,
        device: before.next()?.to_owned(),
        root: unescape(before.next()?),
        target: unescape(before.next()?),
        options: before.next()?.to_owned(),
        propagation: propagation(before.collect()),
        fstype: unescape(after.next()?),
        source: unescape(after.next()?),
        super_options: unescape(after.next().unwrap_or_default()),
    })
}

fn propagation(tags: Vec<&str>) -> String {
    let has = |kind: &str| tags.iter().any(|tag| tag.split(':').next() == Some(kind));
    let word = match (has("shared"), has("master"), has("unbindable")) {
        (true, true, _) => "shared,slave",
        (true, false, _) => "shared",
        (false, true, _) => "slave",
        (false, false, true) => "unbindable",
        (false, false, false) => "private",
    };
    word.to_owned()
}

/// The kernel writes a space in a path as `\040`, and so for tab, newline and backslash.
fn unescape(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut rest = field;
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let octal = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal.filter(u8::is_ascii) {
            Some(byte) => text.push(byte.into()),
            None => text.push('\\'),
        }
        rest = if octal.is_some_and(|byte| byte.is_ascii()) { &after[3..] } else { after };
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_space_and_two_tags() {
        let line = r"36 35 98:0 /a\040b /mnt\134x rw,noatime shared:7 master:1 - ext3 /dev/root rw";
        let mount = parse_line(line).unwrap();
        assert_eq!((mount.root.as_str(), mount.target.as_str()), ("/a b", r"/mnt\x"));
        assert_eq!((mount.propagation.as_str(), mount.fstype.as_str()), ("shared,slave", "ext3"));
    }

    #[test]
    fn a_broken_line_is_left_out() {
        assert_eq!(parse("1 2 nonsense\n\n9 - x\n"), []);
    }
}

//! The store: the directory that holds images and containers, and the overlay made in it.

use super::{
    Finding,
    host::{Here, Power, read},
    ids::in_path,
    limited,
    namespaces::{forbidden, try_it, upgrade},
    no, ok,
    probe::{self, Attempt, Refusal},
};
use nix::{
    errno::Errno,
    sys::{
        statfs::{FsType, OVERLAYFS_SUPER_MAGIC, Statfs, statfs},
        statvfs::FsFlags,
    },
    unistd::{AccessFlags, access},
};
use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Less than this holds no image worth the name.
const LEAST: u64 = 256 << 20;

pub fn directory(here: &Here) -> Finding {
    let (store, there) = (here.store.display(), existing(&here.store));
    if !there.is_dir() {
        return no(format!("{} is not a directory", there.display()), elsewhere(here));
    }
    let tried = probe_dir(&there).map(drop);
    let Ok(filesystem) = statfs(&there) else {
        return no(format!("{store} cannot be reached"), elsewhere(here));
    };
    let free = filesystem.blocks_available().saturating_mul(filesystem.block_size().max(0) as u64);
    let kind = name_of(filesystem.filesystem_type());
    let found = format!("{store} on {kind}{}, {} free", marks(&filesystem), size(free));
    if let Err(error) = tried {
        return no(format!("{}; {found}", not_writable(&there, &error)), elsewhere(here));
    }
    if filesystem.flags().contains(FsFlags::ST_NOEXEC) {
        // "bind": the flag is the mount's, and the filesystem's own options need not be repeated.
        let at = mount_point(&read("/proc/self/mountinfo"), &there);
        let fix = format!("{}mount -o remount,bind,exec {}", here.sudo(), at.display());
        return limited(format!("no program can start from it; {found}"), fix);
    }
    match filesystem.blocks() {
        0 => ok(found), // some network filesystems count nothing
        _ if free == 0 => no(format!("{} is full; {found}", there.display()), elsewhere(here)),
        _ if free < LEAST => limited(format!("{} is nearly full; {found}", there.display()), elsewhere(here)),
        _ => ok(found),
    }
}

/// access(2) knows neither quotas nor pseudo filesystems: a directory is made and removed.
fn probe_dir(there: &Path) -> std::io::Result<ProbeDir> {
    tempfile::Builder::new().prefix(".rubber-doctor-").tempdir_in(there).map(ProbeDir)
}

fn not_writable(there: &Path, error: &std::io::Error) -> String {
    let there = there.display();
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => format!("{there} is on a read-only filesystem"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => format!("{there} is full"),
        ErrorKind::PermissionDenied => format!("{there} is not yours to write"),
        kind => format!("nothing can be made in {there}: {kind}"),
    }
}

/// The nearest part of the path that is there: an examination makes no store.
fn existing(store: &Path) -> PathBuf {
    let absolute = std::path::absolute(store).unwrap_or(store.to_path_buf());
    absolute.ancestors().find(|path| path.symlink_metadata().is_ok()).unwrap_or(Path::new("/")).to_path_buf()
}

/// Another place for the store: one that fits, if there is one.
fn elsewhere(here: &Here) -> String {
    let places = mounts_that_carry_overlays(&read("/proc/self/mountinfo"));
    let usable =
        |place: &&PathBuf| access(place.as_path(), AccessFlags::W_OK).is_ok() && !place.starts_with("/boot");
    match (places.iter().find(usable), &here.container) {
        (Some(place), _) => format!("rubber --root {} run …", place.join("rubber").display()),
        (None, Some(container)) => format!("{} -v rubber:{} …", container.engine, here.store.display()),
        (None, None) => "rubber --root /dev/shm/rubber run …   # in memory, until the next boot".into(),
    }
}

/// The mount points of filesystems that an overlay can have as its upper layer.
fn mounts_that_carry_overlays(mountinfo: &str) -> Vec<PathBuf> {
    let fits = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(4);
        let (at, options) = (before.next()?, before.next()?);
        let writable = options.split(',').all(|option| option != "ro" && option != "noexec");
        let fstype = after.split(' ').next()?;
        (writable && ["ext4", "xfs", "btrfs", "f2fs"].contains(&fstype)).then(|| PathBuf::from(unescape(at)))
    };
    // An entry whose root is a file is a bind mount of that file: no place for a directory.
    mountinfo.lines().filter_map(fits).filter(|at| at.is_dir()).collect()
}

/// The mount point that `path` lies below.
fn mount_point(mountinfo: &str, path: &Path) -> PathBuf {
    let points = mountinfo.lines().filter_map(|line| Some(PathBuf::from(unescape(line.split(' ').nth(4)?))));
    points.filter(|at| path.starts_with(at)).max_by_key(|at| at.as_os_str().len()).unwrap_or("/".into())
}

/// mountinfo writes space, tab, newline and backslash in octal.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

/// The mount's flags that a container would notice.
fn marks(filesystem: &Statfs) -> String {
    let known = [
        (FsFlags::ST_NOEXEC, "noexec"),
        (FsFlags::ST_NOSUID, "nosuid (setuid programs gain nothing)"),
        (FsFlags::ST_NODEV, "nodev (its device nodes cannot be opened)"),
    ];
    known
        .iter()
        .filter(|(flag, _)| filesystem.flags().contains(*flag))
        .map(|(_, name)| format!(", {name}"))
        .collect()
}

/// Names for statfs(2) numbers; not all that exist, just those worth naming here.
fn name_of(magic: FsType) -> String {
    let names = [
        (0xEF53, "ext4"),
        (0x5846_5342, "xfs"),
        (0x9123_683E, "btrfs"),
        (0xF2F5_2010, "f2fs"),
        (0x0102_1994, "tmpfs"),
        (0x794C_7630, "overlayfs"),
        (0x6969, "nfs"),
        (0x2FC1_2FC1, "zfs"),
        (0x6573_5546, "fuse"),
        (0x0102_1997, "9p"),
        (0x7371_7368, "squashfs"),
        (0xCA45_1A4E, "bcachefs"),
        (0x8584_58F6, "ramfs"),
        (0x4D44, "vfat"),
    ];
    let magic = magic.0 as u32; // its type is another on every platform, the number is not
    names
        .iter()
        .find(|(number, _)| *number == magic)
        .map_or(format!("filesystem {magic:#x}"), |(_, name)| (*name).into())
}

fn size(bytes: u64) -> String {
    match bytes {
        0..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

/// Mounts one on the store's filesystem; where that cannot carry the upper layer, on a tmpfs.
pub fn overlay(here: &Here) -> Finding {
    let there = existing(&here.store);
    // Where the store cannot be written the answer for a tmpfs is still worth having.
    let Ok(dir) = probe_dir(&there) else {
        return on_tmpfs(here, "not tried in the store, which is not writable");
    };
    if let Err(error) = probe::overlay_dirs(dir.0.path()) {
        return on_tmpfs(here, &format!("not tried in the store: {error}"));
    }
    let mount = || {
        probe::leave_mounts()?;
        probe::overlay_in(dir.0.path(), options(here))
    };
    let kind = statfs(&there).map_or(FsType(0), |filesystem| filesystem.filesystem_type());
    try_it(
        here,
        mount,
        &format!("mounted on {}{}", name_of(kind), options(here).replace(',', " with ")),
        |refusal| match kind {
            _ if refusal.errno == Errno::ENODEV => unknown(here, refusal),
            OVERLAYFS_SUPER_MAGIC => {
                on_tmpfs(here, &format!("the store lies on an overlay itself ({refusal})"))
            }
            kind => on_tmpfs(here, &format!("{} does not carry one ({refusal})", name_of(kind))),
        },
    )
}

/// In a user namespace the overlay's notes must be attributes that users may write.
fn options(here: &Here) -> &'static str {
    if let Power::Admin = here.power
        && here.first_user_namespace
    {
        ""
    } else {
        ",userxattr"
    }
}

fn unknown(here: &Here, refusal: &Refusal) -> Finding {
    let dep = read(format!("/lib/modules/{}/modules.dep", here.kernel));
    if dep.contains("/overlay.ko") {
        return no(
            format!("the kernel's module is not loaded; {refusal}"),
            format!("{}modprobe overlay", here.sudo()),
        );
    }
    no(format!("this kernel has no overlay; {refusal}"), upgrade(here))
}

fn on_tmpfs(here: &Here, why: &str) -> Finding {
    let mount = || -> Attempt {
        probe::leave_mounts()?;
        probe::mount_tmpfs()?;
        probe::call("mkdir(four directories)", probe::overlay_dirs(Path::new(".")))?;
        probe::overlay_in(Path::new("."), options(here))
    };
    let finding = try_it(here, mount, "", |refusal| match refusal.errno {
        Errno::ENODEV => unknown(here, refusal),
        _ => forbidden(here, refusal),
    });
    match finding.state {
        super::State::Ok => {
            limited(format!("{why}; rubber then uses a tmpfs, which is memory"), elsewhere(here))
        }
        _ => finding,
    }
}

/// The directories of the try, gone when this is.
struct ProbeDir(TempDir);

impl Drop for ProbeDir {
    /// overlay makes `work/work` with mode 0: without CAP_DAC_OVERRIDE not even its owner can empty
    /// it then, and it is not empty after a deletion.
    fn drop(&mut self) {
        for name in ["work", "index"] {
            let made = self.0.path().join("work").join(name);
            let _ = fs::set_permissions(made, fs::Permissions::from_mode(0o700));
        }
    }
}

/// Whether mounts made here show elsewhere; rubber cuts this in its own mount namespace.
pub fn propagation(_: &Here) -> Finding {
    ok(match propagation_of_root(&read("/proc/self/mountinfo")) {
        Some("shared") => "shared; without MS_PRIVATE a container's mounts would show on the host",
        Some("slave") => "slave; the host's mounts come in, ours do not go out",
        Some(_) => "private; elsewhere, with systemd, it is shared",
        None => "/ is not a mount point, as in a chroot",
    })
}

/// The optional fields of the topmost mount at `/`.
fn propagation_of_root(mountinfo: &str) -> Option<&'static str> {
    let root = mountinfo.lines().rfind(|line| line.split(' ').nth(4) == Some("/"))?;
    let fields: Vec<_> = root.split(' ').skip(6).take_while(|field| *field != "-").collect();
    let has = |name| fields.iter().any(|field| field.starts_with(name));
    Some(if has("shared:") {
        "shared"
    } else if has("master:") {
        "slave"
    } else {
        "private"
    })
}

/// The busybox image is made from this machine's; it must run without any library.
pub fn busybox(here: &Here) -> Finding {
    let install = match here.distribution.packages {
        Some(packages) => format!("{}{} {}", here.sudo(), packages.install, packages.busybox),
        None => "# install a statically linked busybox".into(),
    };
    let found: Vec<_> =
        ["busybox", "busybox.static", "busybox-static"].iter().filter_map(|name| in_path(name)).collect();
    let is = |file: &&PathBuf| fs::read(file).is_ok_and(|bytes| is_static(&bytes).unwrap_or(false));
    match (found.iter().find(is), found.first()) {
        (Some(file), _) => ok(file.display().to_string()),
        (None, Some(file)) => limited(format!("{} is linked to libraries", file.display()), install),
        (None, None) => limited("not installed; the busybox image must be pulled", install),
    }
}

/// An ELF program without an interpreter needs no library: see elf(5). None for anything else.
fn is_static(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u64 = 3;
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = elf.get(at..at.checked_add(length)?)?;
        let byte = |sum, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if elf[5] == 1 { bytes.iter().rev().fold(0, byte) } else { bytes.iter().fold(0, byte) })
    };
    let wide = elf.starts_with(b"\x7fELF").then(|| elf.get(4) == Some(&2))?;
    let (table, size, count) = match wide {
        true => (number(32, 8)?, number(54, 2)?, number(56, 2)?),
        false => (number(28, 4)?, number(42, 2)?, number(44, 2)?),
    };
    let mut types = (0..count).map(|n| number(usize::try_from(table.checked_add(n * size)?).ok()?, 4));
    Some(!types.any(|kind| kind.is_none_or(|kind| kind == PT_INTERP)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_root_decides_and_a_chroot_has_none() {
        let both = "1 0 8:1 / / rw shared:1 - ext4 a rw\n2 1 8:1 / / rw master:1 - ext4 a rw\n";
        assert_eq!(propagation_of_root(both), Some("slave"));
        assert_eq!(propagation_of_root("1 0 8:1 / / rw - ext4 a rw"), Some("private"));
        assert_eq!(propagation_of_root("1 0 8:1 / /proc rw - proc p rw"), None);
    }

    #[test]
    fn the_longest_mount_point_holds_the_path() {
        let text = "1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /a\\040b rw - ext4 a rw\n";
        assert_eq!(mount_point(text, Path::new("/a b/c")), Path::new("/a b"));
        assert_eq!(mount_point(text, Path::new("/a")), Path::new("/"));
    }

    #[test]
    fn what_is_no_program_is_neither_static_nor_not() {
        assert_eq!(is_static(b"#!/bin/sh\n"), None);
        assert_eq!(is_static(b"\x7fELF"), None);
        let program = fs::read("/proc/self/exe").expect("the test itself");
        assert_eq!(is_static(&program), Some(cfg!(target_feature = "crt-static")));
    }
}

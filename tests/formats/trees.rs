//! What a container sees is what podman shows of the same image, entry by entry, with all that is known of each.

use crate::{
    lab, layout,
    place::{NOBODY, Place},
    podman,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};
use tar::{Builder, EntryType, Header};

/// Where the container has what is its own, not the image's.
const OWN: [&str; 6] = ["proc", "sys", "dev", "etc/hosts", "etc/hostname", "etc/resolv.conf"];

/// Everything below `root`, one line of facts for each name.
fn facts(root: &Path) -> Facts {
    let mut found = BTreeMap::new();
    let mut links: HashMap<u64, Vec<PathBuf>> = HashMap::new();
    let mut open = vec![PathBuf::new()];
    while let Some(path) = open.pop() {
        let full = root.join(&path);
        if OWN.iter().any(|own| path == Path::new(own)) {
            continue;
        }
        let about = fs::symlink_metadata(&full).unwrap();
        let kind = about.file_type();
        let mut line = format!("{:o} {}:{} rdev {}", about.mode(), about.uid(), about.gid(), about.rdev());
        // Where a name of the container's own is made, the time is the container's.
        if !["", "etc"].iter().any(|made_in| path == Path::new(made_in)) {
            line += &format!(" time {}.{:09}", about.mtime(), about.mtime_nsec());
        }
        let names = xattr::list(&full).map(|names| names.collect::<Vec<_>>()).unwrap_or_default();
        let mut names: Vec<_> =
            names.into_iter().filter(|name| !name.to_string_lossy().contains("overlay")).collect();
        names.sort();
        for name in names {
            line += &format!(" {name:?}={:02x?}", xattr::get(&full, &name).unwrap().unwrap_or_default());
        }
        if kind.is_symlink() {
            line += &format!(" -> {:?}", fs::read_link(&full).unwrap());
        } else if kind.is_file() {
            line +=
                &format!(" {} bytes {:02x?}", about.len(), &Sha256::digest(fs::read(&full).unwrap())[..8]);
            if about.nlink() > 1 {
                links.entry(about.ino()).or_default().push(path.clone());
            }
        } else if kind.is_dir() {
            let mut below: Vec<_> =
                fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            below.sort_by(|a, b| b.cmp(a));
            open.extend(below.into_iter().map(|name| path.join(name)));
        } else {
            assert!(kind.is_fifo() || kind.is_char_device() || kind.is_block_device());
        }
        found.insert(path, line);
    }
    // Names that are hidden by a layer above are counted by one of the two programs and not by the other.
    for names in links.into_values().filter(|names| names.len() > 1) {
        let first = names.iter().min().unwrap();
        for name in &names {
            found.get_mut(name).unwrap().push_str(&format!(" is {first:?}"));
        }
    }
    found
}

type Facts = BTreeMap<PathBuf, String>;

/// What podman shows of the image in `archive`.
fn as_podman(place: &Place, archive: &str) -> Facts {
    let loaded = podman(place, &["load", "-q", "-i", archive]);
    let image = loaded.rsplit(": ").next().unwrap().trim().to_owned();
    let found = facts(Path::new(&podman(place, &["image", "mount", &image])));
    podman(place, &["image", "unmount", &image]);
    found
}

/// What a container of ours sees of it.
fn as_rubber(place: &Place, archive: &str, sleep: &[&str]) -> Facts {
    place.rubber(&["import", archive, "it"]).good();
    place
        .rubber(&[&["run", "-d", "--name", "c", "--entrypoint", "", "-u", "0", "it"], sleep].concat())
        .good();
    let about: serde_json::Value = serde_json::from_str(&place.rubber(&["inspect", "c"]).good().out).unwrap();
    let found = facts(Path::new(&format!("/proc/{}/root", about[0]["state"]["pid"])));
    place.rubber(&["rm", "-f", "c"]).good();
    found
}

fn assert_same(theirs: &Facts, ours: &Facts) {
    assert!(theirs.len() > 20, "{} entries", theirs.len());
    let mut differences = Vec::new();
    for name in theirs.keys().chain(ours.keys()) {
        let (theirs, ours) = (theirs.get(name), ours.get(name));
        if theirs != ours {
            differences.push(format!("{name:?}\n  podman {theirs:?}\n  rubber {ours:?}"));
        }
    }
    differences.dedup();
    assert!(differences.is_empty(), "{} of {}:\n{}", differences.len(), theirs.len(), differences.join("\n"));
}

/// podman knows no time before 1970.
fn without_early_times(ours: &mut Facts) {
    for facts in ours.values_mut() {
        *facts = facts.replace(" time -2.500000000 ", " time 0.000000000 ");
    }
}

/// What an ordinary user's store keeps of them: README, "Limits".
fn as_ordinary_user(facts: &Facts, user: u32) -> Facts {
    let is_device = |line: &str| line.starts_with("20") || line.starts_with("60");
    let of_user = |line: &String| {
        let (mode, rest) = line.split_once(' ').unwrap();
        let mode = u32::from_str_radix(mode, 8).unwrap() & !0o6000;
        let (_, rest) = rest.split_once(' ').unwrap();
        let mut words: Vec<_> = rest.split(' ').collect();
        if let Some(at) = words.iter().position(|word| word.starts_with("\"security.capability\"")) {
            let end = words[at..].iter().position(|word| word.ends_with(']')).unwrap();
            words.drain(at..=at + end);
        }
        format!("{mode:o} {user}:{user} {}", words.join(" "))
    };
    let kept = facts.iter().filter(|(_, line)| !is_device(line));
    kept.map(|(name, line)| (name.clone(), of_user(line))).collect()
}

fn lacks_podman() -> bool {
    if lab::is_root() && lab::has("podman") {
        return false;
    }
    lab::skip_this("it takes root and podman");
    true
}

/// A layer with every kind of entry that can be in one.
struct Odd(Builder<Vec<u8>>);

impl Odd {
    fn new() -> Odd {
        Odd(Builder::new(Vec::new()))
    }

    fn add(mut self, kind: EntryType, name: &[u8], content: &[u8], change: impl Fn(&mut Header)) -> Odd {
        let mut header = layout::header(kind, 0o644);
        header.set_size(content.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.0.append_data(&mut header, OsStr::from_bytes(name), content).unwrap();
        self
    }

    fn file(self, name: &str, mode: u32, owner: u64, content: &str) -> Odd {
        self.add(EntryType::Regular, name.as_bytes(), content.as_bytes(), |header| {
            header.set_mode(mode);
            header.set_uid(owner);
            header.set_gid(owner + 1);
        })
    }

    fn dir(self, name: &str, mode: u32, owner: u64) -> Odd {
        self.add(EntryType::Directory, name.as_bytes(), b"", |header| {
            header.set_mode(mode);
            header.set_uid(owner);
            header.set_gid(owner);
            header.set_mtime(1_234_567_890);
        })
    }

    fn link(mut self, kind: EntryType, name: &str, target: &str) -> Odd {
        // Programs set what a hard link's header says, and those who write it say what the file's does.
        let modes = [("setuid", 0o4755), ("linked-1", 0o644)];
        let mode = modes.iter().find(|(file, _)| *file == target).map_or(0o777, |(_, mode)| *mode);
        let mut header = layout::header(kind, mode);
        header.set_gid(u64::from(mode != 0o777));
        self.0.append_link(&mut header, name, target).unwrap();
        self
    }

    fn pax(mut self, pairs: &[(&str, &[u8])]) -> Odd {
        self.0.append_pax_extensions(pairs.iter().copied()).unwrap();
        self
    }

    fn device(self, kind: EntryType, name: &str, major: u32, minor: u32) -> Odd {
        self.add(kind, name.as_bytes(), b"", |header| {
            header.set_mode(0o620);
            header.set_gid(5);
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        })
    }

    fn end(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// user::rw- user:1000:rw- group::r-- mask::rwx other::r--: see acl(5), and linux/posix_acl_xattr.h for the form.
const ACCESS_LIST: &[u8] = b"\x02\0\0\0\
    \x01\0\x06\0\xff\xff\xff\xff\x02\0\x06\0\xe8\x03\0\0\x04\0\x04\0\xff\xff\xff\xff\
    \x10\0\x07\0\xff\xff\xff\xff\x20\0\x04\0\xff\xff\xff\xff";

fn odd_layers() -> Vec<Vec<u8>> {
    let capability = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let long = format!("long/{}", "n".repeat(250));
    let base = Odd::new()
        .dir("./", 0o755, 0)
        .dir("proc", 0o555, 0)
        .dir("sys", 0o555, 0)
        .dir("dev", 0o755, 0)
        .dir("etc", 0o755, 0)
        .file("etc/hosts", 0o644, 0, "")
        .file("etc/hostname", 0o644, 0, "")
        .file("etc/resolv.conf", 0o644, 0, "")
        .dir("bin", 0o755, 0)
        .dir("tmp", 0o1777, 0)
        .dir("long", 0o755, 0)
        .pax(&[("SCHILY.xattr.user.of", b"unlisted")])
        .dir("unlisted", 0o2770, 77)
        .dir("unlisted/deep", 0o701, 78)
        .pax(&[("SCHILY.xattr.system.posix_acl_access", ACCESS_LIST)])
        .file("listed-access", 0o674, 0, "user 1000 may read and write")
        .dir("closed", 0o000, 1234)
        .dir("setgid", 0o2775, 7)
        .file("setuid", 0o4755, 0, "s")
        .file("setuid-of-other", 0o6711, 1000, "s")
        .file("nothing", 0o000, 5, "")
        .file("owner", 0o640, 4_000_000, "high ids")
        .pax(&[("SCHILY.xattr.security.capability", capability)])
        .file("capable", 0o755, 0, "c")
        .pax(&[("SCHILY.xattr.user.note", b"a\0b")])
        .file("noted", 0o644, 0, "n")
        .pax(&[("mtime", b"1500000000.123456789")])
        .file("precise", 0o644, 0, "p")
        .pax(&[("mtime", b"-1.5")])
        .file("before-1970", 0o644, 0, "o")
        .pax(&[("mtime", b"1400000000.5")])
        .link(EntryType::Symlink, "timed-link", "precise")
        .link(EntryType::Symlink, "absolute", "/etc/hosts")
        .link(EntryType::Symlink, "dangling", "no/where")
        .link(EntryType::Symlink, "up", "../../../etc")
        .link(EntryType::Symlink, "itself", "itself")
        .link(EntryType::Link, "hard", "setuid")
        .link(EntryType::Link, "bin/hard", "setuid")
        .link(EntryType::Link, "hard-of-link", "dangling")
        .add(EntryType::Fifo, b"fifo", b"", |header| {
            header.set_mode(0o666);
            header.set_uid(3);
        })
        .device(EntryType::Char, "bin/null", 1, 3)
        .device(EntryType::Block, "bin/disk", 7, 200)
        .add(EntryType::Regular, b"not-utf8-\xff\xfe", b"x", |_| ())
        .file("with space\tand \"quotes\"", 0o644, 0, "q")
        .file(&long, 0o644, 0, "long")
        .dir("gone-dir/deep", 0o755, 0)
        .file("gone-dir/deep/file", 0o644, 0, "g")
        .file("gone", 0o644, 0, "g")
        .dir("opaque", 0o755, 0)
        .file("opaque/old", 0o644, 0, "o")
        .file("opaque/both", 0o644, 0, "old")
        .dir("becomes-file", 0o755, 0)
        .file("becomes-file/x", 0o644, 0, "x")
        .file("becomes-dir", 0o644, 0, "x")
        .dir("changed", 0o755, 0)
        .file("changed/kept", 0o644, 0, "k")
        .file("linked-1", 0o644, 0, "l")
        .link(EntryType::Link, "linked-2", "linked-1")
        .file("again", 0o644, 0, "1");
    let upper = Odd::new()
        .file(".wh.gone", 0, 0, "")
        .file(".wh.gone-dir", 0, 0, "")
        .dir("opaque", 0o750, 9)
        .file("opaque/.wh..wh..opq", 0, 0, "")
        .file("opaque/both", 0o600, 0, "new")
        .file("becomes-file", 0o644, 0, "now a file")
        .dir("becomes-dir", 0o700, 2)
        .file("becomes-dir/in", 0o644, 0, "i")
        .dir("changed", 0o711, 42)
        .file("again", 0o444, 0, "2")
        .file("linked-1", 0o644, 0, "alone now")
        .file("unlisted/deep/file", 0o644, 0, "in directories that this layer does not list")
        .file(".wh.never-was", 0, 0, "");
    let top =
        Odd::new().dir("gone-dir", 0o755, 0).file("gone-dir/new", 0o644, 0, "n").file("again", 0o400, 6, "3");
    vec![base.end(), layout::busybox(), upper.end(), top.end()]
}

/// That image in odd.tar.
fn odd_image(place: &Place) -> &'static str {
    let command = json!({"Cmd": ["/bin/sh"]});
    layout::write(&place.path("odd"), "docker.io/library/odd:latest", &odd_layers(), command);
    crate::tool(place, "tar", &["-C", "odd", "-cf", "odd.tar", "."]);
    "odd.tar"
}

const SLEEP: [&str; 2] = ["sleep", "100"];

#[test]
fn a_hand_made_image_of_odd_entries_is_what_podman_shows() {
    if lacks_podman() {
        return;
    }
    let place = Place::new();
    let archive = odd_image(&place);
    let (mut theirs, mut ours) = (as_podman(&place, archive), as_rubber(&place, archive, &SLEEP));
    without_early_times(&mut ours);
    // podman's vfs copies layer upon layer, and leaves access lists behind.
    let listed = ours.get_mut(Path::new("listed-access")).unwrap();
    let access = format!(" \"system.posix_acl_access\"={ACCESS_LIST:02x?}");
    assert!(listed.contains(&access), "{listed}");
    *listed = listed.replace(&access, "");
    // A directory that its layer fills and does not list: podman's time is that of its unpacking.
    for (name, time) in
        [("unlisted", "time 1234567890.000000000"), ("unlisted/deep", "time 1234567890.000000000")]
    {
        let ours = ours.remove(Path::new(name)).unwrap();
        let theirs = theirs.remove(Path::new(name)).unwrap();
        assert!(ours.contains(time), "{ours}");
        let but_time = |line: &str| -> String {
            let (before, after) = line.split_once(" time ").unwrap();
            format!("{before} {:?}", after.split_once(' '))
        };
        assert_eq!(but_time(&ours), but_time(&theirs), "{name}");
    }
    assert_same(&theirs, &ours);
}

#[test]
fn an_ordinary_user_sees_the_same_but_for_what_is_listed() {
    if !lab::is_root() {
        return lab::skip_this("what root sees takes root");
    }
    let place = Place::of_ordinary_user();
    let archive = odd_image(&place);
    std::os::unix::fs::chown(place.path("odd.tar"), Some(NOBODY), Some(NOBODY)).unwrap();
    let expected = Place::new();
    let copy = expected.path(archive);
    fs::copy(place.path(archive), copy).unwrap();
    let expected = as_ordinary_user(&as_rubber(&expected, archive, &SLEEP), NOBODY);
    assert_same(&expected, &as_rubber(&place, archive, &SLEEP));
}

#[test]
fn a_device_node_of_an_image_opens_nothing() {
    if !lab::is_root() {
        return lab::skip_this("an ordinary user's images have no device nodes");
    }
    let place = Place::new();
    place.rubber(&["import", odd_image(&place), "it"]).good();
    let look = "ls -l /bin/null; cat /bin/null || cat /dev/null && echo fine";
    let ended = place.rubber(&["run", "--entrypoint", "", "it", "sh", "-c", look]).good();
    let shown: Vec<_> = ended.out.split_whitespace().collect();
    assert_eq!(shown[..6], ["crw--w----", "1", "0", "5", "1,", "3"], "{}", ended.out);
    assert!(ended.out.ends_with("fine\n") && ended.err.contains("Permission denied"), "{}", ended.err);
}

#[test]
fn busybox_is_what_podman_shows() {
    if lacks_podman() {
        return;
    }
    let place = Place::new();
    place.rubber(&["run", "busybox", "true"]).good();
    place.rubber(&["save", "busybox", "-o", "busybox.oci"]).good();
    assert_same(&as_podman(&place, "busybox.oci"), &as_rubber(&place, "busybox.oci", &SLEEP));
}

/// A root of Debian as debootstrap makes it: where RUBBER_TEST_DEBIAN names its archive.
#[test]
fn debian_is_what_podman_shows() {
    let Some(archive) = std::env::var_os("RUBBER_TEST_DEBIAN") else {
        return lab::note("RUBBER_TEST_DEBIAN names no archive of a Debian root: not compared");
    };
    if lacks_podman() {
        return;
    }
    let place = Place::new();
    podman(&place, &["import", "-q", &archive.to_string_lossy(), "debian"]);
    podman(&place, &["save", "-q", "--format", "oci-archive", "-o", "debian.oci", "debian"]);
    assert_same(&as_podman(&place, "debian.oci"), &as_rubber(&place, "debian.oci", &SLEEP));
}

/// What `rubber export` writes of a container becomes the same tree in podman's hands.
#[test]
fn podman_imports_what_is_exported_as_it_was() {
    if lacks_podman() {
        return;
    }
    let place = Place::new();
    let ours = as_rubber(&place, odd_image(&place), &SLEEP);
    place.rubber(&["run", "--name", "c", "--entrypoint", "", "it", "true"]).good();
    place.rubber(&["export", "c", "-o", "exported.tar"]).good();
    podman(&place, &["import", "-q", "exported.tar", "exported"]);
    let mut theirs = facts(Path::new(&podman(&place, &["image", "mount", "exported"])));
    podman(&place, &["image", "unmount", "exported"]);
    let mut ours = ours;
    // A tar has no room for it.
    without_early_times(&mut ours);
    // The container was started once, and its own names were made where its image has them.
    for name in ["", "etc"] {
        theirs.remove(Path::new(name));
        ours.remove(Path::new(name));
    }
    assert_same(&theirs, &ours);
}

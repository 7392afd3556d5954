//! Archives that lie: each is refused in one line that names the entry, and nothing is left of it.

use super::{
    attacks::{self, Attack, Then},
    place::Place,
    tars::Tar,
};
use nix::unistd::geteuid;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};
use tar::EntryType;

#[test]
fn every_attack_ends_as_it_should_and_touches_nothing_outside() {
    let place = Place::new();
    let outside = place.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("canary"), "alive").unwrap();
    fs::create_dir(place.store()).unwrap();
    fs::set_permissions(place.store(), PermissionsExt::from_mode(0o700)).unwrap();
    let all = attacks::all(outside.to_str().unwrap());
    assert!(all.len() >= 40);
    let succeeded = |attack: &Attack| {
        let ended = catch_unwind(AssertUnwindSafe(|| attacked(&place, attack)));
        place.rubber(&["rmi", "it"]);
        ended.is_err()
    };
    let names: Vec<_> = all.iter().filter(|attack| succeeded(attack)).map(|attack| attack.name).collect();
    assert!(names.is_empty(), "{names:#?}");
}

fn attacked(place: &Place, attack: &Attack) {
    let before = surroundings(place);
    let ended = place.import_limited(&attack.bytes, attack.limits);
    assert_eq!(surroundings(place), before, "{}", attack.name);
    assert!(!ended.err.chars().any(|c| c.is_control() && c != '\n'), "{:?}", ended.err);
    match attack.then {
        Then::RefusedToRoot(_) if !geteuid().is_root() => ended.good(),
        Then::Refused(words) | Then::RefusedToRoot(words) => {
            ended.refused(words);
            return place.assert_empty_store();
        }
        Then::Harmless => ended.good(),
    };
    assert!(place.layer().is_dir());
    assert_eq!(crate::place::entries(&place.store().join("tmp")), [] as [std::path::PathBuf; 0]);
    place.rubber(&["rmi", "it"]).good();
    place.assert_empty_store();
}

/// What is around the store and in the directories that a name could lead to: name, kind, owner, mode, size, time and
/// attributes.
fn surroundings(place: &Place) -> Vec<String> {
    let mut seen = Vec::new();
    let mut open = vec![place.directory.path().to_path_buf()];
    while let Some(path) = open.pop() {
        let about = fs::symlink_metadata(&path).unwrap();
        let attributes: Vec<_> = xattr::list(&path).into_iter().flatten().collect();
        let is_store = path == place.store();
        // The store's own time changes, and what is in it is looked at elsewhere.
        let time = if is_store || path == place.directory.path() { 0 } else { about.mtime_nsec() };
        let (uid, gid, mode, size) = (about.uid(), about.gid(), about.mode(), about.size());
        let (links, size) = if is_store { (0, 0) } else { (about.nlink(), size) };
        seen.push(format!("{path:?} {uid}:{gid} {mode:o} {links} {size} {time} {attributes:?}"));
        if about.is_file() {
            seen.push(fs::read_to_string(&path).unwrap());
        }
        if about.is_dir() && !is_store {
            open.extend(crate::place::entries(&path));
        }
    }
    for above in ["/", "/etc", "/tmp", "..", "/canary"] {
        seen.push(format!("{above} {}", Path::new(above).join("canary").exists()));
    }
    seen
}

/// Memory and time are bounded whatever there is of it. RUBBER_TEST_WHOLE=1 makes it a million.
#[test]
fn a_million_tiny_entries_take_little_memory() {
    let count = if std::env::var_os("RUBBER_TEST_WHOLE").is_some() { 1_000_000 } else { 20_000 };
    let kinds: [fn(usize) -> Tar; 4] = [
        |n| Tar::new().file(&format!("{}/{n}", n % 7), ""),
        |n| Tar::new().directory(&format!("{}/{n}", n % 100)),
        |n| Tar::new().symlink(&format!("{n}"), "x"),
        |n| Tar::new().odd(EntryType::Directory, &format!("d{n}"), b"", |header| header.set_mode(0o700)),
    ];
    for kind in kinds {
        let place = Place::new();
        let (ended, peak) = place.import_measured(|out| {
            for n in 0..count {
                out.write_all(&kind(n).unfinished())?;
            }
            out.write_all(&[0; 1024])
        });
        ended.good();
        assert!(peak < 64 << 10, "{peak} KiB at its peak");
        place.rubber(&["rmi", "it"]).good();
    }
}

#[test]
fn a_file_of_a_gibibyte_and_a_zstd_window_take_little_memory() {
    let place = Place::new();
    let zeros = super::attacks::zstd(&vec![0; 16 << 20]);
    let (ended, peak) = place.import_measured(|out| {
        let head = Tar::new().odd(EntryType::Regular, "big", b"", |header| header.set_size(1 << 29));
        out.write_all(&super::attacks::zstd(&head.unfinished()))?;
        for _ in 0..32 {
            out.write_all(&zeros)?;
        }
        out.write_all(&super::attacks::zstd(&[0; 1024]))
    });
    ended.good();
    assert!(peak < 64 << 10, "{peak} KiB at its peak");
}

#[test]
fn writing_through_a_link_stays_inside() {
    let place = Place::new();
    let outside = place.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "alive").unwrap();
    let target = outside.display().to_string();
    // The same path inside the root, so that the link leads somewhere.
    let tar = Tar::new()
        .symlink("link", &target)
        .directory(target.trim_start_matches('/'))
        .file("link/file", "inside")
        .symlink("f", &format!("{target}/file"))
        .file("f", "replaced");
    place.import(&tar.bytes()).good();
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "alive");
    let inside = place.layer().join(target.trim_start_matches('/')).join("file");
    assert_eq!(fs::read_to_string(inside).unwrap(), "inside");
}

#[test]
fn replacing_a_link_to_a_directory_leaves_the_directory_alone() {
    let place = Place::new();
    let precious = place.path("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "alive").unwrap();
    let tar = Tar::new().symlink("x", &precious.display().to_string()).file("x", "file");
    place.import(&tar.bytes()).good();
    place.rubber(&["rmi", "it"]).good();
    assert_eq!(fs::read_to_string(precious.join("file")).unwrap(), "alive");
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let place = Place::new();
    let ended = place.import(&Tar::new().file("../\x1b[2J\n", "").bytes());
    assert!(!ended.err.contains('\x1b'), "{:?}", ended.err);
    ended.refused("..");
    place.import(&Tar::new().file("new\nline", "fine").bytes()).good();
}

#[test]
fn devices_are_left_out_and_told_in_one_line() {
    let place = Place::new();
    let tar = Tar::new()
        .entry(EntryType::Block, b"dev/sda", b"", b"")
        .entry(EntryType::Char, b"dev/kmsg", b"", b"")
        .file("etc/x", "");
    let ended = place.import(&tar.bytes()).good();
    assert_eq!(ended.err.lines().count(), 1);
    assert!(ended.err.contains("\"dev/sda\" and 1 more"), "{}", ended.err);
    assert!(!place.layer().join("dev/sda").exists() && place.layer().join("etc/x").exists());
}

#[test]
fn an_archive_that_is_cut_off_anywhere_is_refused() {
    let tar = Tar::new().directory("d").file("d/f", &"x".repeat(1500)).file("g", "y").unfinished();
    for end in (512..=tar.len()).step_by(256) {
        let place = Place::new();
        let ended = place.import(&tar[..end]);
        assert_eq!(ended.code, Some(125), "cut at {end} of {}", tar.len());
        ended.refused("");
        place.assert_empty_store();
    }
    let whole = [tar, vec![0; 512]].concat();
    Place::new().import(&whole).good(); // one block of zeros is an end
}

#[test]
fn what_is_no_root_filesystem_is_told_apart() {
    let save = Tar::new().file("manifest.json", "[{\"Config\":\"c\",\"Layers\":[\"l\"]}]").file("l", "");
    let layout = Tar::new().file("oci-layout", "{}").file("index.json", "{}");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("its config \"c\" is missing", save.bytes()),
        ("its index.json makes no sense", layout.bytes()),
        ("empty", vec![]),
        ("empty", vec![0; 1024]),
        ("not a tar archive", b"hello, world\n".repeat(100)),
        ("xz -dc", b"\xfd7zXZ\0and so on".to_vec()),
        ("bzip2 -dc", b"BZh9 and so on".to_vec()),
        ("zip file", b"PK\x03\x04 and so on".to_vec()),
        ("not a tar archive", b"\x1f\x8b and no gzip".to_vec()),
        ("not a tar archive", b"\x28\xb5\x2f\xfd and no zstd".to_vec()),
    ];
    for (words, bytes) in cases {
        let place = Place::new();
        place.import(&bytes).refused(words);
        place.assert_empty_store();
    }
    // A root filesystem may well have a manifest.json in it.
    Place::new().import(&Tar::new().file("manifest.json", "{}").file("a", "").bytes()).good();
}

#[test]
fn a_tree_deeper_than_open_files_or_a_path_allow_is_removed_again() {
    let place = Place::new();
    // Each link leads to the end of the last one's path: no path is too long, the tree is 6000 deep.
    let step = "d/".repeat(1500);
    let mut tar = Tar::new().pax(&[("path", step.as_bytes())]).directory("long");
    tar = tar.pax(&[("linkpath", step.as_bytes())]).symlink("l0", "long");
    for n in 1..4 {
        let next = format!("l{}/{step}", n - 1);
        tar = tar.pax(&[("path", next.as_bytes())]).directory("long");
        tar = tar.pax(&[("linkpath", next.as_bytes())]).symlink(&format!("l{n}"), "long");
    }
    place.import(&tar.bytes()).good();
    place.rubber(&["images"]).good();
    place.rubber(&["rmi", "it"]).good();
    place.assert_empty_store();
}

#[test]
fn a_link_in_place_of_the_store_is_not_followed_for_removal() {
    let place = Place::new();
    let precious = place.path("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "alive").unwrap();
    place.import(&Tar::new().file("a", "").bytes()).good();
    symlink(&precious, place.store().join("tmp/leftover")).unwrap();
    place.import(&Tar::new().file("b", "").bytes()).good();
    assert!(!place.store().join("tmp/leftover").exists());
    assert!(precious.join("file").exists());
}

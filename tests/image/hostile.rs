//! Archives that lie: each is refused in one line that names the entry, and nothing is left of it.

use super::{place::Place, tars::Tar};
use std::{fs, os::unix::fs::symlink};
use tar::EntryType;

#[test]
fn names_that_lead_outside_refuse_the_whole_import() {
    let absolute = Place::new().path("canary").display().to_string();
    let cases: Vec<(&str, Tar)> = vec![
        ("..", Tar::new().file("../canary", "bad")),
        ("..", Tar::new().file("a/../../canary", "bad")),
        ("..", Tar::new().directory("..")),
        ("..", Tar::new().symlink("../canary", "x")),
        ("absolute", Tar::new().file("/tmp/canary", "bad")),
        ("absolute", Tar::new().file(&absolute[..absolute.len().min(99)], "bad")),
        ("..", Tar::new().hard_link("stolen", "../canary")),
        ("absolute", Tar::new().hard_link("stolen", "/etc/passwd")),
        ("no such entry", Tar::new().symlink("x", "/etc").hard_link("stolen", "x/canary").directory("etc")),
        ("no such entry", Tar::new().directory("etc").symlink("x", "/etc").hard_link("stolen", "x/passwd")),
        ("directory", Tar::new().directory("d").hard_link("e", "d")),
        ("NUL", Tar::new().pax(&[("path", b"a\0b")]).file("a", "")),
        ("NUL", Tar::new().pax(&[("linkpath", b"a\0b")]).hard_link("a", "b")),
        ("not possible", Tar::new().pax(&[("linkpath", b"a\0b")]).symlink("a", "b")),
        ("the name is empty", Tar::new().file("", "bad")),
        ("root directory", Tar::new().file("./", "bad").symlink(".", "/etc")),
        ("leads nowhere", Tar::new().symlink("x", "/no/such").file("x/y", "bad")),
        ("Not a directory", Tar::new().file("x", "").file("x/y", "bad")),
        ("File name too long", Tar::new().pax(&[("path", "n".repeat(4096).as_bytes())]).file("a", "")),
        ("ELOOP", Tar::new().symlink("x", "y").symlink("y", "x").file("x/z", "bad")),
        ("no user or group id", Tar::new().odd(EntryType::Regular, "f", b"", |h| h.set_uid(u32::MAX.into()))),
        ("no user or group id", Tar::new().odd(EntryType::Regular, "f", b"", |h| h.set_gid(1 << 40))),
        ("sparse", Tar::new().pax(&[("GNU.sparse.major", b"1")]).file("GNUSparseFile.0/f", "")),
        ("type 'Q'", Tar::new().entry(EntryType::new(b'Q'), b"odd", b"", b"")),
    ];
    for (number, (words, tar)) in cases.into_iter().enumerate() {
        let place = Place::new();
        fs::write(place.path("canary"), "alive").unwrap();
        let good_first = Tar::new().file("good", "good").bytes();
        let archive = [&good_first[..good_first.len() - 1024], &tar.bytes()].concat();
        let ended = place.import(&archive);
        assert!(ended.err.contains("entry \""), "case {number} names no entry: {}", ended.err);
        ended.refused(words);
        place.assert_empty_store();
        assert_eq!(fs::read_to_string(place.path("canary")).unwrap(), "alive", "case {number}");
    }
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

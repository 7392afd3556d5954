//! Holes in files: whatever is copied, they take no room, and what they seem to take counts.

use crate::{
    lab, layout,
    place::{Place, entries},
    tool,
};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
};
use tar::{Builder, EntryType};

/// What a hole may take in the end: some blocks for the data around it, and what the filesystem needs to find them.
const LITTLE: u64 = 256 << 10;

/// As long as it should be, and next to nothing on the disk.
#[track_caller]
fn assert_hole(file: &Path, length: u64) {
    let found = fs::metadata(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    assert_eq!(found.len(), length, "{file:?}");
    let blocks = found.blocks() * 512;
    assert!(blocks < LITTLE, "{file:?} of {length} bytes takes {blocks} on disk");
}

/// A layer of files that are 512 bytes at their beginning, and a hole up to their `sizes`.
fn layer(files: &[(&str, u64)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, size) in files {
        let mut header = layout::header(EntryType::GNUSparse, 0o644);
        header.set_size(512);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(*size);
        gnu.sparse[0].set_offset(0);
        gnu.sparse[0].set_length(512);
        tar.append_data(&mut header, name, &[7; 512][..]).unwrap();
    }
    tar.into_inner().unwrap()
}

/// The image `it` with these files.
fn image(place: &Place, files: &[(&str, u64)], config: serde_json::Value) {
    let layer = layer(files);
    assert!(layer.len() <= 10 << 10, "{} bytes", layer.len());
    layout::write(&place.path("layout"), "it", &[layout::busybox(), layer], config);
    place.rubber(&["import", "oci:layout", "it"]).good();
}

/// The files of this name anywhere below `directory`.
fn all(directory: &Path, name: &str) -> Vec<PathBuf> {
    // Overlay's own scratch directory is closed, also to the user that it belongs to.
    let own = [".", "-path", "*/work/work", "-prune", "-o"];
    let found = tool_in(directory, "find", &[&own[..], &["-name", name, "-type", "f", "-print"]].concat());
    found.lines().map(|line| directory.join(line)).collect()
}

fn tool_in(directory: &Path, program: &str, words: &[&str]) -> String {
    let output = std::process::Command::new(program).args(words).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const LARGE: u64 = 3 << 30;
const SMALL: u64 = 48 << 20;

#[test]
fn a_volume_that_is_filled_with_a_hole_of_the_images_has_that_hole() {
    let place = Place::new();
    image(&place, &[("data/hole", LARGE)], json!({"Volumes": {"/data": {}}}));
    let started = place.rubber(&["run", "-d", "--name", "c", "it", "sleep", "60"]);
    if started.code != Some(0) {
        return lab::skip_this(&started.err);
    }
    let filled = all(&place.store().join("volumes"), "hole");
    place.rubber(&["rm", "-f", "c"]).good();
    assert_eq!(filled.len(), 1);
    for layer in all(&place.store().join("layers"), "hole") {
        assert_hole(&layer, LARGE);
    }
    // The volume is gone with its container by now: one that stays.
    place.rubber(&["run", "-v", "named:/data", "it", "true"]).good();
    let filled = place.store().join("volumes/named/hole");
    assert_hole(&filled, LARGE);
    assert_eq!(fs::File::open(&filled).map(|file| starts(&file)).unwrap(), [7; 512]);
}

fn starts(file: &fs::File) -> [u8; 512] {
    let mut start = [0; 512];
    std::os::unix::fs::FileExt::read_exact_at(file, &mut start, 0).unwrap();
    start
}

#[test]
fn a_copied_root_has_the_holes_of_the_image() {
    let place = Place::new();
    image(&place, &[("data/hole", LARGE)], json!({}));
    let look = ["busybox", "stat", "-c", "%s %b", "/data/hole"];
    let said = place.rubber(&[&["run", "--until", "chroot", "it"][..], &look].concat());
    if said.code != Some(0) {
        return lab::skip_this(&said.err);
    }
    let numbers: Vec<u64> = said.out.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!(numbers[0], LARGE);
    assert!(numbers[1] * 512 < LITTLE, "{numbers:?}");
}

/// In the middle of data, so that the places of both are seen to be right.
const WRITES: &str = "cd /; echo begin >big; busybox truncate -s 40M big; echo middle >>big; busybox truncate -s 48M big; \
                      echo end >>big; busybox sha256sum big";

#[test]
fn what_a_container_has_truncated_takes_no_room_in_an_image_an_archive_or_a_copy() {
    let place = Place::new();
    image(&place, &[("small", 4096)], json!({}));
    let ran = place.rubber(&["run", "--name", "c", "it", "sh", "-c", WRITES]);
    if ran.code != Some(0) {
        return lab::skip_this(&ran.err);
    }
    let (length, sum) = (SMALL + 4, ran.out.split_whitespace().next().unwrap());
    let same = |file: &Path| {
        assert_hole(file, length);
        assert!(tool_in(Path::new("/"), "sha256sum", &[file.to_str().unwrap()]).starts_with(sum), "{file:?}");
    };
    let committed = place.rubber(&["commit", "c", "made"]).good();
    let layers = all(&place.store().join("layers"), "big");
    assert_eq!(layers.len(), 1, "{}", committed.out);
    same(&layers[0]);
    place.rubber(&["cp", "c:/big", "out"]).good();
    same(&place.path("out"));
    place.rubber(&["cp", "out", "c:/back"]).good();
    let back = all(&place.store().join("containers"), "back");
    assert_eq!(back.len(), 1);
    same(&back[0]);
    place.rubber(&["export", "c", "-o", "root.tar"]).good();
    place.rubber(&["save", "made", "-o", "made.tar", "--format", "docker-archive"]).good();
    for archive in ["root.tar", "made.tar"] {
        let about = fs::metadata(place.path(archive)).unwrap();
        assert!(about.len() > SMALL, "{archive}: others read it, too");
        assert!(about.blocks() * 512 < SMALL / 4, "{archive} takes {} on disk", about.blocks() * 512);
    }
    tool(&place, "tar", &["-xf", "root.tar", "big"]);
    assert!(tool(&place, "sha256sum", &["big"]).starts_with(sum));
    // And into another store: blobs, layers, and a root filesystem alike.
    let other = Place::new();
    for archive in ["root.tar", "made.tar"] {
        let from = place.path(archive);
        let name = if archive == "root.tar" { "root" } else { "images" };
        other.rubber(&["import", from.to_str().unwrap(), name]).good();
    }
    let blobs = entries(&other.store().join("blobs/sha256"));
    let blob = blobs.iter().find(|blob| blob.metadata().unwrap().len() > SMALL).unwrap();
    assert!(blob.metadata().unwrap().blocks() * 512 < LITTLE, "{blob:?}");
    let layers = all(&other.store().join("layers"), "big");
    assert_eq!(layers.len(), 2);
    layers.iter().for_each(|file| same(file));
    other.rubber(&["save", "images", "-o", "again"]).good();
}

#[test]
fn the_holes_of_all_files_count_together() {
    let limit = [("RUBBER_MAX_UNPACKED", "1m")];
    let ends = |place: &Place, words: &[&str]| {
        let mut command = place.command(words);
        command.envs(limit).stdin(Stdio::null());
        crate::place::Ended::of(command.output().unwrap())
    };
    let place = Place::new();
    fs::write(place.path("one.tar"), layer(&[("a", 700 << 10)])).unwrap();
    fs::write(place.path("two.tar"), layer(&[("a", 700 << 10), ("b", 700 << 10)])).unwrap();
    ends(&place, &["import", "one.tar", "one"]).good();
    ends(&place, &["import", "two.tar", "two"]).refused("RUBBER_MAX_UNPACKED");
    assert!(!place.store().join("images/two.json").exists());
    // What is packed is read to its end, however little of it is there.
    image(&place, &[("small", 4096)], json!({}));
    let make = "busybox truncate -s 700k /a; busybox truncate -s 700k /b";
    let ran = place.rubber(&["run", "--name", "c", "it", "sh", "-c", make]);
    if ran.code != Some(0) {
        return lab::skip_this(&ran.err);
    }
    let layers = place.layers();
    for words in [&["export", "c", "-o", "x"][..], &["commit", "c", "x"], &["cp", "c:/", "x"]] {
        ends(&place, words).refused("RUBBER_MAX_UNPACKED");
    }
    assert_eq!(place.layers(), layers);
    assert!(!place.path("x/b").exists());
}

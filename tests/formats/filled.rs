//! What a new volume begins with: what the image has in its place, wherever the image's links lead, and nothing else.

use crate::{
    lab, layout,
    place::{Ended, Place, entries},
};
use serde_json::json;
use std::path::PathBuf;
use tar::{Builder, EntryType};

/// The image `it` with these links and a directory with a file, which wants volumes at `places`.
fn image(place: &Place, links: &[(&str, &str)], places: &[&str]) {
    let mut tar = Builder::new(Vec::new());
    for (name, target) in links {
        tar.append_link(&mut layout::header(EntryType::Symlink, 0o777), name, target).unwrap();
    }
    let volumes: serde_json::Map<_, _> =
        places.iter().map(|place| ((*place).to_owned(), json!({}))).collect();
    let layers = [layout::busybox(), layout::files(&[("x/own", "image's")]), tar.into_inner().unwrap()];
    layout::write(&place.path("layout"), "it", &layers, json!({"Volumes": volumes}));
    place.rubber(&["import", "oci:layout", "it"]).good();
}

/// What is in all volumes of the store.
fn filled(place: &Place) -> Vec<PathBuf> {
    entries(&place.store().join("volumes")).iter().flat_map(|volume| entries(volume)).collect()
}

fn cannot(place: &Place) -> bool {
    let ended = place.rubber(&["run", "it", "true"]);
    if ended.code == Some(125) {
        lab::skip_this(&ended.err);
    }
    ended.code == Some(125)
}

fn refused(ended: Ended) {
    assert_eq!(ended.code, Some(125), "{}{}", ended.out, ended.err);
    assert!(ended.err.contains("whole root"), "{}", ended.err);
}

/// All of it, with /sys and what the kernel shows there, was copied into the volume.
#[test]
fn a_volume_of_the_images_at_a_link_to_the_root_is_refused_and_nothing_is_copied() {
    let place = Place::new();
    image(&place, &[], &[]);
    if cannot(&place) {
        return;
    }
    for (link, target) in [("up", "/"), ("up", ".."), ("x/up", "../x/.."), ("up", "/x/../")] {
        let at = format!("/{link}");
        image(&place, &[(link, target)], &[&at]);
        refused(place.rubber(&["run", "--rm", "it", "true"]));
        assert_eq!(filled(&place), [] as [PathBuf; 0], "{link} -> {target}");
    }
    image(&place, &[("up", "/")], &[]);
    for flags in [
        ["-v", "named:/up"],
        ["-v", "/etc:/up"],
        ["--mount", "type=volume,src=named,dst=/up"],
        ["--mount", "type=tmpfs,dst=/up"],
        ["--tmpfs", "/up"],
    ] {
        refused(place.rubber(&["run", "--rm", flags[0], flags[1], "it", "true"]));
        assert_eq!(filled(&place), [] as [PathBuf; 0], "{flags:?}");
    }
    // To work there is as good as to work in /.
    let ran = place.rubber(&["run", "--rm", "-w", "/up", "it", "pwd"]).good();
    assert_eq!(ran.out, "/\n");
}

#[test]
fn a_volume_at_a_link_to_what_is_no_file_of_the_images_begins_empty() {
    let place = Place::new();
    let links =
        [("s", "/sys"), ("d", "/dev/shm"), ("l/l/l", "/x"), ("l/l/m", "/x/mounted"), ("l/l/p", "/proc/self")];
    image(&place, &links, &[]);
    if cannot(&place) {
        return;
    }
    let etc = "/etc:/x/mounted";
    for at in ["/s", "/d", "/l/l/m"] {
        let volume = format!("named:{at}");
        place.rubber(&["run", "--rm", "-v", etc, "-v", &volume, "it", "true"]);
        assert_eq!(filled(&place), [] as [PathBuf; 0], "{at}");
    }
    place.rubber(&["run", "--rm", "-v", "named:/l/l/p", "it", "true"]).refused("/proc");
    // The directory that a link leads to is copied, and not what is mounted in it.
    place
        .rubber(&["run", "--rm", "-v", etc, "-v", "/etc/passwd:/x/file", "-v", "named:/l/l/l", "it", "true"])
        .good();
    let volume = place.store().join("volumes/named");
    assert!(volume.join("own").is_file());
    assert_eq!(entries(&volume.join("mounted")), [] as [PathBuf; 0]);
    assert!(!volume.join("file").exists());
}

/// Where the root has the store in it, the copy would be copied into itself, without end.
#[test]
fn a_root_with_the_store_in_it_is_not_copied_into_itself() {
    let place = Place::new().with_store("root/bin/store");
    let root = place.path("root");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    lab::copy_program(layout_busybox(), root.join("bin/busybox"));
    let words = ["--rootfs", root.to_str().unwrap(), "/bin/busybox", "ls", "/bin", "/bin/store/containers"];
    let flags = ["run", "--without", "overlay", "-v", "named:/bin"];
    let ran = place.rubber(&[&flags[..], &words].concat());
    if ran.code == Some(125) && ran.err.contains("doctor") {
        return lab::skip_this(&ran.err);
    }
    let said = ran.good().out;
    let found: Vec<_> = said.split_whitespace().filter(|word| !word.ends_with(".json")).collect();
    assert_eq!(found, ["/bin:", "busybox", "store", "/bin/store/containers:"], "{said}");
    assert!(root.join("bin/store/volumes/named/busybox").is_file());
}

fn layout_busybox() -> PathBuf {
    ["/bin/busybox", "/usr/bin/busybox"].iter().map(PathBuf::from).find(|path| path.exists()).unwrap()
}

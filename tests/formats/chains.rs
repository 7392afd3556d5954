//! One layer in several images: what the one has below it is nothing to the other.

use crate::{
    inodes, inspect, lab, layout,
    place::{Place, entries},
};
use serde_json::json;
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};
use tar::{Builder, EntryType};

/// A layer that lists one directory, `app`.
fn directory(mode: u32, owner: u64) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    let mut header = layout::header(EntryType::Directory, mode);
    header.set_uid(owner);
    header.set_gid(owner);
    tar.append_data(&mut header, "app", std::io::empty()).unwrap();
    tar.into_inner().unwrap()
}

/// Root's program in a directory that this layer does not list.
fn program() -> Vec<u8> {
    layout::files(&[("app/program", "root's")])
}

/// The image `name` of these layers on top of busybox.
fn import(place: &Place, name: &str, layers: &[Vec<u8>]) {
    let layers = [&[layout::busybox()], layers].concat();
    layout::write(&place.path(name), name, &layers, json!({}));
    place.rubber(&["import", &format!("oci:{name}"), name]).good();
}

fn guests(place: &Place) {
    import(place, "guest", &[directory(0o777, 1000), program()]);
}

fn victims(place: &Place) {
    import(place, "victim", &[directory(0o755, 0), program()]);
}

/// Mode and owner of /app, as the containers of this image see it.
#[track_caller]
fn app(place: &Place, image: &str) -> String {
    let ran = place.rubber(&["run", image, "busybox", "stat", "-c", "%a %u:%g", "/app"]).good();
    ran.out.trim().to_owned()
}

/// The directory that is the topmost layer of an image.
fn top(place: &Place, image: &str) -> PathBuf {
    inspect(place, image)["layers"].as_array().unwrap().last().unwrap().as_str().unwrap().into()
}

fn cannot(place: &Place) -> bool {
    let ended = place.rubber(&["run", "rubber", "true"]);
    if ended.code == Some(125) || !lab::is_root() {
        lab::skip_this("layers of several owners take root, and containers");
        return true;
    }
    place.rubber(&["clean"]);
    false
}

/// What a guest's image lets guests do, they may not do in another that has a layer in common with it.
#[test]
fn an_image_changes_no_permissions_of_another_that_comes_after_it() {
    let place = Place::new();
    if cannot(&place) {
        return;
    }
    guests(&place);
    victims(&place);
    assert_eq!(app(&place, "victim"), "755 0:0");
    assert_eq!(app(&place, "guest"), "777 1000:1000");
    let replace = ["run", "-u", "1000", "victim", "sh", "-c", "rm /app/program"];
    assert_ne!(place.rubber(&replace).code, Some(0), "a guest replaces root's program");
}

#[test]
fn an_image_changes_no_permissions_of_another_that_came_before_it() {
    let place = Place::new();
    if cannot(&place) {
        return;
    }
    victims(&place);
    guests(&place);
    assert_eq!(app(&place, "victim"), "755 0:0");
    assert_eq!(app(&place, "guest"), "777 1000:1000");
    // The two go by themselves.
    place.rubber(&["rmi", "victim"]).good();
    assert_eq!(app(&place, "guest"), "777 1000:1000");
    victims(&place);
    place.rubber(&["rmi", "guest"]).good();
    assert_eq!(app(&place, "victim"), "755 0:0");
    place.rubber(&["rmi", "victim", "rubber"]);
    place.rubber(&["clean"]).good();
    place.assert_empty_store();
}

/// At the bottom of an image there is nothing to take anything from: that is no image's business above either.
#[test]
fn a_layer_at_the_bottom_lends_nothing_to_the_same_one_further_up() {
    let place = Place::new();
    if cannot(&place) {
        return;
    }
    let layers = [program(), layout::busybox()];
    layout::write(&place.path("bottom"), "bottom", &layers, json!({}));
    place.rubber(&["import", "oci:bottom", "bottom"]).good();
    fs::write(place.path("root.tar"), program()).unwrap();
    place.rubber(&["import", "tar:root.tar", "root"]).good();
    guests(&place);
    assert_eq!(app(&place, "bottom"), "755 0:0");
    assert_eq!(app(&place, "guest"), "777 1000:1000");
    assert_eq!(top(&place, "root").join("app").metadata().unwrap().uid(), 0);
}

/// Twice in one image, with something else between.
#[test]
fn a_layer_that_comes_twice_is_each_time_as_what_is_below_it() {
    let place = Place::new();
    if cannot(&place) {
        return;
    }
    import(&place, "it", &[directory(0o777, 1000), program(), directory(0o700, 7), program()]);
    assert_eq!(app(&place, "it"), "700 7:7");
    // What is made on top of it is made on top of all of it.
    place.rubber(&["run", "--name", "c", "it", "touch", "/new"]).good();
    place.rubber(&["commit", "c", "made"]).good();
    assert_eq!(app(&place, "made"), "700 7:7");
    place.rubber(&["rm", "c"]).good();
    place.rubber(&["rmi", "it"]).good();
    assert_eq!(app(&place, "made"), "700 7:7");
    place.rubber(&["save", "made", "-o", "made.tar"]).good();
    let other = Place::new();
    other.rubber(&["import", place.path("made.tar").to_str().unwrap(), "made"]).good();
    assert_eq!(app(&other, "made"), "700 7:7");
}

/// What needs nothing of what is below it is unpacked once for all images.
#[test]
fn a_layer_that_lists_its_directories_is_shared() {
    let place = Place::new();
    import(&place, "one", &[directory(0o755, 0), layout::files(&[("last", "x")])]);
    let before = inodes(&place);
    import(&place, "two", &[directory(0o700, 0), layout::files(&[("last", "x")])]);
    let after = inodes(&place);
    assert_eq!(before.len(), 3);
    assert_eq!(after.len(), 4, "{after:?}");
    assert!(before.iter().all(|layer| after.contains(layer)));
}

/// The same archive means another tree where it is the root filesystem than where it is a layer.
#[test]
fn a_root_filesystem_is_no_layer_of_the_same_bytes() {
    let place = Place::new();
    if cannot(&place) {
        return;
    }
    let takes_away = layout::files(&[(".wh.secret", "")]);
    fs::write(place.path("root.tar"), &takes_away).unwrap();
    place.rubber(&["import", "tar:root.tar", "root"]).good();
    import(&place, "it", &[layout::files(&[("secret", "s")]), takes_away.clone()]);
    let look = |image: &str| place.rubber(&["run", image, "ls", "-a", "/"]).good().out;
    assert!(!look("it").contains("secret"), "what a layer takes away is gone");
    assert!(top(&place, "root").join(".wh.secret").is_file());
    // In the other order.
    let place = Place::new();
    import(&place, "it", &[layout::files(&[("secret", "s")]), takes_away.clone()]);
    fs::write(place.path("root.tar"), &takes_away).unwrap();
    place.rubber(&["import", "tar:root.tar", "root"]).good();
    assert!(top(&place, "root").join(".wh.secret").is_file());
}

/// As the release before left it: each layer under its digest alone.
fn as_before(place: &Place, image: &str) {
    for layer in inspect(place, image)["layers"].as_array().unwrap() {
        let layer = Path::new(layer.as_str().unwrap());
        let name = layer.file_name().unwrap().to_str().unwrap();
        if let Some((digest, _)) = name.split_once('-') {
            fs::rename(layer, layer.with_file_name(digest)).unwrap();
        }
    }
    for since in ["listed", "contents"] {
        let _ = fs::remove_dir_all(place.store().join(since));
    }
}

/// Its images run as they did; a new one takes nothing from them that could be another's.
#[test]
fn a_store_of_the_release_before_is_used_and_not_trusted() {
    let place = Place::new();
    if cannot(&place) {
        return;
    }
    guests(&place);
    as_before(&place, "guest");
    let old = inodes(&place);
    assert_eq!(app(&place, "guest"), "777 1000:1000");
    victims(&place);
    assert_eq!(app(&place, "victim"), "755 0:0");
    assert_eq!(app(&place, "guest"), "777 1000:1000");
    let kept = inodes(&place).iter().filter(|layer| old.contains(layer)).count();
    assert_eq!(kept, old.len(), "what old images need stays, and what is the same is shared");
    // And the other way: an old image that was spoiled is named, and mended by getting it again.
    let spoiled = top(&place, "guest").join("app");
    fs::set_permissions(&spoiled, fs::Permissions::from_mode(0o755)).unwrap();
    let told = place.rubber(&["doctor", "--store", "--format", "json"]).out;
    assert!(told.contains("image guest is damaged") && !told.contains("image victim is damaged"), "{told}");
    place.rubber(&["import", "oci:guest", "guest"]).good();
    assert_eq!(app(&place, "guest"), "777 1000:1000");
    assert_eq!(app(&place, "victim"), "755 0:0");
    place.rubber(&["rmi", "guest", "victim"]).good();
    place.rubber(&["rmi", "rubber"]);
    place.rubber(&["clean"]).good();
    place.assert_empty_store();
    for since in ["listed", "contents", "damaged"] {
        assert!(entries(&place.store().join(since)).is_empty(), "{since}");
    }
}

/// At once, and whoever comes second.
#[test]
fn images_that_share_a_layer_come_at_once_and_each_is_right() {
    let place = Place::new();
    if cannot(&place) {
        return;
    }
    for (name, mode, owner) in [("guest", 0o777, 1000), ("victim", 0o755, 0)] {
        let layers = [layout::busybox(), directory(mode, owner), program()];
        layout::write(&place.path(name), name, &layers, json!({}));
    }
    let start = |n: usize| {
        let name = if n.is_multiple_of(2) { "guest" } else { "victim" };
        let from = format!("oci:{name}");
        place.command(&["import", &from, name]).stdout(std::process::Stdio::null()).spawn().unwrap()
    };
    let all: Vec<_> = (0..6).map(start).collect();
    for mut one in all {
        assert!(one.wait().unwrap().success());
    }
    assert_eq!(app(&place, "victim"), "755 0:0");
    assert_eq!(app(&place, "guest"), "777 1000:1000");
}

/// What is missing is named, and nothing is taken in its place.
#[test]
fn a_layer_that_is_missing_is_not_replaced_by_another_images() {
    let place = Place::new();
    if cannot(&place) {
        return;
    }
    guests(&place);
    victims(&place);
    fs::remove_dir_all(top(&place, "victim")).unwrap();
    place.rubber(&["run", "victim", "true"]).refused("is missing; get the image again");
    place.rubber(&["import", "oci:victim", "victim"]).good();
    assert_eq!(app(&place, "victim"), "755 0:0");
}

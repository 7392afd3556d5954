//! What is saved is what others read, and what was there before.

use crate::{
    id, inspect, lab, layout,
    place::{Place, entries},
    podman, says, tool,
};
use serde_json::{Value, json};
use std::fs;

fn sample(place: &Place) -> String {
    let history = json!({"Cmd": ["/bin/cat", "/last"]});
    let id = layout::write(&place.path("layout"), "sample", &layout::many(4), history);
    place.rubber(&["import", "oci:layout", "sample"]).good();
    id
}

#[test]
fn podman_and_skopeo_read_back_what_is_saved() {
    if !lab::is_root() || !lab::has("podman") || !lab::has("skopeo") {
        return lab::skip_this("it takes root, podman and skopeo");
    }
    let place = Place::new();
    let id = sample(&place);
    let diff_ids = inspect(&place, "sample")["rootfs"]["diff_ids"].clone();
    for (format, transport) in [("oci-archive", "oci-archive"), ("docker-archive", "docker-archive")] {
        place.rubber(&["save", "sample", "-o", format, "--format", format]).good();
        let config =
            tool(&place, "skopeo", &["inspect", "--config", "--raw", &format!("{transport}:{format}")]);
        assert_eq!(layout::digest(config.as_bytes()), id, "{format}");
        podman(&place, &["load", "-q", "-i", format]);
        let there = podman(&place, &["image", "inspect", "docker.io/library/sample:latest"]);
        let there: Value = serde_json::from_str(&there).unwrap();
        assert_eq!(format!("sha256:{}", there[0]["Id"].as_str().unwrap()), id, "{format}");
        assert_eq!(there[0]["RootFS"]["Layers"], diff_ids, "{format}");
        podman(&place, &["rmi", "docker.io/library/sample:latest"]);
    }
    // And back again.
    place.rubber(&["rmi", "sample"]).good();
    place.rubber(&["import", "docker-archive", "back"]).good();
    assert_eq!(crate::id(&place, "back"), id);
    let piped = place.command(&["save", "back"]).output().unwrap();
    assert!(piped.status.success() && piped.stdout.starts_with(b"blobs"));
}

#[test]
fn what_was_made_here_is_packed_to_be_saved() {
    let place = Place::new();
    sample(&place);
    place
        .rubber(&[
            "run",
            "--name",
            "c",
            "sample",
            "/bin/sh",
            "-c",
            "rm /l/1; echo new >/l/2; touch -d 2001-02-03 /l/3",
        ])
        .good();
    place.rubber(&["commit", "c", "made"]).good();
    place.rubber(&["rm", "c"]).good();
    let before = entries(&place.store().join("blobs/sha256"));
    let made = place.rubber(&["save", "made", "-o", "made.oci"]).good();
    assert_eq!(made.err, "", "its layers are packed to what they were");
    assert_eq!(entries(&place.store().join("blobs/sha256")), before, "what was packed does not stay");
    let id_before = id(&place, "made");
    place.rubber(&["rmi", "made", "sample"]).good();
    place.rubber(&["import", "made.oci"]).good();
    assert_eq!(id(&place, "made"), id_before);
    assert_eq!(says(&place, &["made", "/bin/sh", "-c", "cat /l/2; ls /l"]), "new\n2\n3");
}

#[test]
fn names_history_and_sizes() {
    let place = Place::new();
    let id = sample(&place);
    let short = &id["sha256:".len()..][..12];
    place.rubber(&["tag", "sample", "example.org/b:v2"]).good();
    place.rubber(&["tag", short, "third"]).good();
    place.rubber(&["tag", "nothing", "x"]).refused("no image \"nothing\"");
    assert_eq!(inspect(&place, "third")["names"], json!(["example.org/b:v2", "sample", "third"]));
    let quiet = place.rubber(&["image", "ls", "-q"]).good().out;
    assert_eq!(quiet, format!("{short}\n").repeat(3));
    place.rubber(&["rmi", "sample"]).good();
    assert_eq!(says(&place, &["third"]), "3", "another name keeps it");
    layout::write(&place.path("more"), "more", &layout::many(6), json!({}));
    place.rubber(&["import", "oci:more", "more"]).good();
    let listed: Value =
        serde_json::from_str(&place.rubber(&["images", "--format", "json"]).good().out).unwrap();
    let of =
        |name: &str| listed.as_array().unwrap().iter().find(|image| image["name"] == name).unwrap().clone();
    let number = |image: &Value, key: &str| image[key].as_u64().unwrap();
    let (third, more) = (of("third"), of("more"));
    assert_eq!(number(&third, "unique"), 0);
    assert_eq!(number(&third, "shared"), number(&more, "shared"));
    assert_eq!(number(&more, "size"), number(&more, "shared") + number(&more, "unique"));
    assert!(number(&more, "unique") > 0);
    let history = place.rubber(&["history", "more"]).good().out;
    assert_eq!(history.lines().count(), 7, "{history}");
    place.rubber(&["inspect", "third"]).good();
    place.rubber(&["inspect", "--type", "container", "third"]).refused("third");
    let pruned = place.rubber(&["image", "prune", "-a"]).good().out;
    assert!(pruned.contains("removed third") && !pruned.contains("freed 0"), "{pruned}");
    place.assert_empty_store();
    assert_eq!(entries(&place.store().join("blobs/sha256")).len(), 0);
}

#[test]
fn a_save_that_fails_leaves_no_file() {
    let place = Place::new();
    sample(&place);
    let blob = entries(&place.store().join("blobs/sha256")).pop().unwrap();
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&blob, bytes).unwrap();
    place.rubber(&["save", "sample", "-o", "it"]).refused("is damaged: get the image again");
    fs::remove_file(&blob).unwrap();
    place.rubber(&["save", "sample", "-o", "it"]).refused("is not in the store any more");
    assert!(!place.path("it").exists());
    place.rubber(&["import", "oci:layout", "sample"]).good();
    place.rubber(&["save", "sample", "-o", "it"]).good();
}

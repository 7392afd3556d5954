//! What other programs have written becomes an image.

use crate::{
    id, inodes, inspect, lab, layout,
    place::{Place, entries},
    says, tool,
};
use serde_json::json;
use std::{fs, io::Write, process::Stdio};

const SETTINGS: &str = r#"{"Env":["A=b"],"Cmd":["-c","echo $A $(pwd) $(id -u):$(id -g)"],"Entrypoint":["/bin/sh"],
    "User":"7:8","WorkingDir":"/l","StopSignal":"SIGUSR1","ExposedPorts":{"80/tcp":{}}}"#;

/// An image called example.org/a:v1 in every form there is, by skopeo, and the digest of its configuration.
fn in_every_form(place: &Place) -> String {
    let settings = serde_json::from_str(SETTINGS).unwrap();
    let id = layout::write(&place.path("layout"), "example.org/a:v1", &layout::many(3), settings);
    tool(
        place,
        "skopeo",
        &["copy", "-q", "oci:layout:example.org/a:v1", "oci-archive:a.oci:example.org/a:v1"],
    );
    tool(
        place,
        "skopeo",
        &["copy", "-q", "oci:layout:example.org/a:v1", "docker-archive:a.docker:example.org/a:v1"],
    );
    tool(place, "sh", &["-c", "for form in oci docker; do gzip -k a.$form; zstd -q a.$form; done"]);
    tool(place, "sh", &["-c", "cd layout && tar cf ../a.tar ."]);
    id
}

fn lacks_tools() -> bool {
    let missing = ["skopeo", "zstd", "gzip"].iter().find(|tool| !lab::has(tool));
    missing.inspect(|tool| lab::skip_this(&format!("no {tool} here"))).is_some()
}

#[test]
fn images_of_other_programs_are_recognised_by_what_is_in_them() {
    if lacks_tools() {
        return;
    }
    let place = Place::new();
    let id_there = in_every_form(&place);
    let forms =
        ["a.oci", "a.oci.gz", "a.oci.zst", "a.docker", "a.docker.gz", "a.docker.zst", "a.tar", "layout"];
    for form in forms {
        place.rubber(&["import", form]).good();
        // docker's form has the layers alone, and skopeo writes the configuration anew.
        if !form.contains("docker") {
            assert_eq!(id(&place, "example.org/a:v1"), id_there, "{form}");
        }
        assert_eq!(says(&place, &["example.org/a:v1"]), "b /l 7:8", "{form}");
        assert_eq!(says(&place, &["example.org/a:v1", "-c", "cat /last; ls /l"]), "21\n2", "{form}");
        place.rubber(&["rmi", "example.org/a:v1"]).good();
        place.assert_empty_store();
        assert_eq!(entries(&place.store().join("blobs/sha256")), [] as [std::path::PathBuf; 0], "{form}");
        assert_eq!(entries(&place.store().join("manifests")), [] as [std::path::PathBuf; 0], "{form}");
    }
    for form in ["a.oci", "a.oci.gz", "a.docker.zst"] {
        let mut command = place.command(&["import", "-", "piped"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&fs::read(place.path(form)).unwrap()).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success());
        let told = String::from_utf8(ended.stderr).unwrap();
        let layers: Vec<_> = told.lines().filter(|line| line.starts_with("rubber: layer ")).collect();
        assert_eq!(layers.len(), 3, "{form}: {told}");
        // All that is in a stream is kept as it passes, for nobody knows yet what it belongs to.
        assert!(layers.iter().all(|line| line.ends_with(", here already")), "{form}: {told}");
        assert_eq!(says(&place, &["piped", "-c", "cat /last"]), "2", "{form} through a pipe");
        // What else was in the archive is gone: three layers are all there is.
        assert_eq!(entries(&place.store().join("blobs/sha256")).len(), 3);
    }
    let about = inspect(&place, "piped");
    assert_eq!(about["config"]["ExposedPorts"], json!({"80/tcp": {}}));
    place.rubber(&["run", "-d", "--name", "c", "piped", "-c", "sleep 100"]).good();
    let container = place.rubber(&["inspect", "c"]).good().out;
    assert!(container.contains("\"signal\": 10"), "SIGUSR1: {container}");
    place.rubber(&["rm", "-f", "c"]).good();
}

#[test]
fn archives_are_run_where_they_lie_and_known_by_their_content() {
    if lacks_tools() {
        return;
    }
    let place = Place::new();
    in_every_form(&place);
    let transports = [
        "docker-archive:a.docker",
        "docker-archive:a.docker:example.org/a:v1",
        "docker-archive:a.docker:@0",
        "oci-archive:a.oci",
        "oci:layout",
        "oci:layout:example.org/a:v1",
        "oci-archive:a.oci.gz",
    ];
    for transport in transports {
        assert_eq!(says(&place, &[transport]), "b /l 7:8", "{transport}");
    }
    let unpacked = inodes(&place);
    assert_eq!(unpacked.len(), 3);
    // Elsewhere, by another name, of another time: it is the same image.
    fs::rename(place.path("a.docker"), place.path("moved")).unwrap();
    tool(&place, "touch", &["moved"]);
    assert_eq!(says(&place, &["docker-archive:moved"]), "b /l 7:8");
    assert_eq!(inodes(&place), unpacked);
    let listed = place.rubber(&["images"]).good().out;
    assert!(listed.lines().skip(1).all(|line| line.starts_with("<none>")), "{listed}");
    let inspected = place.rubber(&["inspect", "oci:layout"]).good().out;
    assert!(inspected.contains("SIGUSR1"), "{inspected}");
    // Of the same name and time, with other content, it is another image.
    let other =
        layout::write(&place.path("other"), "o", &layout::many(2), json!({"Cmd": ["/bin/cat", "/last"]}));
    fs::remove_dir_all(place.path("layout")).unwrap();
    fs::rename(place.path("other"), place.path("layout")).unwrap();
    assert_eq!(says(&place, &["oci:layout"]), "1", "{other}");
    place.rubber(&["image", "prune"]).good();
    place.assert_empty_store();
}

#[test]
fn a_plain_root_is_run_out_of_its_archive() {
    let place = Place::new();
    fs::write(place.path("root.tar"), layout::busybox()).unwrap();
    fs::write(place.path("root.tgz"), layout::gzip(&layout::busybox())).unwrap();
    assert_eq!(says(&place, &["tar:root.tar", "echo", "hello"]), "hello");
    let unpacked = inodes(&place);
    assert_eq!(says(&place, &["tar:root.tgz", "echo", "again"]), "again");
    assert_eq!(inodes(&place), unpacked);
    place.rubber(&["run", "tar:missing.tar"]).refused("No such file");
    place.rubber(&["run", "docker-archive:root.tar"]).refused("no archive of images");
}

#[test]
fn one_of_several_images_is_asked_for() {
    if lacks_tools() {
        return;
    }
    let place = Place::new();
    for (name, layers) in [("one", 2), ("two", 3)] {
        layout::write(&place.path(name), name, &layout::many(layers), json!({"Cmd": ["/bin/cat", "/last"]}));
        place.rubber(&["import", &format!("oci:{name}"), name]).good();
    }
    place.rubber(&["save", "one", "two", "-o", "both"]).good();
    place.rubber(&["save", "one", "two", "-o", "both.docker", "--format", "docker-archive"]).good();
    for both in ["both", "both.docker"] {
        place.rubber(&["import", both]).refused("there are 2 images in it (\"docker.io/library/one:latest\"");
        let transport = if both == "both" { "oci-archive" } else { "docker-archive" };
        assert_eq!(says(&place, &[&format!("{transport}:{both}:two")]), "2");
        assert_eq!(says(&place, &[&format!("{transport}:{both}:@0")]), "1");
        place.rubber(&["run", &format!("{transport}:{both}:three")]).refused("there is no \"three\" in it");
    }
}

#[test]
fn as_many_layers_as_an_overlay_takes() {
    let place = Place::new();
    for count in [30, 127, 300] {
        let name = format!("of-{count}");
        let cat =
            json!({"Cmd": ["/bin/sh", "-c", "cat /last; echo; ls /l | wc -l; ls /proc/self/fd | wc -l"]});
        layout::write(&place.path(&name), &name, &layout::many(count), cat);
        place.rubber(&["import", &format!("oci:{name}"), &name]).good();
        let expected = format!("{}\n{}\n4", count - 1, count - 1);
        assert_eq!(says(&place, &[&name]), expected, "and nothing of the store is open inside");
    }
    place.rubber(&["run", "--name", "kept", "of-127", "sh", "-c", "echo new >/l/5; rm /l/6"]).good();
    let changes = place.rubber(&["diff", "kept"]).good().out;
    assert!(changes.contains("C /l/5\nD /l/6"), "{changes}");
    place.rubber(&["commit", "kept", "more"]).good();
    assert_eq!(says(&place, &["more", "sh", "-c", "cat /l/5; ls /l | wc -l"]), "new\n125");
    place.rubber(&["rm", "kept"]).good();
    // The same layer twice: an overlay would not take its directory twice.
    let layers = [
        layout::busybox(),
        layout::files(&[("f", "1")]),
        layout::files(&[("f", "2")]),
        layout::files(&[("f", "1")]),
    ];
    layout::write(&place.path("twice"), "twice", &layers, json!({"Cmd": ["/bin/cat", "/f"]}));
    assert_eq!(says(&place, &["oci:twice"]), "1");
    let too_many: Vec<_> = (0..501).map(|_| layout::files(&[("f", "1")])).collect();
    layout::write(&place.path("too-many"), "too-many", &too_many, json!({}));
    place.rubber(&["import", "oci:too-many", "it"]).refused("501 layers");
}

//! A real registry, filled by skopeo: what rubber pulls is what was pushed, in every form there is.

use super::{
    lab::skip_this,
    place::{Place, entries},
    real::{Manner, Registry, is_installed, tool},
    rubber,
    site::*,
    tars::Tar,
};
use serde_json::json;
use std::{fs, path::Path};

/// An OCI layout `oci` of what a registry would have.
fn layout(directory: &Path, content: &Content) {
    fs::create_dir_all(directory.join("oci/blobs/sha256")).unwrap();
    fs::write(directory.join("oci/oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let mut entries = Vec::new();
    for (name, (kind, bytes)) in &content.manifests {
        let digest = digest(bytes);
        fs::write(directory.join("oci/blobs/sha256").join(&digest[7..]), bytes).unwrap();
        if *name != digest {
            entries.push(json!({"mediaType": kind, "digest": digest, "size": bytes.len(),
                                "annotations": {"org.opencontainers.image.ref.name": name}}));
        }
    }
    for (digest, bytes) in &content.blobs {
        fs::write(directory.join("oci/blobs/sha256").join(&digest[7..]), bytes).unwrap();
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    fs::write(directory.join("oci/index.json"), index.to_string()).unwrap();
}

/// Two layers.
fn layers() -> [Vec<u8>; 2] {
    let tool = Tar::new().directory("bin/").file("bin/tool", "#!/bin/sh\n").bytes();
    [tool, Tar::new().file("second", "the second layer").bytes()]
}

/// The layout with an image of them, `one`.
pub fn one(directory: &Path) {
    let mut content = Content::default();
    content.image("one", here(), &layers());
    layout(directory, &content);
}

fn copy(directory: &Path, flags: &[&str], from: &str, to: &str) {
    let words =
        [&["skopeo", "copy", "--insecure-policy", "--quiet", "--dest-tls-verify=false"], flags, &[from, to]];
    tool(directory, &words.concat());
}

#[test]
fn every_form_of_an_image_is_pulled() {
    if !is_installed() {
        return;
    }
    let place = Place::new();
    let directory = place.directory.path();
    one(directory);
    let registry = Registry::start(directory, &Manner::default());
    let forms: &[(&str, &[&str])] = &[
        ("oci", &["--format", "oci"]),
        ("docker", &["--format", "v2s2"]),
        ("zstd", &["--format", "oci", "--dest-compress-format", "zstd"]),
    ];
    for (tag, flags) in forms {
        copy(directory, flags, "oci:oci:one", &format!("docker://{}/forms:{tag}", registry.address));
        let name = format!("{}/forms:{tag}", registry.address);
        let ended = rubber(&place, &["pull", &name]).good();
        assert!(ended.out.starts_with(&name) && ended.out.lines().count() == 1, "{}", ended.out);
        let lines: Vec<_> = ended.err.lines().collect();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.starts_with("rubber: layer ")), "{lines:?}");
    }
    // Whatever they were compressed with: these are the same two layers.
    let layers = place.layers();
    assert_eq!(layers.len(), 2);
    assert!(layers.iter().any(|layer| layer.join("bin/tool").is_file()));
    assert!(layers.iter().any(|layer| layer.join("second").is_file()));
    // By its digest, too, which says which it is.
    let inspect = format!("docker://{}/forms:docker", registry.address);
    let raw = tool(directory, &["skopeo", "inspect", "--raw", "--tls-verify=false", &inspect]).stdout;
    let name = format!("{}/forms@{}", registry.address, digest(&raw));
    rubber(&place, &["pull", "--quiet", &name]).good();
    assert!(rubber(&place, &["images"]).good().out.contains(&name));
    rubber(&place, &["rmi", &name]).good();
}

#[test]
fn an_index_gives_each_machine_its_own() {
    if !is_installed() {
        return;
    }
    let place = Place::new();
    let directory = place.directory.path();
    let (mut content, mut listed) = (Content::default(), Vec::new());
    for (architecture, variant) in [("arm", "v6"), ("vax", ""), (here(), "")] {
        let document = content.image(&format!("for-{architecture}"), architecture, &layers());
        let bytes = document.to_string();
        let mut platform = json!({"os": "linux", "architecture": architecture});
        if !variant.is_empty() {
            platform["variant"] = variant.into();
        }
        listed
            .push(json!({"mediaType": OCI_MANIFEST, "digest": digest(bytes.as_bytes()), "size": bytes.len(),
                            "platform": platform}));
    }
    content.manifest(
        "all",
        OCI_INDEX,
        &json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}),
    );
    layout(directory, &content);
    let registry = Registry::start(directory, &Manner::default());
    copy(directory, &["--all"], "oci:oci:all", &format!("docker://{}/multi:all", registry.address));
    let name = format!("{}/multi:all", registry.address);
    let architecture = |flags: &[&str]| {
        let id = rubber(&place, &[&["pull", "--quiet"], flags, &[&name]].concat()).good().out;
        let stored = entries(&place.store().join("images"));
        let config: serde_json::Value = serde_json::from_slice(&fs::read(&stored[0]).unwrap()).unwrap();
        assert!(id.starts_with("sha256:"), "{id}");
        config["architecture"].as_str().unwrap().to_owned()
    };
    assert_eq!(architecture(&[]), here());
    assert_eq!(architecture(&["--platform", "linux/vax"]), "vax");
    assert_eq!(architecture(&["--platform", "linux/arm/v7"]), "arm");
    let ended = rubber(&place, &["pull", "--platform", "linux/s390x", &name]);
    ended.refused("there is none for linux/s390x: only linux/arm/v6, linux/vax");
    rubber(&place, &["pull", "--platform", "a/b/c/d", &name]).refused("bad platform");
}

#[test]
fn run_pulls_what_is_missing_and_says_so() {
    let Ok(busybox) = fs::read("/bin/busybox") else { return skip_this("no busybox") };
    let mut content = Content::default();
    let layer = Tar::new()
        .directory("bin/")
        .odd(tar::EntryType::Regular, "bin/sh", &busybox, |header| header.set_mode(0o755))
        .bytes();
    content.image("latest", here(), &[layer]);
    let site = Site::honest(content);
    let place = Place::new();
    let name = site.name();
    rubber(&place, &["run", "--pull", "never", &name, "sh", "-c", "true"])
        .refused("get one with: rubber pull");
    assert_eq!(site.asked().len(), 0);
    let first = rubber(&place, &["run", &name, "sh", "-c", "echo inside"]).good();
    assert_eq!(first.out, "inside\n");
    let pulling = format!("rubber: no image \"{name}\" yet: pulling it from {}\n", site.address);
    assert!(first.err.starts_with(&pulling), "{}", first.err);
    let asked = site.asked().len();
    let second = rubber(&place, &["run", &name, "sh", "-c", "echo again"]).good();
    assert_eq!((second.out.as_str(), second.err.as_str(), site.asked().len()), ("again\n", "", asked));
    rubber(&place, &["run", "--pull", "always", &name, "sh", "-c", "true"]).good();
    assert!(site.asked().len() > asked);
    // The image's own words.
    let third = rubber(&place, &["run", &name]).good();
    assert_eq!((third.out.as_str(), third.err.as_str()), ("", ""));
}

//! Archives of images that wish us ill: what is said of layers, and what layers say to those below them.

use super::{
    attacks::{gzip, zstd},
    lab,
    place::Place,
    tars::Tar,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt, symlink},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};
use tar::EntryType;

const OCI: &str = "application/vnd.oci.image";

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn described(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": format!("{OCI}.{kind}"), "digest": digest(bytes), "size": bytes.len()})
}

fn good() -> Vec<u8> {
    Tar::new().file("good", "good").bytes()
}

fn config(layers: &[&[u8]]) -> Value {
    let ids: Vec<_> = layers.iter().map(|layer| digest(layer)).collect();
    json!({"architecture": architecture(), "os": "linux", "config": {"Cmd": ["sh"]},
           "rootfs": {"type": "layers", "diff_ids": ids}})
}

fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// The files of an archive: name and content.
type Files = Vec<(String, Vec<u8>)>;

/// What `docker save` would write of these layers.
fn docker(layers: &[&[u8]]) -> Files {
    docker_with(layers, config(layers).to_string().into_bytes(), |_| ())
}

fn docker_with(layers: &[&[u8]], config: Vec<u8>, change: impl Fn(&mut Value)) -> Files {
    let names: Vec<_> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let mut manifest = json!({"Config": "c.json", "RepoTags": ["it:latest"], "Layers": names});
    change(&mut manifest);
    let mut files = vec![("manifest.json".to_owned(), json!([manifest]).to_string().into_bytes())];
    files.push(("c.json".to_owned(), config));
    files.extend(names.into_iter().zip(layers.iter().map(|layer| layer.to_vec())));
    files
}

/// An OCI layout with one image, after each of its three documents was changed.
fn oci(config: Vec<u8>, manifest: impl Fn(&mut Value), index: impl Fn(&mut Value)) -> Files {
    oci_of(&good(), &good(), config, manifest, index)
}

fn oci_of(
    layer: &[u8],
    plain: &[u8],
    config: Vec<u8>,
    change: impl Fn(&mut Value),
    index: impl Fn(&mut Value),
) -> Files {
    assert!(layer == plain || !layer.is_empty());
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": format!("{OCI}.manifest.v1+json"),
        "config": described("config.v1+json", &config),
        "layers": [described("layer.v1.tar", layer)],
    });
    change(&mut manifest);
    let manifest = manifest.to_string().into_bytes();
    let mut contents = json!({"schemaVersion": 2, "manifests": [described("manifest.v1+json", &manifest)]});
    index(&mut contents);
    vec![
        ("oci-layout".to_owned(), b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec()),
        ("index.json".to_owned(), contents.to_string().into_bytes()),
        (blob(&digest(&manifest)), manifest),
        (blob(&digest(&config)), config),
        (blob(&digest(layer)), layer.to_vec()),
    ]
}

fn plain_config() -> Vec<u8> {
    config(&[&good()]).to_string().into_bytes()
}

fn unchanged(_: &mut Value) {}

/// A digest promises what is in an image, and an archive may call its image what it likes.
#[test]
fn an_archive_does_not_call_its_image_by_a_digest() {
    let place = Place::new();
    let wanted = format!("{:064x}", 0xabcdef);
    for name in
        [format!("it@sha256:{wanted}"), format!("{wanted}:latest"), format!("docker.io/library/{wanted}")]
    {
        let named = |names: Value| {
            docker_with(&[&good()], plain_config(), move |entry| entry["RepoTags"] = names.clone())
        };
        fs::write(place.path("evil.tar"), tar(&named(json!([name])))).unwrap();
        place.rubber(&["import", "evil.tar"]).refused("has no name");
        // As containerd and skopeo write it.
        for key in ["io.containerd.image.name", "org.opencontainers.image.ref.name"] {
            let name = name.clone();
            let index =
                move |index: &mut Value| index["manifests"][0]["annotations"] = json!({key: name.clone()});
            fs::write(place.path("evil.tar"), tar(&oci(plain_config(), unchanged, index))).unwrap();
            place.rubber(&["import", "evil.tar"]).refused("has no name");
        }
        fs::write(place.path("both.tar"), tar(&named(json!([name, "other:1"])))).unwrap();
        assert!(place.rubber(&["import", "both.tar"]).good().out.starts_with("other:1  "));
    }
    assert_eq!(place.rubber(&["images"]).good().out.lines().count(), 2, "a line of headings, and other:1");
}

#[test]
fn an_archive_does_not_take_another_images_place_by_calling_itself_as_its_id() {
    let place = Place::new();
    fs::write(place.path("good.tar"), tar(&docker(&[&good()]))).unwrap();
    place.rubber(&["import", "good.tar"]).good();
    let listed = place.rubber(&["images", "--format", "json"]).good().out;
    let id = serde_json::from_str::<Value>(&listed).unwrap()[0]["id"].as_str().unwrap().to_owned();
    let bad = Tar::new().file("bad", "bad").bytes();
    let evil = docker_with(&[&bad], config(&[&bad]).to_string().into_bytes(), |entry| {
        entry["RepoTags"] = json!([format!("{id}:latest")]);
    });
    fs::write(place.path("evil.tar"), tar(&evil)).unwrap();
    place.rubber(&["import", "evil.tar"]).good();
    for command in ["rmi", "history"] {
        place.rubber(&[command, &id]).refused("is the name of an image and begins the id of another, it: ");
    }
    place.rubber(&["tag", &id, "prod"]).refused("docker.io/library/");
    place.rubber(&["history", "it"]).good();
    let ended = place.rubber(&["rmi", &format!("docker.io/library/{id}")]).good();
    assert_eq!(ended.out, format!("removed {id}\n"));
    // With one of the two gone it means the other.
    assert_eq!(place.rubber(&["rmi", &id]).good().out, "removed it\n");
}

fn tar(files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &content[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

/// One blob more, and the index's entry that names it.
fn with_index(files: Files, entries: Value, kind: &str) -> Files {
    let inner =
        json!({"schemaVersion": 2, "mediaType": format!("{OCI}.index.v1+json"), "manifests": entries});
    let inner = inner.to_string().into_bytes();
    let outer = json!({"schemaVersion": 2, "manifests": [described(kind, &inner)]});
    let mut files: Files = files.into_iter().filter(|(name, _)| name != "index.json").collect();
    files.push(("index.json".to_owned(), outer.to_string().into_bytes()));
    files.push((blob(&digest(&inner)), inner));
    files
}

fn documents() -> Vec<(&'static str, &'static str, Files)> {
    let no = unchanged;
    let other = digest(b"other");
    let layer = digest(&good());
    let changed = |change: fn(&mut Value)| {
        let mut value = config(&[&good()]);
        change(&mut value);
        value.to_string().into_bytes()
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let long: Vec<String> = vec!["x".into(); 1_000_000];
    let entry = |kind: &str, bytes: &[u8]| described(kind, bytes);
    let itself = json!([{"mediaType": format!("{OCI}.index.v1+json"), "digest": layer, "size": good().len(),
        "platform": {"os": "linux", "architecture": architecture()}}]);
    vec![
        ("config is not JSON", "makes no sense", oci(b"never mind".to_vec(), no, no)),
        ("config is a list", "makes no sense", oci(b"[]".to_vec(), no, no)),
        (
            "config nests 100,000 deep",
            "makes no sense",
            oci(format!("{{\"x\":{deep}}}").into_bytes(), no, no),
        ),
        ("config is 5 MiB", "are refused", oci(vec![b' '; 5 << 20], no, no)),
        (
            "config names a million arguments",
            "makes no sense",
            oci(json!({"config": {"Cmd": long}}).to_string().into_bytes(), no, no),
        ),
        (
            "config without layers",
            "they do not belong together",
            oci(config(&[]).to_string().into_bytes(), no, no),
        ),
        (
            "config with a layer more",
            "they do not belong together",
            oci(config(&[&good(), b"x"]).to_string().into_bytes(), no, no),
        ),
        (
            "config promises another layer",
            "promises",
            oci(config(&[b"other"]).to_string().into_bytes(), no, no),
        ),
        (
            "diff_id leads out",
            "not a sha256 digest",
            oci(changed(|c| c["rootfs"]["diff_ids"][0] = json!("sha256:../../../canary")), no, no),
        ),
        (
            "diff_id of another kind",
            "not a sha256 digest",
            oci(changed(|c| c["rootfs"]["diff_ids"][0] = json!("md5:0")), no, no),
        ),
        (
            "for another machine",
            "made for linux/s390x",
            oci(changed(|c| c["architecture"] = json!("s390x")), no, no),
        ),
        ("for another system", "made for windows", oci(changed(|c| c["os"] = json!("windows")), no, no)),
        ("manifest and index at once", "at once", oci(plain_config(), |m| m["manifests"] = json!([]), no)),
        ("manifest of schema 1", "schema 1", oci(plain_config(), |m| m["schemaVersion"] = json!(1), no)),
        (
            "manifest without schema",
            "schemaVersion",
            oci(plain_config(), |m| m["schemaVersion"] = json!(null), no),
        ),
        (
            "manifest of docker's kind with OCI's config",
            "refused",
            oci(
                plain_config(),
                |m| m["mediaType"] = json!("application/vnd.docker.distribution.manifest.v2+json"),
                no,
            ),
        ),
        (
            "manifest of OCI's kind with docker's config",
            "with a config of type",
            oci(
                plain_config(),
                |m| m["config"]["mediaType"] = json!("application/vnd.docker.container.image.v1+json"),
                no,
            ),
        ),
        (
            "manifest that calls itself an index",
            "refused",
            oci(plain_config(), |m| m["mediaType"] = json!(format!("{OCI}.index.v1+json")), no),
        ),
        (
            "manifest sent as an index",
            "refused",
            oci(plain_config(), no, |i| {
                i["manifests"][0]["mediaType"] = json!(format!("{OCI}.index.v1+json"))
            }),
        ),
        (
            "an artifact",
            "no container image",
            oci(
                plain_config(),
                |m| m["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json"),
                no,
            ),
        ),
        (
            "layer of a type nobody knows",
            "layer 1",
            oci(plain_config(), |m| m["layers"][0]["mediaType"] = json!("application/zip"), no),
        ),
        (
            "layer that is foreign",
            "layer 1",
            oci(
                plain_config(),
                |m| {
                    m["layers"][0]["mediaType"] =
                        json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
                },
                no,
            ),
        ),
        (
            "layer whose digest leads out",
            "not a sha256 digest",
            oci(plain_config(), |m| m["layers"][0]["digest"] = json!("sha256:../../../../etc/passwd"), no),
        ),
        (
            "layer that is missing",
            "it is missing",
            oci(plain_config(), move |m| m["layers"][0]["digest"] = json!(other), no),
        ),
        (
            "layer larger than it says",
            "layer 1",
            oci(plain_config(), |m| m["layers"][0]["size"] = json!(100), no),
        ),
        (
            "layer smaller than it says",
            "layer 1",
            oci(plain_config(), |m| m["layers"][0]["size"] = json!(1 << 20), no),
        ),
        (
            "layer of 2^63 bytes",
            "layer 1",
            oci(plain_config(), |m| m["layers"][0]["size"] = json!(1u64 << 63), no),
        ),
        (
            "layer of -1 bytes",
            "this is no manifest",
            oci(plain_config(), |m| m["layers"][0]["size"] = json!(-1), no),
        ),
        (
            "layers that are no list",
            "this is no manifest",
            oci(plain_config(), |m| m["layers"] = json!({"0": {}}), no),
        ),
        ("no layers", "it has no layers", oci(plain_config(), |m| m["layers"] = json!([]), no)),
        (
            "10,000 layers",
            "an overlay takes",
            oci(
                plain_config(),
                |m| {
                    m["layers"] = json!(vec![m["layers"][0].clone(); 10_000]);
                },
                no,
            ),
        ),
        (
            "manifest that says it has a gibibyte",
            "were promised",
            oci(plain_config(), no, |i| i["manifests"][0]["size"] = json!(1 << 30)),
        ),
        ("manifest that is another", "refused", {
            let mut files = oci(plain_config(), no, no);
            files[2].1.push(b' ');
            files
        }),
        (
            "manifest of 5 MiB",
            "are refused",
            oci(plain_config(), |m| m["annotations"] = json!({"x": "y".repeat(5 << 20)}), no),
        ),
        (
            "manifest whose digest leads out",
            "not a sha256 digest",
            oci(plain_config(), no, |i| i["manifests"][0]["digest"] = json!("sha256:../../index.json")),
        ),
        (
            "index that is no JSON",
            "makes no sense",
            vec![("oci-layout".into(), b"{}".to_vec()), ("index.json".into(), b"{\"manifests\":".to_vec())],
        ),
        ("index that is empty", "no image", oci(plain_config(), no, |i| i["manifests"] = json!([]))),
        ("index of 5 MiB", "refused", oci(plain_config(), no, |i| i["x"] = json!("y".repeat(5 << 20)))),
        (
            "index in an index",
            "index in an index",
            with_index(oci(plain_config(), no, no), itself, "index.v1+json"),
        ),
        (
            "index in an index, under a manifest's name",
            "refused",
            with_index(
                oci(plain_config(), no, no),
                json!([entry("manifest.v1+json", b"x")]),
                "manifest.v1+json",
            ),
        ),
        (
            "index for other machines",
            "there is none for",
            with_index(
                oci(plain_config(), no, no),
                json!([
                    {"mediaType": format!("{OCI}.manifest.v1+json"), "digest": layer, "size": 1, "platform": {"os": "plan9", "architecture": "mips"}}
                ]),
                "index.v1+json",
            ),
        ),
        (
            "index of 2000 images",
            "are refused",
            with_index(
                oci(plain_config(), no, no),
                json!(vec![entry("manifest.v1+json", b"x"); 2000]),
                "index.v1+json",
            ),
        ),
        (
            "docker: manifest that is no JSON",
            "makes no sense",
            vec![("manifest.json".into(), b"[{]".to_vec())],
        ),
        ("docker: manifest of nothing", "no image", vec![("manifest.json".into(), b"[]".to_vec())]),
        (
            "docker: config that leads out",
            "is missing",
            docker_with(&[&good()], plain_config(), |m| m["Config"] = json!("../../../etc/passwd")),
        ),
        (
            "docker: config that is absolute",
            "is missing",
            docker_with(&[&good()], plain_config(), |m| m["Config"] = json!("/etc/passwd")),
        ),
        (
            "docker: layer that leads out",
            "layer 1",
            docker_with(&[&good()], plain_config(), |m| m["Layers"] = json!(["../../../etc/passwd"])),
        ),
        (
            "docker: layer that is absolute",
            "layer 1",
            docker_with(&[&good()], plain_config(), |m| m["Layers"] = json!(["/etc/passwd"])),
        ),
        (
            "docker: layer that is no archive",
            "layer 1",
            docker_with(&[b"hello, world"], config(&[b"hello, world"]).to_string().into_bytes(), no),
        ),
        (
            "docker: layer more than promised",
            "do not belong together",
            docker_with(&[&good()], config(&[]).to_string().into_bytes(), no),
        ),
        (
            "docker: another layer than promised",
            "layer 1",
            docker_with(&[&good()], config(&[b"other"]).to_string().into_bytes(), no),
        ),
        (
            "docker: another layer, compressed",
            "layer 1",
            docker_with(&[&gzip(&good())], config(&[b"other"]).to_string().into_bytes(), no),
        ),
        ("docker: config that is no JSON", "makes no sense", docker_with(&[&good()], b"{".to_vec(), no)),
        (
            "docker: config that nests 100,000 deep",
            "makes no sense",
            docker_with(&[&good()], deep.into_bytes(), no),
        ),
    ]
}

#[test]
fn layouts_that_lie_are_refused_with_one_line_and_leave_nothing() {
    let place = Place::new();
    fs::write(place.path("canary"), "alive").unwrap();
    let mut failed = Vec::new();
    for (name, words, files) in documents() {
        for form in ["stream", "file", "directory"] {
            let place = Place::new();
            let tried = catch_unwind(AssertUnwindSafe(|| {
                let ended = match form {
                    "stream" => place.import(&tar(&files)),
                    "file" => {
                        fs::write(place.path("archive"), tar(&files)).unwrap();
                        place.rubber(&["import", "archive", "it"])
                    }
                    _ if files[0].0 != "oci-layout" => return,
                    _ => {
                        write_all(&place.path("layout"), &files);
                        place.rubber(&["import", "layout", "it"])
                    }
                };
                lab::note(&format!("{name}, {form}: {}", ended.err.trim_end()));
                assert!(ended.err.len() < 1000, "{}", ended.err);
                ended.refused(words);
                place.assert_empty_store();
                assert_no_blobs(&place);
            }));
            if tried.is_err() {
                failed.push(format!("{name}, {form}"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(fs::read_to_string(place.path("canary")).unwrap(), "alive");
}

fn write_all(directory: &Path, files: &Files) {
    for (name, content) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Not one that is whole: what was begun may be gone on with.
fn assert_no_blobs(place: &Place) {
    let blobs = crate::place::entries(&place.store().join("blobs/sha256"));
    assert!(blobs.is_empty(), "{blobs:?}");
}

/// A link in a layout is followed as in a container: `/` is the layout.
#[test]
fn links_in_a_layout_lead_nowhere_else() {
    let place = Place::new();
    let secret = place.path("secret");
    fs::write(&secret, good()).unwrap();
    let files = oci(plain_config(), unchanged, unchanged);
    let layer = blob(&digest(&good()));
    for target in [secret.as_path(), Path::new("../../../secret"), Path::new("/proc/self/fd/0")] {
        let layout = place.path("layout");
        write_all(&layout, &files);
        fs::remove_file(layout.join(&layer)).unwrap();
        symlink(target, layout.join(&layer)).unwrap();
        place.rubber(&["import", "layout", "it"]).refused("layer 1");
        place.assert_empty_store();
        fs::remove_dir_all(&layout).unwrap();
    }
    // A fifo would be waited for, and a device may do anything.
    write_all(&place.path("layout"), &files);
    fs::remove_file(place.path("layout").join(&layer)).unwrap();
    nix::unistd::mkfifo(&place.path("layout").join(&layer), nix::sys::stat::Mode::S_IRUSR).unwrap();
    place.rubber(&["import", "layout", "it"]).refused("no file");
    // In an archive, as well.
    let links = |target: &str| {
        let mut tar = Tar::new();
        for (name, content) in &files {
            let text = String::from_utf8_lossy(content).into_owned();
            tar = if *name == layer { tar.symlink(name, target) } else { tar.file(name, &text) };
        }
        tar.bytes()
    };
    for target in ["/etc/passwd", "../../../etc/passwd", "nowhere"] {
        place.import(&links(target)).refused("");
        place.assert_empty_store();
    }
}

#[test]
fn honest_layouts_are_taken_whatever_compresses_them() {
    for layer in [good(), gzip(&good()), zstd(&good())] {
        let place = Place::new();
        let kind = match layer[0] {
            0x1f => "+gzip",
            0x28 => "+zstd",
            _ => "",
        };
        let name = |manifest: &mut Value| {
            manifest["layers"][0]["mediaType"] = json!(format!("{OCI}.layer.v1.tar{kind}"));
        };
        let files = oci_of(&layer, &good(), plain_config(), name, unchanged);
        place.import(&tar(&files)).good();
        assert_eq!(fs::read_to_string(place.layer().join("good")).unwrap(), "good");
    }
}

/// Two layers: what is below, and one that says ill things to it.
fn above(layer: Tar) -> Files {
    let below =
        Tar::new().directory("d").file("d/kept", "kept").file("canary", "below").symlink("l", "d").bytes();
    docker(&[&below, &layer.bytes()])
}

#[test]
fn whiteouts_take_away_nothing_else() {
    let cases: Vec<(&str, Tar)> = vec![
        ("takes nothing away", Tar::new().file(".wh...", "")),
        ("takes nothing away", Tar::new().file("d/.wh..", "")),
        ("takes nothing away", Tar::new().file(".wh.", "")),
        ("..", Tar::new().file("../.wh.canary", "")),
        ("..", Tar::new().file("d/../../.wh.canary", "")),
        ("leads nowhere", Tar::new().symlink("x", "/no/such").file("x/.wh.canary", "")),
        ("leads nowhere", Tar::new().symlink("x", "/no/such").file("x/.wh..wh..opq", "")),
        ("Not a directory", Tar::new().file("x", "").file("x/.wh.canary", "")),
        ("NUL", Tar::new().pax(&[("path", b".wh.a\0b")]).file("x", "")),
        ("File name too long", Tar::new().long(&format!(".wh.{}", "n".repeat(256))).file("x", "")),
        ("no such entry", Tar::new().hard_link("stolen", "canary")), // what is below is not this layer's to link to
        ("no such entry", Tar::new().file(".wh.canary", "").hard_link("stolen", "/etc/hostname")),
    ];
    for (words, layer) in cases {
        let place = Place::new();
        fs::write(place.path("canary"), "alive").unwrap();
        let ended = place.import(&tar(&above(layer)));
        assert!(ended.err.contains("layer 2") && ended.err.contains("entry \""), "{}", ended.err);
        ended.refused(words);
        place.assert_empty_store();
        assert_eq!(fs::read_to_string(place.path("canary")).unwrap(), "alive");
    }
}

/// The upper of two layers, by what is in it.
fn upper(place: &Place, layer: Tar) -> std::path::PathBuf {
    place.import(&tar(&above(layer))).good();
    place.layers().into_iter().find(|layer| !layer.join("d/kept").exists()).expect("the upper layer")
}

fn is_opaque(path: &Path) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"]
        .iter()
        .any(|name| matches!(xattr::get(path, name), Ok(Some(value)) if value == b"y"))
}

#[test]
fn a_layer_keeps_what_it_has_itself_whatever_it_takes_away() {
    let place = Place::new();
    let layer = Tar::new()
        .file("new", "new")
        .file(".wh.new", "")
        .file(".wh.later", "")
        .file("later", "later")
        .directory("d2")
        .file("d2/in", "in")
        .file(".wh.d2", "")
        .file(".wh.d", "")
        .directory("d")
        .file("d/in", "in")
        .file(".wh.canary", "")
        .file(".wh..wh.plnk/1.2", "aufs")
        .file(".wh..wh..opq", "")
        .entry(EntryType::Char, b"l", b"", b"")
        .file("/etc/absolute", "inside");
    let layer = upper(&place, layer);
    let kind = |name: &str| fs::symlink_metadata(layer.join(name)).unwrap().file_type();
    assert_eq!(fs::read_to_string(layer.join("new")).unwrap(), "new");
    assert_eq!(fs::read_to_string(layer.join("later")).unwrap(), "later");
    assert!(layer.join("d2/in").exists() && is_opaque(&layer.join("d2")));
    assert!(layer.join("d/in").exists() && is_opaque(&layer.join("d")), "what was in d below is gone");
    assert!(kind("canary").is_char_device());
    assert_eq!(fs::symlink_metadata(layer.join("canary")).unwrap().rdev(), 0);
    assert!(kind("l").is_char_device(), "a device that is left out hides what is below");
    assert!(!layer.join(".wh..wh.plnk").exists());
    assert_eq!(fs::read_to_string(layer.join("etc/absolute")).unwrap(), "inside");
}

/// As podman has it: where a link is below, a layer's own directory of that name covers it.
#[test]
fn a_parent_that_is_a_link_is_followed_in_its_own_layer_only() {
    let place = Place::new();
    let layer =
        Tar::new().directory("usr/lib").symlink("lib", "/usr/lib").file("lib/x.so", "x").file("l/y", "y");
    let layer = upper(&place, layer);
    assert_eq!(fs::read_to_string(layer.join("usr/lib/x.so")).unwrap(), "x");
    assert!(fs::symlink_metadata(layer.join("l")).unwrap().is_dir());
}

#[test]
fn a_layer_may_end_without_padding_and_zeros_as_its_digest_tells() {
    let place = Place::new();
    let layer = Tar::new().file("a", "b").unfinished();
    place.import(&tar(&docker(&[&layer[..513]]))).good();
    assert_eq!(fs::read_to_string(place.layer().join("a")).unwrap(), "b");
    let place = Place::new();
    place.import(&tar(&docker(&[&layer[..512]]))).refused("cut off");
    place.assert_empty_store();
    // One that changes nothing, as docker writes it.
    Place::new().import(&tar(&docker(&[&[0; 1024]]))).good();
}

/// The table of attacks again, as a layer: what is refused names the layer.
#[test]
fn every_attack_is_refused_in_a_layer_as_well() {
    let place = Place::new();
    for attack in super::attacks::all("/no/such/outside") {
        let compressed =
            attack.bytes.starts_with(&[0x1f, 0x8b]) || attack.bytes.starts_with(b"\x28\xb5\x2f\xfd");
        let super::attacks::Then::Refused(words) = attack.then else { continue };
        // Layers are allowed these, or are refused before they are unpacked.
        let differs = ["absolute", "cut off", "empty", "no user", "no such entry", "the name is empty"];
        if compressed || !attack.limits.is_empty() || differs.contains(&words) || attack.bytes.len() < 1024 {
            continue;
        }
        let ended = place.import(&tar(&docker(&[&attack.bytes])));
        assert!(ended.err.contains("layer 1 (sha256:"), "{}: {}", attack.name, ended.err);
        ended.refused(words);
        place.assert_empty_store();
        assert_no_blobs(&place);
    }
}

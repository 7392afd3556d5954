//! What no honest registry does: each is refused in one line that names the image and what is wrong with what, and
//! nothing of it is in the store.

use super::{
    place::{Place, entries},
    rubber,
    site::*,
    tars::Tar,
};
use serde_json::{Value, json};

fn layer() -> Vec<u8> {
    Tar::new().directory("bin/").file("bin/sh", "not much of a shell").bytes()
}

/// One image of one layer, and its manifest.
fn content() -> (Content, Value) {
    let mut content = Content::default();
    let document = content.image("latest", here(), &[layer()]);
    (content, document)
}

/// Pulls `it` from a site, which must be refused with these words, the image's name among them.
#[track_caller]
fn refused(site: &Site, words: &str) {
    refused_with(site, &[], words);
}

#[track_caller]
fn refused_with(site: &Site, flags: &[&str], words: &str) {
    let place = Place::new();
    let name = site.name();
    let ended =
        rubber(&place, &[&["pull", "--quiet", "--retry", "0", "--timeout", "1"], flags, &[&name]].concat());
    assert!(ended.err.contains(&format!("cannot pull {name}: ")), "{}", ended.err);
    assert!(!ended.err.contains('\u{1b}'), "{:?}", ended.err);
    ended.refused(words);
    empty(&place);
}

/// Nothing but what can be gone on with.
fn empty(place: &Place) {
    for part in ["images", "layers", "manifests", "blobs/sha256"] {
        assert_eq!(entries(&place.store().join(part)), [] as [std::path::PathBuf; 0], "in {part}");
    }
    for left in entries(&place.store().join("tmp")) {
        assert!(left.file_name().unwrap().to_str().unwrap().starts_with("blob-"), "{left:?}");
    }
}

/// Serves this document in place of the manifest.
#[track_caller]
fn refused_manifest(kind: &str, document: &Value, words: &str) {
    let (mut content, _) = content();
    content.manifest("latest", kind, document);
    refused(&Site::honest(content), words);
}

fn is_blob(asked: &Asked, digest: &Value) -> bool {
    asked.path.ends_with(digest.as_str().unwrap())
}

#[test]
fn what_is_honest_is_taken() {
    let (content, _) = content();
    let place = Place::new();
    rubber(&place, &["pull", &Site::honest(content).name()]).good();
    assert!(place.layer().join("bin/sh").is_file());
}

#[test]
fn manifests_that_are_none() {
    for (body, words) in [
        ("", "no manifest"),
        ("{", "no manifest"),
        ("[]", "no manifest"),
        ("<html>\u{1b}[31m", "no manifest"),
        ("{}", "schemaVersion"),
        (r#"{"schemaVersion":1}"#, "schema 1"),
    ] {
        let body = body.as_bytes().to_vec();
        let twist = move |asked: &Asked, _: usize| {
            let json = vec![header("Content-Type", OCI_MANIFEST)];
            asked.path.contains("/manifests/").then(|| Answer::Whole("200 OK", json, body.clone()))
        };
        refused(&Site::new(Content::default(), twist), words);
    }
}

#[test]
fn a_manifest_of_a_gibibyte() {
    let claimed = |asked: &Asked, _: usize| {
        let long = head("200 OK", &[header("Content-Type", OCI_MANIFEST)], Some(1 << 30), b"{");
        asked.path.contains("/manifests/").then_some(Answer::Stall(long))
    };
    refused(&Site::new(Content::default(), claimed), "1073741824 bytes: more than 4194304 are not read");
    // The same, and not said beforehand.
    let sent = |asked: &Asked, _: usize| {
        let start = head("200 OK", &[header("Content-Type", OCI_MANIFEST)], None, b"");
        asked.path.contains("/manifests/").then(|| Answer::Endless(start, vec![b' '; 1 << 20], 1 << 10))
    };
    let site = Site::new(Content::default(), sent);
    refused(&site, "too many bytes: more than 4194304 are not read");
}

#[test]
fn types_that_are_not_what_they_are_called() {
    let (_, document) = content();
    refused_manifest("application/vnd.oci.image.index.v1+json", &document, "it was sent as");
    let mut odd = document.clone();
    odd["layers"][0]["mediaType"] = "application/vnd.example.\u{1b}[31m".into();
    refused_manifest(OCI_MANIFEST, &odd, "is no layer that can be unpacked");
    let mut both = document.clone();
    both["manifests"] = json!([]);
    refused_manifest(OCI_MANIFEST, &both, "a manifest and an index at once");
}

#[test]
fn sizes_and_digests_that_cannot_be() {
    let (_, document) = content();
    for (key, value) in
        [("size", json!(-1)), ("size", json!("3")), ("digest", json!("sha256:../../../etc/passwd"))]
    {
        let mut odd = document.clone();
        odd["layers"][0][key] = value;
        refused_manifest(OCI_MANIFEST, &odd, "");
    }
    let mut config = document.clone();
    config["config"]["size"] = json!(1_u64 << 40);
    refused_manifest(OCI_MANIFEST, &config, "are refused");
    // The layer is shorter, and longer, than its manifest says.
    for (size, words) in [(1_u64, "promised"), (1 << 40, "promised")] {
        let mut odd = document.clone();
        odd["layers"][0]["size"] = json!(size);
        let digest = document["layers"][0]["digest"].as_str().unwrap();
        refused_manifest(OCI_MANIFEST, &odd, words);
        refused_manifest(OCI_MANIFEST, &odd, &format!("layer {digest}"));
    }
}

#[test]
fn indexes_that_lead_nowhere_good() {
    let (mut content, document) = content();
    let size = document.to_string().len();
    let digest = content.manifest("only", OCI_MANIFEST, &document);
    let entry = |kind: &str, digest: &str, architecture: &str, size: usize| {
        json!({"mediaType": kind, "digest": digest, "size": size,
               "platform": {"os": "linux", "architecture": architecture}})
    };
    let index =
        |entries: Vec<Value>| json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    // None for this machine: it says which there are.
    refused_manifest(OCI_INDEX, &index(vec![entry(OCI_MANIFEST, &digest, "vax", size)]), "only linux/vax");
    refused_manifest(OCI_INDEX, &index(vec![]), "");
    // In itself, openly and under the name of a manifest.
    let (mut inner, _) = self::content();
    let own = index(vec![entry(OCI_MANIFEST, &digest, here(), size)]);
    let own_digest = inner.manifest("inner", OCI_INDEX, &own);
    let length = own.to_string().len();
    for kind in [OCI_INDEX, OCI_MANIFEST] {
        let outer = index(vec![entry(kind, &own_digest, here(), length)]);
        let mut content = Content::default();
        content.manifest("latest", OCI_INDEX, &outer);
        content.manifest("inner", OCI_INDEX, &own);
        refused(&Site::honest(content), "index");
    }
    // Another size, and bytes that are not what the index says.
    content.manifest("latest", OCI_INDEX, &index(vec![entry(OCI_MANIFEST, &digest, here(), size + 1)]));
    refused(&Site::honest(content), "its index promises");
    let (mut content, _) = self::content();
    content.manifest("latest", OCI_INDEX, &index(vec![entry(OCI_MANIFEST, &digest, here(), size)]));
    content
        .manifests
        .insert(digest, (OCI_MANIFEST.into(), document.to_string().replace("sha", "Sha").into()));
    refused(&Site::honest(content), "what came as manifest sha256:");
}

#[test]
fn an_image_for_another_machine() {
    let mut content = Content::default();
    content.image("latest", "vax", &[layer()]);
    refused(&Site::honest(content), "it is made for linux/vax");
}

#[test]
fn a_digest_in_the_name_is_held_to() {
    let (content, document) = content();
    let wrong = digest(b"another");
    let site = Site::new(content, move |asked, _| {
        let other =
            Answer::Whole("200 OK", vec![header("Content-Type", OCI_MANIFEST)], document.to_string().into());
        asked.path.contains("/manifests/sha256").then_some(other)
    });
    let place = Place::new();
    let name = format!("{}@{wrong}", site.name());
    rubber(&place, &["pull", "--quiet", &name]).refused(&format!("what came as manifest {wrong} is sha256:"));
    empty(&place);
}

#[test]
fn configs_that_are_not_what_they_should_be() {
    let (_, document) = content();
    let config = document["config"]["digest"].clone();
    for (body, words) in [(&b"{}"[..], "config"), (b"", "config")] {
        let (content, config) = (self::content().0, config.clone());
        let site = Site::new(content, move |asked, _| is_blob(asked, &config).then(|| plain("200 OK", body)));
        refused(&site, words);
    }
    // An image of two layers and a config of one do not belong together.
    let mut twice = document.clone();
    twice["layers"] = json!([document["layers"][0], document["layers"][0]]);
    refused_manifest(OCI_MANIFEST, &twice, "2 layers and its config 1");
}

/// Serves the layer's blob in this way.
fn layer_served(how: impl Fn(&[u8], usize) -> Answer + Send + Sync + 'static) -> (Site, String) {
    let (content, document) = content();
    let digest = document["layers"][0]["digest"].clone();
    let blob = content.blobs[digest.as_str().unwrap()].clone();
    let name = digest.as_str().unwrap().to_owned();
    (Site::new(content, move |asked, count| is_blob(asked, &digest).then(|| how(&blob, count))), name)
}

#[test]
fn layers_that_are_not_what_they_are_said_to_be() {
    let (site, digest) = layer_served(|blob, _| {
        let mut other = blob.to_vec();
        other[20] ^= 1;
        plain("200 OK", other)
    });
    refused(&site, &format!("what came as {digest} is sha256:"));
    let (site, digest) = layer_served(|_, _| plain("404 Not Found", "gone\u{1b}]0;title\u{7}"));
    refused(&site, &format!("layer {digest}"));
}

#[test]
fn layers_that_are_too_short_or_too_long() {
    let (site, digest) = layer_served(|blob, _| plain("200 OK", &blob[..9]));
    refused(&site, &format!("layer {digest}: the registry has 9 bytes where"));
    let (site, _) = layer_served(|blob, _| plain("200 OK", [blob, b"more"].concat()));
    refused(&site, "were promised");
    // Without saying so beforehand.
    let (site, _) = layer_served(|blob, _| Answer::Raw(head("200 OK", &[], None, &blob[..9])));
    refused(&site, "ends after 9 of");
    let (site, _) = layer_served(|blob, _| Answer::Raw(head("200 OK", &[], Some(blob.len()), &blob[..9])));
    refused(&site, "breaks off at 9 of");
    let (site, _) =
        layer_served(|blob, _| Answer::Endless(head("200 OK", &[], None, blob), vec![0; 1 << 20], 1 << 10));
    refused(&site, "after all the bytes that were promised");
}

#[test]
fn a_layer_that_unpacks_to_something_else() {
    let (mut content, document) = content();
    let other = gzip(&Tar::new().file("other", "").bytes());
    let mut odd = document.clone();
    odd["layers"][0] = json!({"mediaType": OCI_LAYER, "size": other.len(), "digest": content.blob(other)});
    content.manifest("latest", OCI_MANIFEST, &odd);
    let place = Place::new();
    let site = Site::honest(content);
    rubber(&place, &["pull", "--quiet", &site.name()]).refused("and the config promises");
    assert_eq!(place.layers().len(), 0);
    assert_eq!(entries(&place.store().join("images")).len(), 0);
}

#[test]
fn a_registry_that_stalls() {
    let (site, _) = layer_served(|blob, _| Answer::Stall(head("200 OK", &[], Some(blob.len()), &blob[..9])));
    refused(&site, "breaks off at 9 of");
    refused(
        &Site::new(Content::default(), |_, _| Some(Answer::Stall(b"HTTP/1.1 200 OK\r\n".to_vec()))),
        "is silent for 1 s",
    );
    refused(&Site::new(Content::default(), |_, _| Some(Answer::Stall(Vec::new()))), "is silent for 1 s");
}

#[test]
fn what_is_no_http_at_all() {
    for bytes in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"HTTP/1.1 200 OK\r\nX: \x1b[31m\r\n\r\n",
        b"HTTP/1.1 999\r\n\r\n",
        b"\0\0\0",
    ] {
        refused(&Site::new(Content::default(), |_, _| Some(Answer::Raw(bytes.to_vec()))), "");
    }
    let many = [&b"HTTP/1.1 200 OK\r\n"[..], &b"X-Y: zzzzzzzzzzzzzzzz\r\n".repeat(100_000), b"\r\n"].concat();
    refused(&Site::new(Content::default(), move |_, _| Some(Answer::Raw(many.clone()))), "");
}

#[test]
fn words_of_a_registry_reach_no_terminal() {
    let said = r#"{"errors":[{"code":"DENIED\u001b[2J","message":"a\nb\u202etxt"}]}"#;
    refused(
        &Site::new(Content::default(), move |_, _| Some(plain("403 Forbidden", said))),
        r"DENIED\x1b[2J a\nb\u{202e}txt",
    );
    let types = vec![header("Content-Type", "text/html; x=\"\u{9b}31m\"")];
    let twist = move |_: &Asked, _: usize| Some(Answer::Whole("200 OK", types.clone(), b"{}".to_vec()));
    refused(&Site::new(Content::default(), twist), "");
}

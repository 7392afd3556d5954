//! Images made byte by byte: an OCI layout of layers that a test has written.
#![allow(dead_code)]

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{fs, io::Write, path::Path};
use tar::{Builder, EntryType, Header};

pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Writes the layout of one image called `name` of these plain tars, and returns the digest of its configuration.
pub fn write(dir: &Path, name: &str, layers: &[Vec<u8>], config: Value) -> String {
    fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    let put = |bytes: &[u8], media_type: &str| {
        let digest = digest(bytes);
        fs::write(dir.join("blobs/sha256").join(&digest["sha256:".len()..]), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
    };
    let diff_ids: Vec<_> = layers.iter().map(|layer| digest(layer)).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = put(config.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
    let layer = |layer: &Vec<u8>| put(&gzip(layer), "application/vnd.oci.image.layer.v1.tar+gzip");
    let layers: Vec<_> = layers.iter().map(layer).collect();
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
    let mut entry = put(manifest.to_string().as_bytes(), media_type);
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(dir.join("index.json"), index.to_string()).unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    config["digest"].as_str().unwrap().to_owned()
}

/// A layer: the busybox of this machine, under the names that a shell needs.
pub fn busybox() -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    let program = fs::read("/bin/busybox").or_else(|_| fs::read("/usr/bin/busybox")).expect("a busybox");
    // Its directory, too, as everybody lists it: of one that is not, everybody makes up the time.
    tar.append_data(&mut header(EntryType::Directory, 0o755), "bin", std::io::empty()).unwrap();
    append(&mut tar, "bin/busybox", 0o755, &program);
    for name in ["sh", "cat", "echo", "ls", "pwd", "id", "env", "true", "wc", "sleep", "touch", "rm"] {
        let mut header = header(EntryType::Symlink, 0o777);
        tar.append_link(&mut header, format!("bin/{name}"), "busybox").unwrap();
    }
    tar.into_inner().unwrap()
}

/// A layer of these files.
pub fn files(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, content) in files {
        append(&mut tar, name, 0o644, content.as_bytes());
    }
    tar.into_inner().unwrap()
}

fn append(tar: &mut Builder<Vec<u8>>, name: &str, mode: u32, content: &[u8]) {
    let mut header = header(EntryType::Regular, mode);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, name, content).unwrap();
}

pub fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_size(0);
    header
}

/// Busybox, and `count` layers on top of it that each say which is the last.
pub fn many(count: usize) -> Vec<Vec<u8>> {
    let layer = |n: usize| files(&[(&format!("l/{n}"), "x"), ("last", &n.to_string())]);
    std::iter::once(busybox()).chain((1..count).map(layer)).collect()
}

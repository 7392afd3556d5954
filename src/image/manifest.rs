//! Manifests and indexes: which blobs an image is made of, in OCI's words and in docker's.
//!
//! They come from strangers: they are small or refused, and each must be one thing only. (What one reader takes for
//! a manifest and another for an index is two images with one digest: CVE-2021-41190.)

pub use super::platform::Platform;
use super::{digest, store::hex};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The largest manifest, index or image configuration that is read, in bytes: what registries take, too.
pub const MOST_BYTES: u64 = 4 << 20;

/// More lower directories than this an overlay does not take: OVL_MAX_STACK in the kernel's fs/overlayfs/params.h.
pub const MOST_LAYERS: usize = 500;

const MOST_IMAGES: usize = 1000;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// What is read here, as the value of an `Accept:` header.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                          application/vnd.docker.distribution.manifest.list.v2+json, \
                          application/vnd.docker.distribution.manifest.v2+json";

/// What a document is.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // there is one at a time
pub enum Document {
    Manifest(Manifest),
    /// The same image for several platforms.
    Index(Vec<Descriptor>),
}

#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its bytes as they came: they are what its digest is of.
    pub raw: Vec<u8>,
    pub media_type: String,
    pub config: Descriptor,
    /// Lowest first.
    pub layers: Vec<Descriptor>,
}

/// A blob, and what is in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// In bytes.
    pub size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// The parts of all four kinds of documents.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    schema_version: Option<u64>,
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Writing<'a> {
    schema_version: u64,
    media_type: &'a str,
    config: &'a Descriptor,
    layers: &'a [Descriptor],
}

impl Manifest {
    /// One of our own, of blobs that are known.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Result<Manifest> {
        let media_type = OCI_MANIFEST;
        let raw =
            serde_json::to_vec(&Writing { schema_version: 2, media_type, config: &config, layers: &layers })?;
        Ok(Manifest { raw, media_type: media_type.to_owned(), config, layers })
    }

    pub fn digest(&self) -> String {
        digest(&self.raw)
    }
}

impl Descriptor {
    pub fn config(bytes: &[u8]) -> Descriptor {
        Descriptor::of(OCI_CONFIG.to_owned(), digest(bytes), bytes.len() as u64)
    }

    /// A layer; `compression` is as in `+gzip`, or empty.
    pub fn layer(compression: &str, digest: String, size: u64) -> Descriptor {
        Descriptor::of(format!("{OCI_LAYER}{compression}"), digest, size)
    }

    pub fn manifest(manifest: &Manifest) -> Descriptor {
        Descriptor::of(manifest.media_type.clone(), manifest.digest(), manifest.raw.len() as u64)
    }

    fn of(media_type: String, digest: String, size: u64) -> Descriptor {
        Descriptor { media_type, digest, size, platform: None, annotations: None }
    }

    /// The same layer in OCI's words.
    pub fn in_oci(&self) -> Descriptor {
        let compression = match self.media_type.rsplit(['.', '+']).next() {
            Some("gzip") => "+gzip",
            Some("zstd") => "+zstd",
            _ => "",
        };
        Descriptor::layer(compression, self.digest.clone(), self.size)
    }

    /// What its maker calls it: `org.opencontainers.image.ref.name` and the like.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }

    fn is_index(&self) -> bool {
        [OCI_INDEX, DOCKER_INDEX].contains(&self.media_type.as_str())
    }

    fn check_small(&self, what: &str) -> Result<()> {
        ensure!(self.size <= MOST_BYTES, "{what} of {} bytes: more than {MOST_BYTES} are refused", self.size);
        hex(&self.digest).map(drop)
    }

    fn check_layer(&self) -> Result<()> {
        let compressions: &[&str] = match self.media_type.strip_prefix(OCI_LAYER) {
            Some(_) => &["", "+gzip", "+zstd"],
            None => &["", ".gzip", ".zstd"],
        };
        let rest = self.media_type.strip_prefix(OCI_LAYER).or(self.media_type.strip_prefix(DOCKER_LAYER));
        let is_known = rest.is_some_and(|rest| compressions.contains(&rest));
        ensure!(is_known, "its type {:?} is no layer that can be unpacked", self.media_type);
        hex(&self.digest).map(drop)
    }
}

/// Reads a manifest or an index. `media_type` is what the sender called it (`Content-Type`), if it did.
pub fn read(bytes: &[u8], media_type: Option<&str>) -> Result<Document> {
    let size = bytes.len();
    ensure!(size as u64 <= MOST_BYTES, "a manifest of {size} bytes: more than {MOST_BYTES} are refused");
    let written: Written = serde_json::from_slice(bytes).context("this is no manifest")?;
    match written.schema_version {
        Some(2) => (),
        Some(1) => {
            bail!("a manifest of docker's first kind (schema 1): push the image again with a newer docker")
        }
        _ => bail!("this is no manifest: its schemaVersion is not 2"),
    }
    let known = |kind: &&str| [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST].contains(kind);
    let (inside, outside) = (written.media_type.as_deref(), media_type.filter(known));
    if let (Some(inside), Some(outside)) = (inside, outside) {
        ensure!(inside == outside, "it was sent as {outside:?} and calls itself {inside:?}: refused");
    }
    let kind = inside.or(outside);
    match (written.config, written.layers, written.manifests) {
        (None, None, Some(entries)) => index(entries, kind).map(Document::Index),
        (Some(config), Some(layers), None) => {
            let media_type = kind.unwrap_or(if config.media_type == DOCKER_CONFIG {
                DOCKER_MANIFEST
            } else {
                OCI_MANIFEST
            });
            let manifest =
                Manifest { raw: bytes.to_vec(), media_type: media_type.to_owned(), config, layers };
            manifest_checked(manifest).map(Document::Manifest)
        }
        (None, None, None) => bail!("this is no manifest: it names neither layers nor other manifests"),
        (_, _, Some(_)) => bail!("it is a manifest and an index at once: refused"),
        _ => bail!("this is no manifest of an image: it has no config, or no layers"),
    }
}

fn manifest_checked(manifest: Manifest) -> Result<Manifest> {
    let (kind, config) = (manifest.media_type.as_str(), &manifest.config);
    match (kind, config.media_type.as_str()) {
        (OCI_MANIFEST, OCI_CONFIG) | (DOCKER_MANIFEST, DOCKER_CONFIG) => (),
        (OCI_MANIFEST, DOCKER_CONFIG) | (DOCKER_MANIFEST, OCI_CONFIG) => {
            bail!("a manifest of type {kind:?} with a config of type {:?}: refused", config.media_type)
        }
        (OCI_MANIFEST | DOCKER_MANIFEST, other) => {
            bail!("its config is of type {other:?}: it is no container image")
        }
        (other, _) => bail!("a manifest of type {other:?} is not known"),
    }
    config.check_small("a config")?;
    let count = manifest.layers.len();
    ensure!(count > 0, "it has no layers");
    ensure!(count <= MOST_LAYERS, "it has {count} layers: an overlay takes {MOST_LAYERS}");
    for (number, layer) in manifest.layers.iter().enumerate() {
        layer.check_layer().with_context(|| format!("layer {}", number + 1))?;
    }
    Ok(manifest)
}

fn index(entries: Vec<Descriptor>, kind: Option<&str>) -> Result<Vec<Descriptor>> {
    let kind = kind.unwrap_or(OCI_INDEX);
    ensure!([OCI_INDEX, DOCKER_INDEX].contains(&kind), "an index that calls itself {kind:?}: refused");
    ensure!(
        entries.len() <= MOST_IMAGES,
        "an index of {} images: more than {MOST_IMAGES} are refused",
        entries.len()
    );
    entries.iter().try_for_each(|entry| entry.check_small("a manifest"))?;
    Ok(entries)
}

/// The manifest in an index that is made for `platform`, or comes nearest below it.
pub fn choose<'a>(index: &'a [Descriptor], platform: &Platform) -> Result<&'a Descriptor> {
    let fit = |entry: &'a Descriptor| Some((entry.platform.as_ref()?.rank(platform)?, entry));
    let best = index.iter().filter_map(fit).min_by_key(|(rank, _)| *rank).map(|(_, entry)| entry);
    // The only one, of which nothing is said: its config will say.
    let only = index.first().filter(|entry| index.len() == 1 && entry.platform.is_none());
    let Some(chosen) = best.or(only) else {
        // Notes on how an image was built have the platform unknown/unknown.
        let real = |platform: &&Platform| platform.os != "unknown";
        let mut there: Vec<_> =
            index.iter().filter_map(|entry| entry.platform.as_ref()).filter(real).collect();
        there.dedup();
        let there: Vec<_> = there.iter().take(12).map(|platform| platform.to_string()).collect();
        bail!(
            "there is none for {platform}: only {}",
            if there.is_empty() { "none".into() } else { there.join(", ") }
        );
    };
    ensure!(!chosen.is_index(), "an index in an index: refused");
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const HEX: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn blob(media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": HEX, "size": 3})
    }

    fn manifest() -> Value {
        json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": blob(OCI_CONFIG),
            "layers": [blob("application/vnd.oci.image.layer.v1.tar+gzip")],
        })
    }

    fn with(key: &str, value: Value) -> Value {
        let mut document = manifest();
        document[key] = value;
        document
    }

    fn refusal(document: &Value) -> String {
        format!("{:#}", read(document.to_string().as_bytes(), None).expect_err("refused"))
    }

    #[test]
    fn both_kinds_are_read() {
        assert!(matches!(
            read(manifest().to_string().as_bytes(), Some(OCI_MANIFEST)),
            Ok(Document::Manifest(_))
        ));
        let docker = json!({
            "schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": blob(DOCKER_CONFIG),
            "layers": [blob("application/vnd.docker.image.rootfs.diff.tar.gzip")],
        });
        assert!(matches!(read(docker.to_string().as_bytes(), None), Ok(Document::Manifest(_))));
        let own =
            Manifest::new(Descriptor::config(b"{}"), vec![Descriptor::layer("", HEX.into(), 1)]).unwrap();
        assert!(
            matches!(read(&own.raw, None), Ok(Document::Manifest(read)) if read.digest() == own.digest())
        );
    }

    #[test]
    fn what_could_be_two_things_is_none() {
        assert_eq!(refusal(&with("manifests", json!([]))), "it is a manifest and an index at once: refused");
        assert!(refusal(&with("config", blob(DOCKER_CONFIG))).contains("with a config of type"));
        assert!(refusal(&with("mediaType", OCI_INDEX.into())).contains("is not known"));
        let sent = read(manifest().to_string().as_bytes(), Some(DOCKER_MANIFEST));
        assert!(format!("{:#}", sent.unwrap_err()).starts_with("it was sent as"));
    }

    #[test]
    fn sizes_and_digests_are_not_believed() {
        let large = vec![b' '; MOST_BYTES as usize + 1];
        assert!(read(&large, None).is_err());
        let many = vec![blob("application/vnd.oci.image.layer.v1.tar"); MOST_LAYERS + 1];
        assert!(refusal(&with("layers", many.into())).contains("501 layers"));
        for (key, value) in [("size", json!(-1)), ("size", json!(1e30)), ("digest", json!("sha256:../../x"))]
        {
            let mut layer = blob("application/vnd.oci.image.layer.v1.tar");
            layer[key] = value;
            refusal(&with("layers", json!([layer])));
        }
        let mut config = blob(OCI_CONFIG);
        config["size"] = json!(1u64 << 40);
        assert!(refusal(&with("config", config)).contains("are refused"));
        assert!(refusal(&with("schemaVersion", json!(1))).contains("schema 1"));
        let nested = "[".repeat(100_000);
        assert!(read(nested.as_bytes(), None).is_err());
    }

    fn entry(platform: &str) -> Descriptor {
        let platform = Some(Platform::parse(platform).unwrap());
        Descriptor { platform, ..Descriptor::config(platform_bytes()) }
    }

    fn platform_bytes() -> &'static [u8] {
        b"{}"
    }

    #[test]
    fn a_platform_gets_its_own_image_or_the_nearest_older() {
        let index =
            ["linux/arm/v6", "linux/arm64", "linux/amd64", "linux/amd64/v3", "linux/arm/v5"].map(entry);
        let chosen = |wanted: &str| {
            let chosen = choose(&index, &Platform::parse(wanted).unwrap())?;
            Ok::<_, anyhow::Error>(chosen.platform.as_ref().unwrap().to_string())
        };
        assert_eq!(chosen("linux/arm/v7").unwrap(), "linux/arm/v6");
        assert_eq!(chosen("linux/arm64/v8").unwrap(), "linux/arm64");
        assert_eq!(chosen("x86_64").unwrap(), "linux/amd64");
        assert_eq!(chosen("linux/amd64/v4").unwrap(), "linux/amd64/v3");
        assert!(chosen("linux/s390x").unwrap_err().to_string().contains("only linux/arm/v6, linux/arm64"));
        let recursive = [Descriptor { media_type: OCI_INDEX.into(), ..entry("linux/amd64") }];
        assert!(choose(&recursive, &Platform::parse("amd64").unwrap()).is_err());
        assert!(Platform::parse("a/b/c/d").is_err() && Platform::parse("linux/").is_err());
    }
}

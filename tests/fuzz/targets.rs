//! Feeds what nobody vouches for to the modules that read it, millions of times: `RUBBER_FUZZ` says which of them has
//! its turn, and tests/fuzz/run is how it is started.
//!
//! What must hold, whatever they read: an error or a result, in time, and nothing outside changed.

use crate::{
    image::{
        archive, assemble,
        import::unpack_layer,
        manifest::{self, Document, Platform},
        pieces::Pieces,
        store::Store,
        stream,
        unpack::{Manner, Purpose},
    },
    removal,
    show::bars::Bars,
};
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

pub fn run(bytes: &[u8]) {
    static TARGET: OnceLock<String> = OnceLock::new();
    match TARGET.get_or_init(|| std::env::var("RUBBER_FUZZ").expect("RUBBER_FUZZ is set")).as_str() {
        "unpack" => unpack(bytes),
        "manifest" => read_manifest(bytes),
        "archive" => read_archive(bytes),
        other => panic!("no target {other}"),
    }
}

/// The first byte says what the archive is unpacked as, the rest is the archive.
fn unpack(bytes: &[u8]) {
    let Some((first, tar)) = bytes.split_first() else { return };
    let purpose = if first & 1 == 0 { Purpose::Image } else { Purpose::Layer };
    let tar = with_checksums(tar);
    let place = Place::new();
    fs::create_dir(place.path("files")).expect("mkdir");
    let done = stream::decompress(&tar[..])
        .and_then(|tar| unpack_layer(tar, &place.path("files"), Manner::of(purpose)))
        .map_err(|error| tell(&error));
    place.check();
    drop(done);
}

/// A manifest or an index, and a configuration.
fn read_manifest(bytes: &[u8]) {
    const TYPES: [Option<&str>; 5] = [
        None,
        Some("application/vnd.oci.image.index.v1+json"),
        Some("application/vnd.oci.image.manifest.v1+json"),
        Some("application/vnd.docker.distribution.manifest.v2+json"),
        Some("text/plain"),
    ];
    let Some((first, json)) = bytes.split_first() else { return };
    match manifest::read(json, TYPES[usize::from(*first) % TYPES.len()]) {
        Ok(Document::Manifest(manifest)) => {
            assert_eq!(manifest.raw, json);
            // Its configuration may be the same bytes, if the digest ever says so.
            let _ = assemble::checked(&manifest, json, &Platform::here()).map_err(|error| tell(&error));
        }
        Ok(Document::Index(index)) => {
            let _ = manifest::choose(&index, &Platform::here()).map_err(|error| tell(&error));
        }
        Err(error) => tell(&error),
    }
    let config: Result<oci_spec::image::ImageConfiguration, _> = serde_json::from_slice(json);
    drop(config);
}

/// An archive of images, read as a stream.
fn read_archive(bytes: &[u8]) {
    let tar = with_checksums(bytes);
    let place = Place::new();
    let read = || {
        let store = Store::open(Some(place.path("files")))?;
        let pieces = Pieces::of_stream(&store, stream::decompress(&tar[..])?)?;
        for offered in archive::offered(&pieces)? {
            let platform = Platform::here();
            let found = offered.find(&pieces, &platform)?;
            found.fetch(&store, &pieces, &platform, &Bars::silent())?;
        }
        anyhow::Ok(())
    };
    let _ = read().map_err(|error| tell(&error));
    place.check();
}

/// An error is made to be printed.
fn tell(error: &anyhow::Error) {
    let text = format!("{error:#}");
    assert!(!text.is_empty() && text.len() < 8 << 10, "{text}");
}

/// A directory for one run, with a canary beside what is written.
struct Place {
    top: PathBuf,
}

impl Place {
    fn new() -> Place {
        let top = std::env::var_os("RUBBER_FUZZ_DIR").expect("RUBBER_FUZZ_DIR is set");
        let top = Path::new(&top).join(std::process::id().to_string());
        fs::create_dir_all(top.join("outside")).expect("mkdir");
        fs::write(top.join("outside/canary"), "alive").expect("write");
        Place { top }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    /// Nothing but the one directory was written to; then that goes away.
    fn check(&self) {
        removal::remove_tree(&self.path("files")).expect("what was unpacked can be removed");
        let names = |path: &Path| -> Vec<_> {
            fs::read_dir(path).expect("readdir").map(|entry| entry.expect("entry").file_name()).collect()
        };
        assert_eq!(names(&self.top), ["outside"]);
        assert_eq!(names(&self.path("outside")), ["canary"]);
        assert_eq!(fs::read_to_string(self.path("outside/canary")).expect("canary"), "alive");
        let about = fs::symlink_metadata(self.path("outside/canary")).expect("canary");
        assert_eq!((about.nlink(), about.mode() & 0o7111), (1, 0));
    }
}

/// A fuzzer does not guess checksums: they are made right, from one header to the next.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut tar = bytes.to_vec();
    if bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return tar;
    }
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + 512) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let digits = header[124..136].iter().take_while(|byte| (b'0'..=b'7').contains(byte));
        let size = digits.fold(0, |size, digit| size * 8 + usize::from(digit - b'0'));
        at += 512 + size.min(bytes.len()).next_multiple_of(512);
    }
    tar
}

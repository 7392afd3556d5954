//! Killed, crowded, full, damaged: an image is whole or not there.

use crate::{
    inodes, lab, layout,
    place::{Place, entries},
    says,
};
use serde_json::json;
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

fn sample(place: &Place) {
    let settings = json!({"Cmd": ["/bin/cat", "/last"]});
    layout::write(&place.path("layout"), "sample", &layout::many(5), settings);
}

#[test]
fn twenty_at_once_unpack_an_image_once() {
    if !lab::is_root() || !lab::has("strace") {
        return lab::skip_this(
            "it takes strace, and newuidmap is setuid, which does nothing for a traced user",
        );
    }
    let place = Place::new();
    sample(&place);
    let start = |n: usize| -> Child {
        let rubber = place.command(&["run", "oci:layout"]);
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-e", "trace=rename", "-o"]).arg(place.path(&format!("trace-{n}")));
        command.arg(rubber.get_program()).args(rubber.get_args()).current_dir(place.directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let all: Vec<_> = (0..20).map(start).collect();
    for one in all {
        let ended = one.wait_with_output().unwrap();
        if String::from_utf8_lossy(&ended.stderr).contains("ptrace") {
            return lab::skip_this("strace may not trace here");
        }
        assert_eq!(String::from_utf8_lossy(&ended.stdout), "4", "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let traces: String =
        (0..20).map(|n| fs::read_to_string(place.path(&format!("trace-{n}"))).unwrap()).collect();
    let renames = |to: &str| traces.lines().filter(|line| line.contains(to) && line.ends_with("= 0")).count();
    assert_eq!(renames("/store/layers/"), 5, "each layer was unpacked once");
    assert_eq!(renames("/store/blobs/sha256/"), 5, "each blob was copied once");
}

/// Whatever there is, is whole: the layers have as many files as they should, and an image runs.
fn assert_whole_or_not_there(place: &Place, whole: &[(String, usize)]) {
    for layer in place.layers() {
        let name = layer.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(whole.contains(&(name, count(&layer))), "{layer:?} is whole");
    }
    if place.store().join("images/it.json").exists() {
        assert_eq!(says(place, &["it"]), "4");
    }
}

fn count(directory: &Path) -> usize {
    let below =
        |path: std::path::PathBuf| if path.is_dir() && !path.is_symlink() { 1 + count(&path) } else { 1 };
    entries(directory).into_iter().map(below).sum()
}

/// Two hundred times with RUBBER_TEST_KILLS=200.
#[test]
fn a_killed_import_leaves_nothing_or_the_whole() {
    let kills: u32 =
        std::env::var("RUBBER_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(25);
    let place = Place::new();
    sample(&place);
    let began = Instant::now();
    place.rubber(&["import", "oci:layout", "it"]).good();
    let takes = began.elapsed();
    let name = |layer: &Path| layer.file_name().unwrap().to_str().unwrap().to_owned();
    let whole: Vec<_> = place.layers().iter().map(|layer| (name(layer), count(layer))).collect();
    place.rubber(&["rmi", "it"]).good();
    for n in 0..kills {
        let mut child = place.command(&["import", "oci:layout", "it"]).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(takes * n / kills);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_whole_or_not_there(&place, &whole);
        if n % 2 == 0 {
            // From nothing as well as from what the last one has left.
            fs::remove_dir_all(place.store()).unwrap();
        }
    }
    place.rubber(&["import", "oci:layout", "it"]).good();
    assert_eq!(says(&place, &["it"]), "4");
    place.rubber(&["rmi", "it"]).good();
    place.rubber(&["clean"]).good();
    place.assert_empty_store();
    assert_eq!(entries(&place.store().join("blobs/sha256")).len(), 0);
}

#[test]
fn a_disk_without_room_or_inodes_keeps_nothing() {
    for options in ["size=1m", "nr_inodes=30"] {
        let place = Place::new();
        sample(&place);
        fs::create_dir(place.store()).unwrap();
        let script = format!(
            r#"mount -t tmpfs -o {options},mode=700 tmpfs "$STORE"
            "$RUBBER" --root "$STORE" import oci:layout it || echo "code $?"
            cd "$STORE"; find images layers tmp blobs manifests -mindepth 1 ! -path blobs/sha256 2>/dev/null || true"#
        );
        let Some(ended) = place.in_mount_namespace("a_disk_without_room_or_inodes_keeps_nothing", &script)
        else {
            return;
        };
        assert!(ended.err.contains("is full: make room there"), "{options}: {}", ended.err);
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
        // Whole blobs may stay for the next try: nothing is half.
        let left: Vec<_> = ended.out.lines().filter(|line| !line.starts_with("blobs/sha256/")).collect();
        assert_eq!(left, ["code 125"], "{options}");
    }
}

#[test]
fn a_store_may_be_on_any_filesystem() {
    let mounts = [
        ("tmpfs", "mount -t tmpfs -o mode=700 tmpfs $STORE"),
        (
            "overlayfs",
            "mkdir o; mount -t tmpfs tmpfs o; mkdir o/l o/u o/w; mount -t overlay -o lowerdir=o/l,upperdir=o/u,workdir=o/w o $STORE; chmod 700 $STORE",
        ),
        ("ext4", "truncate -s 100M disk; mkfs.ext4 -q disk; mount -o loop disk $STORE; chmod 700 $STORE"),
        ("xfs", "truncate -s 400M disk; mkfs.xfs -q disk; mount -o loop disk $STORE; chmod 700 $STORE"),
    ];
    for (kind, mount) in mounts {
        let place = Place::new();
        sample(&place);
        fs::create_dir(place.store()).unwrap();
        let script = format!(
            r#"{{ {mount}; }} >/dev/null 2>&1 || {{ echo none; exit 0; }}
            "$RUBBER" --root "$STORE" import oci:layout it >/dev/null
            "$RUBBER" --root "$STORE" run it; "$RUBBER" --root "$STORE" run oci:layout"#
        );
        let Some(ended) = place.in_mount_namespace("a_store_may_be_on_any_filesystem", &script) else {
            return;
        };
        match ended.out.trim() {
            "none" => lab::skip_this(&format!("no {kind} can be mounted here")),
            said => assert_eq!(said, "44", "{kind}: {}", ended.err),
        }
    }
}

#[test]
fn no_clock_is_asked() {
    let place = Place::new();
    sample(&place);
    place.rubber(&["import", "oci:layout", "it"]).good();
    let unpacked = inodes(&place);
    for date in ["1970-01-02", "2100-01-01"] {
        let touch = format!("find layout store -type f -o -type d | xargs touch -h -d {date}");
        crate::tool(&place, "sh", &["-c", &touch]);
        place.rubber(&["import", "oci:layout", "it"]).good();
        assert_eq!(says(&place, &["oci:layout"]), "4");
        assert_eq!(inodes(&place), unpacked, "{date}");
    }
}

#[test]
fn what_is_damaged_is_named_and_mended_by_getting_it_again() {
    let place = Place::new();
    sample(&place);
    place.rubber(&["import", "oci:layout", "it"]).good();
    // A layer that is gone.
    let layer = place.layers().pop().unwrap();
    fs::remove_dir_all(&layer).unwrap();
    place.rubber(&["run", "it"]).refused("is missing; get the image again");
    place.rubber(&["import", "oci:layout", "it"]).good();
    assert_eq!(says(&place, &["it"]), "4");
    // A blob that was changed, and is needed.
    let blob = largest(&place.store().join("blobs/sha256"));
    let mut bytes = fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&blob, &bytes).unwrap();
    assert!(doctor(&place).contains("image it is damaged: the blob sha256:"), "{}", doctor(&place));
    place.rubber(&["save", "it", "-o", "saved"]).refused("damaged");
    place.rubber(&["import", "oci:layout", "it"]).good();
    place.rubber(&["save", "it", "-o", "saved"]).good();
    // One that is gone, and one that is shorter.
    fs::write(&blob, &bytes[..middle]).unwrap();
    place.rubber(&["import", "oci:layout", "it"]).good();
    fs::remove_file(&blob).unwrap();
    assert!(doctor(&place).contains("is missing"), "{}", doctor(&place));
    place.rubber(&["import", "oci:layout", "it"]).good();
    place.rubber(&["save", "it", "-o", "saved"]).good();
    assert!(!doctor(&place).contains("image it is damaged"), "{}", doctor(&place));
}

/// What it finds wrong is no failure of ours: the machine may lack something else.
fn doctor(place: &Place) -> String {
    place.rubber(&["doctor", "--format", "json"]).out
}

fn largest(directory: &Path) -> std::path::PathBuf {
    entries(directory).into_iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

#[test]
fn what_does_not_belong_together_is_refused_and_leaves_nothing() {
    type Change = fn(&Path);
    let cases: [(&str, Change); 3] = [
        ("is missing", |blobs| fs::remove_file(largest(blobs)).unwrap()),
        ("refused", |blobs| {
            let blob = largest(blobs);
            let mut bytes = fs::read(&blob).unwrap();
            bytes[20] ^= 1;
            fs::write(&blob, bytes).unwrap();
        }),
        ("are there", |blobs| {
            let blob = largest(blobs);
            let bytes = fs::read(&blob).unwrap();
            fs::write(&blob, &bytes[..bytes.len() - 1]).unwrap();
        }),
    ];
    for (words, change) in cases {
        let place = Place::new();
        sample(&place);
        change(&place.path("layout/blobs/sha256"));
        place.rubber(&["import", "oci:layout", "it"]).refused(words);
        place.assert_empty_store();
    }
    // A layer that does not unpack to what the configuration promises.
    let place = Place::new();
    sample(&place);
    let blobs = place.path("layout/blobs/sha256");
    let began = Instant::now();
    let index = fs::read_to_string(place.path("layout/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let hex = |digest: &serde_json::Value| digest.as_str().unwrap()["sha256:".len()..].to_owned();
    let manifest = fs::read_to_string(blobs.join(hex(&index["manifests"][0]["digest"]))).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    manifest["layers"][1] = manifest["layers"][2].clone();
    let bytes = manifest.to_string();
    let digest = layout::digest(bytes.as_bytes());
    fs::write(blobs.join(&digest["sha256:".len()..]), &bytes).unwrap();
    let mut index = index;
    index["manifests"][0]["digest"] = digest.into();
    index["manifests"][0]["size"] = bytes.len().into();
    fs::write(place.path("layout/index.json"), index.to_string()).unwrap();
    place.rubber(&["import", "oci:layout", "it"]).refused("image it, layer 2 (sha256:");
    place.assert_empty_store();
    assert!(began.elapsed() < Duration::from_secs(60));
}

//! What `rubber import` makes of honest archives and directories.

use super::{lab::skip, place::Place, tars::Tar};
use nix::{
    sys::stat::Mode,
    unistd::{geteuid, mkfifo},
};
use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
    path::Path,
};
use tar::EntryType;

fn small() -> Tar {
    Tar::new().directory("./").directory("etc/").file("etc/greeting", "hello\n")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path.as_ref()).unwrap_or_else(|error| panic!("{:?}: {error}", path.as_ref()))
}

#[test]
fn plain_gzip_and_zstd_are_one_layer_whatever_the_file_is_called() {
    let place = Place::new();
    let tar = small().bytes();
    let (first, second) = tar.split_at(700);
    let skippable = [&b"\x53\x2a\x4d\x18\x03\0\0\0abc"[..], &zstd(first), &zstd(second)].concat();
    let forms = [
        tar.clone(),
        gzip(&tar),
        zstd(&tar),
        [gzip(first), gzip(second)].concat(),
        [zstd(first), zstd(second)].concat(),
        skippable,
    ];
    for (n, bytes) in forms.iter().enumerate() {
        fs::write(place.path("misleading.txt"), bytes).unwrap();
        let ended = place.rubber(&["import", "misleading.txt", &format!("form{n}")]).good();
        assert_eq!(ended.err, "", "quiet when stderr is no terminal");
        assert!(ended.out.starts_with(&format!("form{n}  ")), "{}", ended.out);
    }
    assert_eq!(read(place.layer().join("etc/greeting")), "hello\n");
    let listed = place.rubber(&["images", "--format", "json"]).good().out;
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), forms.len());
    assert!(listed[0]["size"].as_u64().unwrap() >= 4096);
    assert_eq!(listed[0]["id"].as_str().unwrap().len(), 12);
}

#[test]
fn modes_times_links_fifos_and_attributes_are_kept() {
    let place = Place::new();
    let tar = Tar::new()
        .odd(EntryType::Directory, "closed", b"", |header| header.set_mode(0o555))
        .file("closed/inner", "x")
        .hard_link("also", "closed/inner")
        .symlink("away", "/etc/passwd")
        .odd(EntryType::Fifo, "pipe", b"", |header| header.set_mode(0o622))
        .pax(&[("mtime", b"1234567890.5"), ("SCHILY.xattr.user.colour", b"red")])
        .odd(EntryType::Regular, "suid", b"#!", |header| header.set_mode(0o4755));
    place.import(&tar.bytes()).good();
    let layer = place.layer();
    let of = |name: &str| fs::symlink_metadata(layer.join(name)).unwrap();
    assert_eq!(of("").mode() & 0o7777, 0o755, "a root that the archive does not list is open");
    assert_eq!(of("closed").mode() & 0o7777, 0o555);
    assert_eq!(of("closed").mtime(), 1_000_000_000, "set after its entries were made");
    assert_eq!(of("also").ino(), of("closed/inner").ino());
    assert_eq!(fs::read_link(layer.join("away")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(of("away").mtime(), 1_000_000_000);
    assert!(of("pipe").file_type().is_fifo());
    assert_eq!(of("pipe").mode() & 0o777, 0o622, "whatever the umask is");
    assert_eq!((of("suid").mtime(), of("suid").mtime_nsec()), (1_234_567_890, 500_000_000));
    assert_eq!(of("suid").mode() & 0o4000 != 0, geteuid().is_root(), "setuid only with its owner");
    match xattr::get(layer.join("suid"), "user.colour") {
        Ok(value) => assert_eq!(value.as_deref(), Some(&b"red"[..])),
        Err(error) => {
            skip("modes_times_links_fifos_and_attributes_are_kept", &format!("no user.* here: {error}"))
        }
    }
}

#[test]
fn owners_and_file_capabilities_are_kept_by_root() {
    if !geteuid().is_root() {
        return skip("owners_and_file_capabilities_are_kept_by_root", "only root can give files away");
    }
    let place = Place::new();
    // VFS_CAP_REVISION_2, cap_net_raw permitted; see capabilities(7).
    let capability = [0, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let tar = Tar::new()
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability),
            ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ])
        .odd(EntryType::Regular, "ping", b"#!", |header| {
            header.set_uid(1234);
            header.set_gid(4321);
        });
    place.import(&tar.bytes()).good();
    let ping = place.layer().join("ping");
    let found = fs::metadata(&ping).unwrap();
    assert_eq!((found.uid(), found.gid()), (1234, 4321));
    assert_eq!(xattr::get(&ping, "security.capability").unwrap().as_deref(), Some(&capability[..]));
    assert_eq!(xattr::get(&ping, "trusted.overlay.opaque").unwrap(), None, "overlayfs would obey it");
}

#[test]
fn an_ordinary_user_gets_everything_as_its_own_and_nothing_setuid() {
    let place = Place::of_ordinary_user();
    let tar = Tar::new()
        .odd(EntryType::Directory, "secret", b"", |header| header.set_mode(0))
        .odd(EntryType::Regular, "secret/suid", b"#!", |header| header.set_mode(0o6755))
        .entry(EntryType::Char, b"dev/null", b"", b"");
    let ended = place.import(&tar.bytes()).good();
    assert!(ended.err.contains("left out the device \"dev/null\""), "{}", ended.err);
    if geteuid().is_root() {
        let found = fs::metadata(place.layer().join("secret/suid")).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o7777), (super::place::NOBODY, 0o755));
    }
    place.rubber(&["rmi", "it"]).good(); // though the directory is closed to its owner
    place.assert_empty_store();
}

#[test]
fn legal_links_are_followed_inside_the_root() {
    let place = Place::new();
    let tar = Tar::new()
        .directory("usr/lib")
        .symlink("lib", "/usr/lib")
        .file("lib/x.so", "x")
        .symlink("usr/lib/up", "../../../../../etc")
        .directory("etc")
        .file("lib/up/deep/er", "y")
        .hard_link("z", "lib/x.so");
    place.import(&tar.bytes()).good();
    let layer = place.layer();
    assert_eq!(read(layer.join("usr/lib/x.so")), "x");
    assert_eq!(read(layer.join("etc/deep/er")), "y");
    assert_eq!(read(layer.join("z")), "x");
    assert!(fs::symlink_metadata(layer.join("lib")).unwrap().is_symlink());
    assert_eq!(fs::metadata(layer.join("etc/deep")).unwrap().mode() & 0o777, 0o755);
}

#[test]
fn a_later_entry_replaces_an_earlier_one_and_never_writes_through_it() {
    let place = Place::new();
    let tar = Tar::new()
        .file("kept", "kept")
        .symlink("file-over-link", "kept")
        .file("file-over-link", "new")
        .file("directory-over-file", "")
        .directory("directory-over-file")
        .file("directory-over-file/in", "in")
        .directory("link-over-directory")
        .file("link-over-directory/in", "gone")
        .symlink("link-over-directory", "kept")
        .symlink("directory-over-link", "link-over-directory")
        .directory("directory-over-link")
        .file("again", "first")
        .hard_link("again-too", "again")
        .file("again", "second");
    place.import(&tar.bytes()).good();
    let layer = place.layer();
    assert_eq!(read(layer.join("kept")), "kept");
    assert_eq!(read(layer.join("file-over-link")), "new");
    assert!(fs::symlink_metadata(layer.join("file-over-link")).unwrap().is_file());
    assert_eq!(fs::read_link(layer.join("link-over-directory")).unwrap(), Path::new("kept"));
    assert!(fs::symlink_metadata(layer.join("directory-over-link")).unwrap().is_dir());
    assert_eq!((read(layer.join("again")), read(layer.join("again-too"))), ("second".into(), "first".into()));
}

#[test]
fn a_directory_is_imported_with_its_links_and_gives_the_same_layer_twice() {
    let place = Place::new();
    let tree = place.path("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    fs::write(tree.join("a/b/file"), "content").unwrap();
    fs::hard_link(tree.join("a/b/file"), tree.join("a/linked")).unwrap();
    symlink("/nowhere", tree.join("away")).unwrap();
    mkfifo(&tree.join("pipe"), Mode::S_IRUSR).unwrap();
    fs::set_permissions(tree.join("a"), Permissions::from_mode(0o711)).unwrap();
    let long = "n".repeat(200);
    fs::write(tree.join(&long), "").unwrap();
    place.rubber(&["import", "tree", "one"]).good();
    place.rubber(&["import", "tree", "two"]).good();
    let layer = place.layer();
    let of = |name: &str| fs::symlink_metadata(layer.join(name)).unwrap();
    assert_eq!(of("a/linked").ino(), of("a/b/file").ino());
    assert_eq!(of("a").mode() & 0o777, 0o711);
    assert!(of("pipe").file_type().is_fifo() && of(&long).is_file() && of("away").is_symlink());
    for name in ["a", "a/b/file", "away", "pipe"] {
        let (before, after) = (fs::symlink_metadata(tree.join(name)).unwrap(), of(name));
        assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()), "{name}");
    }
}

#[test]
fn a_directory_that_holds_the_store_is_imported_without_it() {
    let place = Place::new();
    fs::write(place.path("file"), "content").unwrap();
    place.rubber(&["import", ".", "it"]).good();
    assert_eq!(super::place::entries(&place.layer().join("store")).len(), 0);
    assert_eq!(read(place.layer().join("file")), "content");
}

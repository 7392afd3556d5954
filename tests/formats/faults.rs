//! Killed, crowded, full, damaged: an image is whole or not there.

use crate::{
    inodes, lab, layout,
    place::{Ended, Place, entries},
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

fn remove(store: &Path) {
    if store.exists() {
        fs::remove_dir_all(store).unwrap();
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
            // From nothing as well as from what the last one has left: the first may have made no store yet.
            remove(&place.store());
        }
    }
    place.rubber(&["import", "oci:layout", "it"]).good();
    assert_eq!(says(&place, &["it"]), "4");
    place.rubber(&["rmi", "it"]).good();
    place.rubber(&["clean"]).good();
    place.assert_empty_store();
    assert_eq!(entries(&place.store().join("blobs/sha256")).len(), 0);
}

/// At each call that makes, names, syncs or removes something, or at as many of them as RUBBER_TEST_KILLS says.
#[test]
fn an_import_killed_at_any_step_leaves_nothing_or_the_whole() {
    if !lab::is_root() || !lab::has("strace") {
        return lab::skip_this("it takes strace, and root");
    }
    let kills: usize =
        std::env::var("RUBBER_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(25);
    let place = Place::new();
    sample(&place);
    let calls =
        "rename,renameat2,mkdir,mkdirat,unlink,unlinkat,fsync,fdatasync,syncfs,symlinkat,linkat,fchmod,flock";
    let import = |injected: &str| {
        let rubber = place.command(&["import", "oci:layout", "it"]);
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "trace", "-e", &format!("trace={calls}"), "-e", injected]);
        command.arg(rubber.get_program()).args(rubber.get_args()).current_dir(place.directory.path());
        Ended::of(command.output().unwrap())
    };
    let ended = import("inject=mkdir:delay_exit=1:when=1");
    if ended.err.contains("ptrace") {
        return lab::skip_this("strace may not trace here");
    }
    ended.good();
    let name = |layer: &Path| layer.file_name().unwrap().to_str().unwrap().to_owned();
    let whole: Vec<_> = place.layers().iter().map(|layer| (name(layer), count(layer))).collect();
    let trace = fs::read_to_string(place.path("trace")).unwrap();
    let all = steps(&trace);
    let mut left = std::collections::BTreeSet::new();
    for (call, n) in all.iter().step_by(all.len().div_ceil(kills)) {
        remove(&place.store());
        let ended = import(&format!("inject={call}:signal=KILL:when={n}"));
        assert_ne!(ended.code, Some(0), "killed at {call} {n}");
        assert_whole_or_not_there(&place, &whole);
        left.insert((place.layers().len(), entries(&place.store().join("images")).len()));
        place.rubber(&["import", "oci:layout", "it"]).good();
        assert_eq!(says(&place, &["it"]), "4");
    }
    let most = all.len();
    lab::note(&format!("killed at {} of {most} calls: (layers, images) left {left:?}", kills.min(most)));
    place.rubber(&["rmi", "it"]).good();
    place.rubber(&["clean"]).good();
    place.assert_empty_store();
}

/// Each call of a trace, and the how many-th of its thread it is: so strace counts.
fn steps(trace: &str) -> std::collections::BTreeSet<(String, usize)> {
    let mut counts = std::collections::HashMap::<_, usize>::new();
    let mut steps = std::collections::BTreeSet::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((call, _)) = call.trim_start().split_once('(') else { continue };
        let count = counts.entry((thread, call)).or_default();
        *count += 1;
        steps.insert((call.to_owned(), *count));
    }
    steps
}

#[test]
fn a_disk_without_room_or_inodes_keeps_nothing() {
    for options in ["size=1m", "nr_inodes=30"] {
        let place = Place::new();
        sample(&place);
        fs::create_dir(place.store()).unwrap();
        let script = format!(
            r#"mount -t tmpfs -o {options},mode=700 tmpfs "$STORE"
            "$RUBBER" --root "$STORE" import -q oci:layout it || echo "code $?"
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

/// A sound store's answer, and then what is told of each change to a file of a layer.
#[test]
fn damage_inside_a_layer_is_named_and_mended_by_getting_it_again() {
    let changes: [(&str, &str, Change); 7] = [
        ("last", "was changed", |file| fs::write(file, "5").unwrap()),
        ("last", "was changed", |file| {
            // As a disk would: nothing but the bytes says so.
            let before = fs::metadata(file).unwrap().modified().unwrap();
            fs::write(file, "5").unwrap();
            fs::File::options().write(true).open(file).unwrap().set_modified(before).unwrap();
        }),
        ("last", "is missing", |file| fs::remove_file(file).unwrap()),
        ("added", "does not belong there", |file| fs::write(file, "new").unwrap()),
        ("last", "is something else", |file| {
            fs::remove_file(file).unwrap();
            std::os::unix::fs::symlink("/etc/passwd", file).unwrap();
        }),
        ("last", "has other attributes", |file| {
            fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
        }),
        ("deep/er", "does not belong there", |file| fs::create_dir_all(file).unwrap()),
    ];
    let place = Place::new();
    sample(&place);
    place.rubber(&["import", "oci:layout", "it"]).good();
    let examine = || place.rubber(&["doctor", "--store", "--format", "json"]);
    let sound = examine();
    assert!(sound.out.contains("\"found\": \"1 whole\""), "{}", sound.out);
    for (name, words, change) in changes {
        let last = place.layers().into_iter().find(|layer| layer.join("l/4").exists()).unwrap();
        let before = inodes(&place);
        change(&last.join(name));
        let name = name.split('/').next().unwrap();
        let found = examine();
        let told = format!("\\\"/{name}\\\" {words}");
        assert!(found.out.contains("image it is damaged: in the layer sha256:"), "{told}: {}", found.out);
        assert!(found.out.contains(&told), "{told}: {}", found.out);
        assert_eq!(found.code, Some(1), "{}", found.err);
        // It is remembered by who does not look as closely.
        assert!(doctor(&place).contains("rubber doctor --store"), "{}", doctor(&place));
        place.rubber(&["import", "oci:layout", "it"]).good();
        assert_eq!(says(&place, &["it"]), "4");
        let kept = inodes(&place).iter().filter(|layer| before.contains(layer)).count();
        assert_eq!(kept, 4, "only the damaged layer is made anew");
        let mended = examine();
        assert!(mended.out.contains("\"found\": \"1 whole\""), "{told}: {}", mended.out);
        assert_eq!(mended.code, sound.code);
    }
}

#[test]
fn a_damaged_layer_that_runs_is_left_until_it_ends() {
    let place = Place::new();
    sample(&place);
    place.rubber(&["import", "oci:layout", "it"]).good();
    let started = place.rubber(&["run", "-d", "--name", "holds", "it", "sleep", "300"]);
    if started.code != Some(0) {
        return lab::skip_this(&started.err);
    }
    let layer = place.layers().into_iter().find(|layer| layer.join("l/4").exists()).unwrap();
    fs::write(layer.join("added"), "new").unwrap();
    assert_eq!(place.rubber(&["doctor", "--store"]).code, Some(1));
    place.rubber(&["import", "oci:layout", "it"]).refused("end that first");
    assert_eq!(place.rubber(&["exec", "holds", "cat", "/last"]).good().out.trim(), "4");
    place.rubber(&["rm", "-f", "holds"]).good();
    place.rubber(&["import", "oci:layout", "it"]).good();
    assert!(!layer.join("added").exists());
}

type Change = fn(&Path);

/// What changes in a layer, and what is told of it.
const CHANGES: [(&str, &str, Change); 5] = [
    ("is-changed", "was changed", |file| {
        // As a disk would: nothing but the bytes says so.
        let before = fs::metadata(file).unwrap().modified().unwrap();
        fs::write(file, "5").unwrap();
        fs::File::options().write(true).open(file).unwrap().set_modified(before).unwrap();
    }),
    ("is-gone", "is missing", |file| fs::remove_file(file).unwrap()),
    ("is-new", "does not belong there", |file| fs::create_dir_all(file.join("deep/er")).unwrap()),
    ("is-other", "is something else", |file| {
        fs::remove_file(file).unwrap();
        std::os::unix::fs::symlink("is-changed", file).unwrap();
    }),
    ("is-open", "has other attributes", |file| {
        fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o4777)).unwrap();
    }),
];

/// A layer of files that can be damaged in all these ways, in a directory that it does not list.
fn damageable() -> Vec<u8> {
    let names: Vec<_> = CHANGES.iter().map(|(name, ..)| *name).filter(|name| *name != "is-new").collect();
    let paths: Vec<_> = names.iter().map(|name| format!("some/{name}")).collect();
    layout::files(&paths.iter().map(|path| (path.as_str(), "4")).collect::<Vec<_>>())
}

fn examined(place: &Place) -> Ended {
    place.rubber(&["doctor", "--store", "--format", "json"])
}

/// The whole of `image` is called whole, and each damage of the layer with these files is told, until `mend` is done.
#[track_caller]
fn each_damage_is_told(place: &Place, image: &str, mend: &dyn Fn()) {
    let sound = examined(place);
    assert!(!sound.out.contains("is damaged") && !sound.out.contains("nothing to compare"), "{}", sound.out);
    for (name, words, change) in CHANGES {
        let layers = place.layers();
        let layer = layers.iter().find(|layer| layer.join("some/is-changed").exists()).unwrap();
        change(&layer.join("some").join(name));
        let found = examined(place);
        let told = format!("\\\"/some/{name}\\\" {words}");
        assert!(
            found.out.contains(&format!("image {image} is damaged: in the layer")),
            "{told}: {}",
            found.out
        );
        assert!(found.out.contains(&told), "{told}: {}", found.out);
        assert!(!found.out.contains("deep"), "{}", found.out);
        assert_eq!(found.code, Some(1), "{}", found.err);
        // It is remembered by who does not look as closely.
        assert!(doctor(place).contains("rubber doctor --store"), "{}", doctor(place));
        mend();
        let mended = examined(place);
        assert!(!mended.out.contains("is damaged"), "{image}, {told}: {}", mended.out);
        assert_eq!(mended.code, sound.code, "{image}, {told}: {}", mended.out);
    }
}

#[test]
fn damage_is_told_of_an_image_that_came_as_an_archive_of_a_root() {
    let place = Place::new();
    fs::write(place.path("root.tar"), damageable()).unwrap();
    let import = || drop(place.rubber(&["import", "tar:root.tar", "it"]).good());
    import();
    each_damage_is_told(&place, "it", &import);
}

#[test]
fn damage_is_told_of_an_image_that_was_run_from_an_archive_of_a_root() {
    let place = Place::new();
    let layers = [damageable(), layout::busybox()];
    let [files, busybox] = layers.map(|layer| layer[..layer.len() - 1024].to_vec());
    fs::write(place.path("root.tar"), [files, busybox, vec![0; 1024]].concat()).unwrap();
    let run = || place.rubber(&["run", "--rm", "tar:root.tar", "true"]);
    let ran = run();
    if ran.code != Some(0) {
        return lab::skip_this(&ran.err);
    }
    let name = entries(&place.store().join("images"))[0].file_stem().unwrap().to_str().unwrap().to_owned();
    each_damage_is_told(&place, &name, &|| drop(run().good()));
}

#[test]
fn damage_is_told_of_an_image_of_a_directory() {
    let place = Place::new();
    fs::create_dir(place.path("root")).unwrap();
    fs::write(place.path("root.tar"), damageable()).unwrap();
    crate::tool(&place, "tar", &["-C", "root", "-xf", "root.tar"]);
    let import = || drop(place.rubber(&["import", "root", "it"]).good());
    import();
    each_damage_is_told(&place, "it", &import);
}

#[test]
fn damage_is_told_of_an_image_that_docker_saved() {
    let place = Place::new();
    layout::write(&place.path("layout"), "it", &[layout::busybox(), damageable()], json!({}));
    let saver = Place::new();
    saver.rubber(&["import", &format!("oci:{}", place.path("layout").display()), "it"]).good();
    let (archive, format) = (place.path("it.tar"), "docker-archive");
    saver.rubber(&["save", "it", "-o", archive.to_str().unwrap(), "--format", format]).good();
    for from in ["docker-archive:it.tar", "oci:layout"] {
        let import = || drop(place.rubber(&["import", from, "it"]).good());
        import();
        each_damage_is_told(&place, "it", &import);
        place.rubber(&["rmi", "it"]).good();
    }
}

/// What it was made of may be gone.
#[test]
fn damage_is_told_of_an_image_that_was_made_of_a_container() {
    let place = Place::new();
    layout::write(&place.path("layout"), "base", &[layout::busybox(), damageable()], json!({}));
    place.rubber(&["import", "oci:layout", "base"]).good();
    let ran = place.rubber(&["run", "--name", "c", "base", "sh", "-c", "echo new >/new"]);
    if ran.code != Some(0) {
        return lab::skip_this(&ran.err);
    }
    let commit = || drop(place.rubber(&["commit", "c", "it"]).good());
    commit();
    let top = place.layers().into_iter().find(|layer| layer.join("new").exists()).unwrap();
    fs::write(top.join("new"), "old").unwrap();
    let told = examined(&place).out;
    assert!(told.contains("image it is damaged") && told.contains("/new"), "{told}");
    commit();
    assert!(!examined(&place).out.contains("is damaged"));
    place.rubber(&["rm", "c"]).good();
    place.rubber(&["rmi", "base"]).good();
    assert!(entries(&place.store().join("blobs/sha256")).is_empty());
    let layer = place.layers().into_iter().find(|layer| layer.join("some").exists()).unwrap();
    let sound = examined(&place).out;
    assert!(!sound.contains("is damaged") && !sound.contains("nothing to compare"), "{sound}");
    fs::write(layer.join("some/is-changed"), "5").unwrap();
    let told = examined(&place).out;
    assert!(told.contains("image it is damaged") && told.contains("/some/is-changed"), "{told}");
}

#[test]
fn damage_is_told_of_the_images_that_rubber_makes_itself() {
    let place = Place::new();
    for (name, again) in
        [("rubber", &["run", "--rm", "rubber"][..]), ("busybox", &["import", "--recipe", "busybox"])]
    {
        let make = || place.rubber(again).code;
        if make() != Some(0) {
            lab::skip_this("it cannot be made or run here");
            continue;
        }
        let layer = place.layer();
        assert!(!examined(&place).out.contains("is damaged"));
        fs::write(layer.join("etc/passwd"), "root::0:0::/:/bin/sh\n").unwrap();
        let told = examined(&place);
        assert!(told.out.contains(&format!("image {name} is damaged")), "{}", told.out);
        assert!(
            told.out.contains("/etc/passwd") && told.out.contains(&format!("rubber rmi {name}")),
            "{}",
            told.out
        );
        place.rubber(&["rmi", name]).good();
        assert_eq!(make(), Some(0));
        assert!(!examined(&place).out.contains("is damaged"));
        place.rubber(&["rmi", name]).good();
    }
}

/// One of a release before has nothing that says what was in it, and is not called whole.
#[test]
fn an_image_that_cannot_be_compared_with_anything_is_named() {
    let place = Place::new();
    fs::write(place.path("root.tar"), damageable()).unwrap();
    place.rubber(&["import", "tar:root.tar", "it"]).good();
    fs::remove_dir_all(place.store().join("contents")).unwrap();
    let told = examined(&place).out;
    assert!(told.contains("nothing to compare with: it"), "{told}");
    place.rubber(&["import", "tar:root.tar", "it"]).good();
    assert!(!examined(&place).out.contains("nothing to compare"));
    // Nor is what says it believed when it is damaged itself.
    let list = entries(&place.store().join("contents")).pop().unwrap();
    let bytes = fs::read(&list).unwrap();
    fs::write(&list, &bytes[..bytes.len() - 7]).unwrap();
    assert!(examined(&place).out.contains("image it is damaged"));
}

/// One that has no blob is compared with what is imported.
#[test]
fn a_damaged_root_is_mended_by_importing_it_again() {
    let place = Place::new();
    let root = place.path("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0::/:/bin/sh\n").unwrap();
    crate::tool(&place, "tar", &["-C", "root", "-cf", "root.tar", "."]);
    place.rubber(&["import", "root.tar", "it"]).good();
    let whole = inodes(&place);
    place.rubber(&["import", "root.tar", "it"]).good();
    assert_eq!(inodes(&place), whole, "a sound one stays");
    let told = place.rubber(&["doctor", "--store", "--format", "json"]).out;
    assert!(told.contains("\"found\": \"1 whole\""), "{told}");
    fs::remove_file(place.layers()[0].join("etc/passwd")).unwrap();
    let told = place.rubber(&["doctor", "--store", "--format", "json"]).out;
    assert!(told.contains("\\\"/etc/passwd\\\" is missing"), "{told}");
    place.rubber(&["import", "root.tar", "it"]).good();
    assert!(place.layers()[0].join("etc/passwd").exists());
    assert_ne!(inodes(&place), whole);
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

//! Stores with odd names, in odd places, full, read-only or not ours.

use super::*;

#[test]
fn a_store_may_be_called_anything() {
    if !has_busybox("a_store_may_be_called_anything") {
        return;
    }
    let place = lab::scratch().join(format!("names-{}", std::process::id()));
    let long = "n".repeat(200);
    let names: &[&[u8]] = &[
        b"with space",
        b"co:lon",
        b"com,ma",
        b"back\\slash",
        b"all : of, them\\:\\,",
        b"quo\"te'",
        b"new\nline",
        b"equal=lowerdir=x",
        b"%s%n",
        b"\xff\xfe",
        long.as_bytes(),
        b"-m",
    ];
    fs::create_dir_all(&place).unwrap();
    for name in names {
        let store = place.join(OsStr::from_bytes(name));
        fs::create_dir(&store).unwrap();
        fs::set_permissions(&store, fs::Permissions::from_mode(0o700)).unwrap();
        // The root is in there too: the options of an overlay name both, and have an escape for each of these.
        let root = store.join("root");
        fs::rename(small_root("named"), &root).unwrap();
        for flags in [&[][..], &["--until", "pivot_root"]] {
            let mut command = Command::new(RUBBER);
            command
                .arg("--root")
                .arg(&store)
                .arg("run")
                .args(flags)
                .arg("--rootfs")
                .arg(&root)
                .args(["echo", "ok"]);
            let output = command.stdin(Stdio::null()).output().unwrap();
            assert_eq!(text(&output.stdout), "ok\n", "{:?} {flags:?}: {output:?}", text(name));
        }
    }
    // A relative one is where the caller stands.
    let output = Command::new(RUBBER)
        .current_dir(&place)
        .args(["--root", "with space", "run", "--rootfs", "with space/root", "pwd"])
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "/\n", "{output:?}");
    fs::remove_dir_all(place).unwrap();
}

#[test]
fn a_store_that_cannot_be_used_is_told() {
    let place = lab::scratch().join(format!("stores-{}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    let file = place.join("file");
    fs::write(&file, "x").unwrap();
    let open = place.join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let cases = [
        (file.clone(), "not a directory"),
        (file.join("below"), "Not a directory"),
        (open, "changed by others"),
        (PathBuf::from("/proc/nosuch/store"), "store"),
    ];
    for (root, words) in cases {
        for command in [&["run", "busybox", "true"][..], &["images"], &["clean"], &["rmi", "x"]] {
            let output = Command::new(RUBBER)
                .arg("--root")
                .arg(&root)
                .args(command)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert_told(&output, 125, &[words], &format!("{root:?} {command:?}"));
        }
    }
    if !is_root() {
        let shut = place.join("shut");
        fs::create_dir(&shut).unwrap();
        fs::set_permissions(&shut, fs::Permissions::from_mode(0o500)).unwrap();
        for root in [&shut, &shut.join("store"), Path::new("/root/store"), Path::new("/var/lib")] {
            let mut command = Command::new(RUBBER);
            let output = command
                .arg("--root")
                .arg(root)
                .args(["run", "busybox", "true"])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            assert_told(&output, 125, &["store", "--root DIR"], &format!("{root:?}"));
        }
        fs::set_permissions(&shut, fs::Permissions::from_mode(0o700)).unwrap();
    }
    fs::remove_dir_all(place).unwrap();
}

/// Runs `script` in a mount namespace of its own, in an empty directory; RUBBER is the binary,
/// STORE the tests' store, which has busybox. `None` where this machine lets us have none.
fn with_mounts(test: &str, script: &str) -> Option<Output> {
    let flags: &[&str] = if is_root() { &["-m"] } else { &["-r", "-m"] };
    let place = lab::scratch().join(format!("mounts-{}-{test}", std::process::id()));
    fs::create_dir_all(&place).unwrap();
    let unshare = |script: &str| {
        Command::new("unshare")
            .args(flags)
            .args(["sh", "-c", script])
            .current_dir(&place)
            .stdin(Stdio::null())
            .output()
    };
    if !unshare("mount -t tmpfs tmpfs .").is_ok_and(|output| output.status.success()) {
        lab::skip(test, "no mount namespace for the test itself");
        fs::remove_dir_all(place).unwrap();
        return None;
    }
    say(&[], "true");
    let quoted = |path: &Path| format!("'{}'", path.display());
    let script = script.replace("RUBBER", &quoted(Path::new(RUBBER))).replace("STORE", &quoted(&store()));
    let output = unshare(&script).unwrap();
    fs::remove_dir_all(place).unwrap();
    Some(output)
}

#[test]
fn a_read_only_store_is_told() {
    let test = "a_read_only_store_is_told";
    let script = "mkdir -m 700 s; cp -a STORE/images STORE/layers s && mount --bind s s && mount -o remount,bind,ro s || exit 99
                  RUBBER --root \"$PWD/s\" images && RUBBER --root \"$PWD/s\" run --dry-run busybox true 2>/dev/null || exit 98
                  RUBBER --root \"$PWD/s\" run busybox true";
    let Some(output) = with_mounts(test, script) else { return };
    assert_told(&output, 125, &["read-only", "--root DIR"], test);
    // What needs to write nothing works.
    assert!(text(&output.stdout).contains("busybox"), "{output:?}");
}

#[test]
fn a_full_store_is_told_and_left_whole() {
    let test = "a_full_store_is_told_and_left_whole";
    // First too small for the image, then filled up when the image is there.
    let script = "mkdir s t; mount -t tmpfs -o size=256k,mode=700 tmpfs s && mount -t tmpfs -o size=64m,mode=700 tmpfs t || exit 99
                  RUBBER --root \"$PWD/s\" run busybox true; echo code $?; ls s/images s/layers s/tmp s/containers 2>/dev/null; echo
                  RUBBER --root \"$PWD/t\" run busybox true; cat /dev/zero >t/fill 2>/dev/null
                  RUBBER --root \"$PWD/t\" run busybox true; echo code $?; ls t/containers
                  rm t/fill; RUBBER --root \"$PWD/t\" run busybox true; echo code $?; ls t/containers";
    let Some(output) = with_mounts(test, script) else { return };
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    let quiet = err.lines().filter(|line| !line.contains("making it from")).collect::<Vec<_>>();
    let codes: Vec<_> = out.lines().filter(|line| line.starts_with("code")).collect();
    assert_eq!(codes.first(), Some(&"code 125"), "{output:?}");
    assert!(quiet[0].contains("full") || quiet[0].contains("No space left"), "{err}");
    // A full disk may still have room for the few names of a container; then it just runs.
    assert!(codes[1] == "code 0" || err.contains("full") || err.contains("No space left"), "{output:?}");
    assert_eq!(codes.last(), Some(&"code 0"), "{output:?}");
    let stray: Vec<_> =
        out.lines().filter(|line| line.ends_with(".json") && !line.contains("busybox")).collect();
    assert!(stray.is_empty() && !err.contains("panicked"), "{output:?}");
}

#[test]
fn a_store_on_overlay_works_with_memory_for_the_upper_layer() {
    let test = "a_store_on_overlay_works_with_memory_for_the_upper_layer";
    let script = "mount -t tmpfs tmpfs . && cd \"$PWD\" && mkdir lower upper work merged || exit 99
                  mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged 2>/dev/null ||
                  mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work,userxattr merged || exit 98
                  mkdir -m 700 merged/s; cp -a STORE/images STORE/layers merged/s || exit 97
                  for i in 1 2; do RUBBER --root \"$PWD/merged/s\" run busybox sh -c 'echo written >/file; cat /file; echo x >/etc/passwd; cat /etc/passwd'; echo code $?; done
                  ls merged/s/containers";
    let Some(output) = with_mounts(test, script) else { return };
    if code(&output) == 98 {
        return lab::skip(test, "no overlay in a user namespace here");
    }
    assert_eq!(text(&output.stdout), "written\nx\ncode 0\nwritten\nx\ncode 0\n", "{output:?}");
}

/// A user that no process of this machine's has.
const MALLORY: u32 = 54_321;

fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(MALLORY), Some(MALLORY)).unwrap();
    if path.is_dir() && !path.is_symlink() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
    }
}

/// A store that was open to others once keeps what they have put there: nothing of it is believed, and nothing removed.
#[test]
fn what_another_user_has_put_into_a_store_is_not_believed() {
    let test = "what_another_user_has_put_into_a_store_is_not_believed";
    if !is_root() {
        return lab::skip(test, "only root gives files away");
    }
    if !has_busybox(test) {
        return;
    }
    let place = tempfile::tempdir_in(lab::scratch()).unwrap();
    let root = place.path().join("store");
    fs::create_dir(place.path().join("tree")).unwrap();
    let tree = place.path().join("tree").to_str().unwrap().to_owned();
    let rubber = |words: &[&str]| {
        let mut command = Command::new(RUBBER);
        command.arg("--root").arg(&root).args(words).stdin(Stdio::null()).output().unwrap()
    };
    let record = |id: &[u8]| text(id).trim().to_owned() + ".json";
    let made = rubber(&["run", "-d", "--name", "box", "-v", "data:/data", "busybox", "sleep", "1000"]);
    assert_eq!(code(&made), 0, "{made:?}");
    let file = root.join("containers").join(record(&made.stdout));
    let is_mallorys = format!("belongs to user {MALLORY}");
    let refused = |what: &str, commands: &[&[&str]]| {
        for words in commands {
            assert_told(&rubber(words), 125, &[&is_mallorys], &format!("{what}: {words:?}"));
        }
        assert!(file.exists(), "{what}: it was removed");
    };
    let all: &[&[&str]] = &[
        &["run", "busybox", "true"],
        &["ps", "-a"],
        &["inspect", "box"],
        &["exec", "box", "true"],
        &["logs", "box"],
        &["stop", "box"],
        &["rm", "-f", "box"],
        &["clean"],
    ];
    let ours = |path: &Path| std::os::unix::fs::lchown(path, Some(0), Some(0)).unwrap();
    give(&root.join("containers"));
    ours(&file);
    refused("containers/", all);
    ours(&root.join("containers"));
    // A link to a directory of ours, which another has put there.
    fs::rename(root.join("containers"), root.join("away")).unwrap();
    std::os::unix::fs::symlink("away", root.join("containers")).unwrap();
    std::os::unix::fs::lchown(root.join("containers"), Some(MALLORY), None).unwrap();
    refused("a link as containers/", all);
    fs::remove_file(root.join("containers")).unwrap();
    fs::rename(root.join("away"), root.join("containers")).unwrap();
    // One record: it is nobody's container for us, and no reason to believe it.
    give(&file);
    assert_eq!(code(&rubber(&["rm", "-f", "box"])), 0);
    for words in [&["inspect", "box"][..], &["exec", "box", "true"], &["rm", "box"]] {
        assert_told(&rubber(words), 125, &["no container"], &format!("a record: {words:?}"));
    }
    assert!(!text(&rubber(&["ps", "-a"]).stdout).contains("box") && file.exists());
    ours(&file);
    for directory in ["images", "layers"] {
        std::os::unix::fs::lchown(root.join(directory), Some(MALLORY), None).unwrap();
        refused(directory, &[&["run", "busybox", "true"], &["import", &tree, "new"]]);
        ours(&root.join(directory));
    }
    give(&root.join("images/busybox.json"));
    refused("an image", &[&["run", "busybox", "true"], &["image", "inspect", "busybox"]]);
    ours(&root.join("images/busybox.json"));
    std::os::unix::fs::lchown(root.join("volumes"), Some(MALLORY), None).unwrap();
    let in_volumes: &[&[&str]] =
        &[&["run", "-v", "data:/data", "busybox", "true"], &["volume", "ls"], &["volume", "rm", "data"]];
    refused("volumes", in_volumes);
    ours(&root.join("volumes"));
    std::os::unix::fs::lchown(root.join("tmp"), Some(MALLORY), None).unwrap();
    refused("tmp", &[&["import", &tree, "new"]]);
    ours(&root.join("tmp"));
    let link = place.path().join("link");
    std::os::unix::fs::symlink(&root, &link).unwrap();
    std::os::unix::fs::lchown(&link, Some(MALLORY), None).unwrap();
    let mut command = Command::new(RUBBER);
    let output = command.arg("--root").arg(&link).args(["ps", "-a"]).output().unwrap();
    assert_told(&output, 125, &[&is_mallorys], "a link as the store");
    assert_eq!(code(&rubber(&["exec", "box", "true"])), 0, "all is ours again");
    assert_eq!(code(&rubber(&["rm", "-f", "box"])), 0);
}

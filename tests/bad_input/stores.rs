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

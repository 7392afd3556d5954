//! Rubber inside a container of its own.

use super::*;

/// A root with rubber in it, and below it another root.
fn root_with_rubber(test: &str) -> PathBuf {
    let root = small_root(test);
    lab::copy_program(RUBBER, root.join("bin/rubber"));
    fs::create_dir_all(root.join("inner/bin")).unwrap();
    fs::hard_link(root.join("bin/busybox"), root.join("inner/bin/busybox")).unwrap();
    symlink("busybox", root.join("inner/bin/sh")).unwrap();
    root
}

const NESTED: &str = "rubber --root /store run --rootfs /inner sh -c 'echo inside $(busybox id -u) $(busybox hostname); exit 7'; echo code $?
                      for left in /store/containers/*; do echo left $left; done";

#[test]
fn a_privileged_container_can_hold_another() {
    let test = "a_privileged_container_can_hold_another";
    if !has_busybox(test) {
        return;
    }
    let root = root_with_rubber(test);
    let output = with_root(&["--privileged"], &root, NESTED);
    let said = text(&output.stdout);
    assert!(said.starts_with("inside 0 ") && said.contains("code 7\n"), "{output:?}");
    assert!(said.ends_with("left /store/containers/*\n"), "{output:?}");
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_plain_container_holds_another_or_says_why_not() {
    let test = "a_plain_container_holds_another_or_says_why_not";
    if !has_busybox(test) {
        return;
    }
    let root = root_with_rubber(test);
    // The filter forbids new user namespaces, and to who may do without them, pivot_root. Then: with nothing at all, as
    // an ordinary user.
    let store = "mkdir -m 700 /tmp/s; ";
    fs::create_dir(root.join("tmp")).unwrap();
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    for (flags, must_work) in [
        (&[][..], false),
        (&["--security-opt", "seccomp=unconfined"], is_root()),
        (&["--cap-add", "SYS_ADMIN"], false),
        (&["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined"], is_root()),
        (&["--cap-drop", "ALL"], false),
        (&["--user", "1000"], false),
    ] {
        let script = store.to_owned() + &NESTED.replace("/store", "/tmp/s");
        let output = with_root(flags, &root, &script);
        if code(&output) == 125 && text(&output.stderr).contains("not mapped") {
            lab::skip(test, "one id only: there is no other user inside");
            continue;
        }
        let (said, told) = (text(&output.stdout), text(&output.stderr));
        assert!(said.contains("code 7\n") || !must_work, "{flags:?}: {output:?}");
        if !said.contains("code 7\n") {
            assert!(said.contains("code 125\n") && told.starts_with("rubber: "), "{flags:?}: {output:?}");
            assert!(told.lines().count() <= 2 && told.contains("        "), "{flags:?}: no advice: {told}");
        }
        assert!(said.ends_with("left /tmp/s/containers/*\n"), "{flags:?}: {output:?}");
    }
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn the_built_in_image_runs_inside_too() {
    let test = "the_built_in_image_runs_inside_too";
    if !has_busybox(test) {
        return;
    }
    let root = root_with_rubber(test);
    let output = with_root(&["--privileged"], &root, "rubber --root /store run; echo code $?");
    assert!(text(&output.stdout).ends_with("code 0\n") && output.stderr.is_empty(), "{output:?}");
    fs::remove_dir_all(root).unwrap();
}

//! Root filesystems that lack something, or have something else in its place.

use super::*;

/// Puts something odd in a place of a root.
type Make = fn(&Path);

#[test]
fn a_root_without_proc_sys_or_dev_gets_them() {
    if !has_busybox("a_root_without_proc_sys_or_dev_gets_them") {
        return;
    }
    let root = small_root("bare");
    for flags in [&[][..], &["--init"], &["--until", "pid"], &["--until", "pivot_root"]] {
        let output =
            with_root(flags, &root, "ls -d /proc/self/status /sys/kernel /dev/null && echo x >/dev/null");
        assert!(output.status.success(), "{flags:?}: {output:?}");
    }
    let names: Vec<_> = fs::read_dir(&root).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names, ["bin"], "nothing is made in the directory itself");
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_root_whose_proc_or_dev_is_no_directory_is_refused() {
    if !has_busybox("a_root_whose_proc_or_dev_is_no_directory_is_refused") {
        return;
    }
    let kinds: &[(&str, Make)] = &[
        ("a link to the root", |path| symlink("/", path).unwrap()),
        ("a link to /bin", |path| symlink("bin", path).unwrap()),
        ("a link out", |path| symlink("../../../../../../../../../../tmp", path).unwrap()),
        ("a link to itself", |path| symlink(path.file_name().unwrap(), path).unwrap()),
        ("a file", |path| fs::write(path, "x").unwrap()),
        ("a fifo", |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
    ];
    for place in ["proc", "sys", "dev"] {
        for (kind, make) in kinds {
            let root = small_root("odd-place");
            make(&root.join(place));
            for flags in [&[][..], &["--until", "pivot_root"]] {
                let output = with_root(flags, &root, "echo ran");
                let words = [format!("/{place} in the image is not a directory")];
                assert_told(&output, 125, &[&words[0]], &format!("{place} is {kind} {flags:?}"));
            }
            fs::remove_dir_all(root).unwrap();
        }
    }
}

#[test]
fn a_hostile_passwd_is_refused_or_harmless() {
    if !has_busybox("a_hostile_passwd_is_refused_or_harmless") {
        return;
    }
    let cases: &[(&str, Make, Result<&str, &str>)] = &[
        (
            "a fifo",
            |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            Err("not a user database"),
        ),
        ("a directory", |path| fs::create_dir(path).unwrap(), Err("not a user database")),
        ("2 MiB", |path| fs::write(path, vec![b'x'; 2 << 20]).unwrap(), Err("1 MiB")),
        ("a link to /dev/zero", |path| symlink("/dev/zero", path).unwrap(), Err("not a user database")),
        ("a link to itself", |path| symlink("passwd", path).unwrap(), Ok("/")),
        ("not there", |_| {}, Ok("/")),
        ("NULs", |path| fs::write(path, b"root:\0:0:0:\0:/r\0oot:\0\n\0\0").unwrap(), Err("")),
        ("no UTF-8", |path| fs::write(path, b"root:x:0:0:\xff:/root:\xff\n").unwrap(), Ok("/root")),
        ("a bad uid", |path| fs::write(path, b"root:x:-1:0::/root:\n").unwrap(), Ok("/")),
        ("a relative home", |path| fs::write(path, b"root:x:0:0::root:\n").unwrap(), Ok("root")),
    ];
    for (kind, make, expected) in cases {
        let root = small_root("passwd");
        fs::create_dir(root.join("etc")).unwrap();
        make(&root.join("etc/passwd"));
        let output = with_root(&[], &root, "echo $HOME");
        match expected {
            Ok(home) => assert_eq!(text(&output.stdout), format!("{home}\n"), "{kind}: {output:?}"),
            Err(words) => assert_told(&output, 125, &[words], kind),
        }
        fs::remove_dir_all(root).unwrap();
    }
    let root = small_root("group");
    fs::create_dir(root.join("etc")).unwrap();
    nix::unistd::mkfifo(&root.join("etc/group"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_told(
        &with_root(&[], &root, "true"),
        125,
        &["/etc/group", "not a user database"],
        "group is a fifo",
    );
    fs::remove_dir_all(root).unwrap();
}

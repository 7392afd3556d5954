//! What is wrong in a command line, an image or a store is told in one message that names it, with
//! docker's exit codes; and what only looks odd works.

mod lab;

use lab::{RUBBER, code, is_root, rubber, run, say, store, text};
use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::{ffi::OsStrExt, ffi::OsStringExt, fs::PermissionsExt, fs::symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// One message of rubber's with this exit code and these words in it: no panic, no backtrace, no
/// inside of a struct, nothing a terminal obeys, no fact twice.
fn assert_told(output: &Output, expected: i32, words: &[&str], what: &str) {
    let said = text(&output.stderr);
    assert_eq!(code(output), expected, "{what}: {output:?}");
    let mut lines = said.lines();
    assert!(lines.next().is_some_and(|line| line.starts_with("rubber: ")), "{what}: {said}");
    // A line of advice may follow, indented.
    assert!(lines.clone().count() <= 1 && lines.all(|line| line.starts_with("        ")), "{what}: {said}");
    for word in words {
        assert!(said.contains(word), "{what}: no {word:?} in: {said}");
    }
    for inside in [
        "panicked",
        "backtrace",
        "Error {",
        "Os {",
        "kind:",
        "Err(",
        "Some(",
        "\u{1b}",
        "ParseIntError",
        "invalid digit",
    ] {
        assert!(!said.contains(inside), "{what}: {inside:?} in: {said}");
    }
}

/// What clap refuses it refuses in its own words, and with our exit code.
fn assert_refused(output: &Output, words: &[&str], what: &str) {
    let said = text(&output.stderr);
    assert_eq!(code(output), 125, "{what}: {output:?}");
    assert!(said.starts_with("error: ") || said.starts_with("rubber: "), "{what}: {said}");
    assert!(words.iter().all(|word| said.contains(word)) && !said.contains("panicked"), "{what}: {said}");
}

fn has_busybox(test: &str) -> bool {
    let has = lab::has("busybox");
    if !has {
        lab::skip(test, "no busybox on this machine");
    }
    has
}

#[test]
fn unknown_names_are_told_with_what_is_near() {
    for (words, expected) in [
        (&["busibox", "true"][..], &["\"busibox\"", "did you mean busybox?"][..]),
        (&["debiam", "true"], &["\"debiam\"", "debian"]),
        (&["no-such-image:1.2", "true"], &["no image \"no-such-image:1.2\"", "rubber import"]),
        (&["", "true"], &["bad image name \"\""]),
        (&["../etc", "true"], &["bad image name"]),
        (&["UPPER", "true"], &["bad image name \"UPPER\"", "lower-case"]),
        (&["bad\u{1b}[31mname", "true"], &["bad image name"]),
        (&["--no-such-flag", "busybox", "true"], &["no flag \"--no-such-flag\"", "--help"]),
        (&["--user", "nosuch", "busybox", "true"], &["no user \"nosuch\"", "/etc/passwd"]),
        (&["--user", "", "busybox", "true"], &["no user \"\""]),
        (&["--user", "0:nosuch", "busybox", "true"], &["no group \"nosuch\"", "/etc/group"]),
        (&["--user", "-1", "busybox", "true"], &["-1 is not an id"]),
        (&["--user", "4294967295", "busybox", "true"], &["4294967295 is not an id"]),
        (&["--user", "4294967296", "busybox", "true"], &["4294967296 is not an id"]),
        (&["--user", "0:-1", "busybox", "true"], &["-1 is not an id"]),
        (&["--cap-add", "NOSUCH", "busybox", "true"], &["no capability \"NOSUCH\"", "capabilities(7)"]),
        (&["--cap-drop", "NOSUCH", "busybox", "true"], &["no capability \"NOSUCH\""]),
        (&["--cap-add", "", "busybox", "true"], &["no capability \"\""]),
        (&["--until", "nosuch", "busybox", "true"], &["no layer \"nosuch\"", "pivot_root"]),
        (&["--until", "99", "busybox", "true"], &["no layer \"99\""]),
        (&["--without", "busybox", "busybox", "true"], &["no layer \"busybox\""]),
        (&["--without", "process", "busybox", "true"], &["needs process"]),
        (&["--without", "pivot_root,chroot", "busybox", "true"], &["needs", "--without"]),
        (&["--workdir", "/nosuch", "busybox", "true"], &["/nosuch", "ENOENT"]),
        (&["--workdir", "relative", "busybox", "true"], &["relative", "slash"]),
        (&["--workdir", "/etc/passwd", "busybox", "true"], &["/etc/passwd", "ENOTDIR"]),
        (&["--rootfs", "/no/such/root", "true"], &["--rootfs /no/such/root"]),
        (&["--rootfs", "/etc/passwd", "true"], &["/etc/passwd", "not a directory"]),
        (&["--rootfs", "/"], &["nothing to run"]),
        (&["--env", "", "busybox", "true"], &["--env \"\""]),
        (&["--env", "=x", "busybox", "true"], &["--env \"=x\""]),
    ] {
        let output = rubber([&["run"], words].concat()).output().unwrap();
        assert_told(&output, 125, expected, &format!("{words:?}"));
    }
}

#[test]
fn bad_limits_name_the_flag_and_the_value() {
    let long = "9".repeat(400);
    for (flag, bad) in [
        (
            "--memory",
            &[
                "1",
                "-5",
                "9999999g",
                "99999999999999999999",
                "",
                "1x",
                "m",
                "1.5g",
                " 64m",
                "0x40m",
                "+64m",
                "10%",
                "٦m",
                &long,
            ][..],
        ),
        ("--memory-reservation", &["", "x", "-1", "9999999g"]),
        (
            "--cpus",
            &["0", "-1", "nan", "inf", "-inf", "1e400", "1e1", "0.001", "", "x", "0.5.5", "1,5", &long],
        ),
        ("--cpu-shares", &["1", "0", "-1", "262145", "", "x", "1.5", &long]),
        ("--cpuset-cpus", &["x", "3-1", "", "0-", "-0", "0,,1", "0;1", "0 1", "1-2-3", "99999999999"]),
        ("--pids-limit", &["-2", "x", "", "1.5", "99999999999", &long]),
    ] {
        for value in bad {
            let output = rubber(["run", flag, value, "busybox", "true"]).output().unwrap();
            assert_told(&output, 125, &[flag], &format!("{flag} {value:?}"));
            let said = text(&output.stderr);
            assert!(*value == "1" || said.contains(&format!("{value:?}")), "{flag} {value:?}: {said}");
        }
    }
    let swap = |memory: &[&str], swap: &str| {
        rubber([&["run"], memory, &["--memory-swap", swap, "busybox", "true"]].concat()).output().unwrap()
    };
    assert_told(&swap(&[], "1g"), 125, &["--memory-swap", "--memory as well"], "swap without memory");
    assert_told(
        &swap(&["-m", "64m"], "32m"),
        125,
        &["--memory-swap \"32m\"", "less than --memory"],
        "swap below memory",
    );
    assert_told(&swap(&["-m", "64m"], "-2"), 125, &["--memory-swap \"-2\""], "swap -2");
    assert_told(&swap(&["-m", "64m"], "x"), 125, &["--memory-swap \"x\""], "swap x");
    assert_refused(&rubber(["run", "-m"]).output().unwrap(), &["--memory"], "-m alone");
    // More processors than there are: the kernel's answer, or that of whoever has no such controller.
    let output = rubber(["run", "--cpuset-cpus", "99999", "busybox", "true"]).output().unwrap();
    assert_told(&output, 125, &["cpu"], "--cpuset-cpus 99999");
}

#[test]
fn hostnames_have_a_length() {
    for (name, length) in [("", 0), (&"a".repeat(65), 65), (&"a".repeat(100_000), 100_000)] {
        let output = rubber(["run", "--hostname", name, "busybox", "true"]).output().unwrap();
        assert_told(&output, 125, &["--hostname", &format!("{length} bytes"), "64"], "hostname");
    }
    let longest = "a".repeat(64);
    assert_eq!(say(&["--hostname", &longest], "hostname"), longest);
}

#[test]
fn a_missing_command_is_asked_for() {
    let dir = lab::scratch().join(format!("empty-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let output = rubber([OsStr::new("run"), OsStr::new("--rootfs"), dir.as_os_str()]).output().unwrap();
    assert_told(&output, 125, &["nothing to run", "rubber run busybox ls"], "no command");
    let output = rubber([OsStr::new("run"), OsStr::new("--rootfs"), dir.as_os_str(), OsStr::new("sh")])
        .output()
        .unwrap();
    assert_told(&output, 127, &["cannot run \"sh\"", "not found in PATH"], "an empty root");
    let output = rubber(["run", "busybox", ""]).output().unwrap();
    assert_told(&output, 127, &["cannot run \"\""], "an empty command");
    for words in [&["nosuch"][..], &["--root"], &["run", "--memory"], &["images", "extra"], &["rmi"]] {
        let output = Command::new(RUBBER).args(words).stdin(Stdio::null()).output().unwrap();
        assert_refused(&output, &[], &format!("{words:?}"));
    }
    // The image's own command is a shell, which reads nothing and ends.
    assert_eq!(code(&rubber(["run", "busybox"]).output().unwrap()), 0);
    fs::remove_dir(dir).unwrap();
}

// ---- what only looks odd -------------------------------------------------------

#[test]
fn bytes_that_are_no_text_pass_through_untouched() {
    // A NUL ends every argument of execve(2), so nobody can send one: all other bytes.
    let odd = OsString::from_vec((1..=255).collect());
    let words = |words: &[&OsStr]| rubber(words.iter()).output().unwrap();
    let os = OsStr::new;
    let output = words(&[os("run"), os("busybox"), os("printf"), os("%s"), &odd]);
    assert!(output.status.success() && output.stdout == odd.as_bytes(), "argument: {output:?}");

    let mut variable = OsString::from("ODD=");
    variable.push(&odd);
    let script = "printf %s \"$ODD\"";
    let output = words(&[os("run"), os("-e"), &variable, os("busybox"), os("sh"), os("-c"), os(script)]);
    assert!(output.status.success() && output.stdout == odd.as_bytes(), "variable: {output:?}");
    let mut command = rubber(["run", "-e", "ODD", "busybox", "sh", "-c", script]);
    let output = command.env("ODD", &odd).output().unwrap();
    assert!(output.status.success() && output.stdout == odd.as_bytes(), "the caller's variable: {output:?}");

    let root = small_root("odd");
    let name = OsString::from_vec(b"a\xff\n b".to_vec());
    fs::create_dir(root.join(&name)).unwrap();
    let mut dir = OsString::from("/");
    dir.push(&name);
    let output = words(&[os("run"), os("--rootfs"), root.as_os_str(), os("-w"), &dir, os("pwd")]);
    assert_eq!(output.stdout, [dir.as_bytes(), b"\n"].concat(), "workdir: {output:?}");
    // In a message they are escaped.
    let output = words(&[os("run"), os("busybox"), os("-w"), &dir]);
    assert_told(&output, 127, &["cannot run \"-w\""], "a flag after the image is the command");
    let output = words(&[os("run"), os("busybox"), &name]);
    assert_told(&output, 127, &["\"a\\xFF\\n b\""], "an odd command");
    let output = words(&[os("run"), &name, os("true")]);
    assert_told(&output, 125, &["\"a\\xFF\\n b\""], "an odd image");
    fs::remove_dir_all(root).unwrap();
}

#[test]
fn a_mebibyte_of_arguments_arrives() {
    let part = "x".repeat(100_000);
    let parts = vec![part.as_str(); 10];
    let words =
        [&["run", "busybox", "sh", "-c", "echo $# ${#1} ${#10}; echo \"$*\" | wc -c", "sh"][..], &parts]
            .concat();
    let output = rubber(words).output().unwrap();
    assert_eq!(text(&output.stdout), "10 100000 100000\n1000010\n", "{:?}", text(&output.stderr));
    let many = vec!["y"; 100_000];
    let output =
        rubber([&["run", "busybox", "sh", "-c", "echo $#", "sh"][..], &many].concat()).output().unwrap();
    assert_eq!(text(&output.stdout), "100000\n");
}

#[test]
fn words_after_the_image_are_the_commands() {
    for (words, expected) in [
        (&["busybox", "echo", "-m", "1", "--user", "x"][..], "-m 1 --user x\n"),
        (&["busybox", "echo", "--help"], "--help\n"),
        (&["-i", "busybox", "--", "/bin/echo", "a"], "a\n"),
        (&["busybox", "--", "echo", "a", "--", "b"], "a -- b\n"),
        (&["--", "busybox", "echo", "hi"], "hi\n"),
        (&["/bin/echo", "hello"], "hello\n"),
        (&["/bin/echo", "--", "hello"], "-- hello\n"),
        (&["-i", "--rm", "/bin/echo", "-n", "--root"], "--root"),
        (&["--entrypoint", "/bin/echo", "busybox", "a"], "a\n"),
        (&["--entrypoint", "", "busybox", "echo", "a"], "a\n"),
    ] {
        let output = rubber([&["run"], words].concat()).output().unwrap();
        let said = text(&output.stdout);
        // What echo(1) makes of its own `--` is its affair.
        assert_eq!(
            said.trim_start_matches("-- "),
            expected.trim_start_matches("-- "),
            "{words:?}: {output:?}"
        );
    }
    let output = rubber(["run", "-i", "busybox", "--", "/bin/ls", "/"]).output().unwrap();
    assert!(text(&output.stdout).lines().any(|line| line == "proc"), "{output:?}");
}

// ---- root filesystems that lack something --------------------------------------

/// A directory with nothing but /bin/busybox and links to it.
fn small_root(name: &str) -> PathBuf {
    let root = lab::scratch().join(format!("{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(root.join("bin")).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let busybox = std::env::split_paths(&path).map(|dir| dir.join("busybox")).find(|file| file.is_file());
    fs::copy(busybox.expect("busybox in PATH"), root.join("bin/busybox")).unwrap();
    for applet in ["sh", "ls", "pwd", "cat", "id", "hostname", "mount", "mkdir", "true", "grep", "echo"] {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    root
}

fn with_root(flags: &[&str], root: &Path, script: &str) -> Output {
    rubber([&["run"], flags, &["--rootfs", root.to_str().unwrap(), "sh", "-c", script]].concat())
        .output()
        .unwrap()
}

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
    let kinds: &[(&str, fn(&Path))] = &[
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
    let cases: &[(&str, fn(&Path), Result<&str, &str>)] = &[
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

// ---- stores --------------------------------------------------------------------

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
        for flags in [&[][..], &["--until", "pivot_root"]] {
            let mut command = Command::new(RUBBER);
            command
                .arg("--root")
                .arg(&store)
                .arg("run")
                .args(flags)
                .args(["busybox", "echo", "ok"])
                .stdin(Stdio::null());
            let output = command.output().unwrap();
            assert_eq!(text(&output.stdout), "ok\n", "{:?} {flags:?}: {output:?}", text(name));
        }
    }
    // A relative one is where the caller stands.
    let output = Command::new(RUBBER)
        .current_dir(&place)
        .args(["--root", "with space", "run", "busybox", "pwd"])
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
/// STORE the tests' store. `None` where this machine lets us have none.
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
    let quoted = |path: &Path| format!("'{}'", path.display());
    let script = script.replace("RUBBER", &quoted(Path::new(RUBBER))).replace("STORE", &quoted(&store()));
    let output = unshare(&script).unwrap();
    fs::remove_dir_all(place).unwrap();
    Some(output)
}

#[test]
fn a_read_only_store_is_told() {
    let test = "a_read_only_store_is_told";
    let script = "mkdir s; chmod 700 s; RUBBER --root \"$PWD/s\" run busybox true && mount --bind s s && mount -o remount,bind,ro s || exit 99
                  RUBBER --root \"$PWD/s\" run busybox true";
    let Some(output) = with_mounts(test, script) else { return };
    let mut output = output;
    // Making the image was told too.
    output.stderr = text(&output.stderr)
        .lines()
        .filter(|line| !line.contains("making it from"))
        .collect::<Vec<_>>()
        .join("\n")
        .into();
    assert_told(&output, 125, &["read-only", "--root DIR"], test);
    // What needs to write nothing works: the list.
    let output = with_mounts(test, "mkdir s; chmod 700 s; RUBBER --root \"$PWD/s\" run busybox true && mount --bind s s && mount -o remount,bind,ro s || exit 99
                  RUBBER --root \"$PWD/s\" images && RUBBER --root \"$PWD/s\" run --dry-run busybox true 2>/dev/null").unwrap();
    assert!(output.status.success() && text(&output.stdout).contains("busybox"), "{output:?}");
}

#[test]
fn a_full_store_is_told_and_left_whole() {
    let test = "a_full_store_is_told_and_left_whole";
    // First too small for the image, then filled up when the image is there.
    let script = "mkdir s t; mount -t tmpfs -o size=256k,mode=700 tmpfs s && mount -t tmpfs -o size=64m,mode=700 tmpfs t || exit 99
                  RUBBER --root \"$PWD/s\" run busybox true; echo code $?; ls s/images s/layers s/tmp s/containers 2>/dev/null; echo
                  RUBBER --root \"$PWD/t\" run busybox true && cat /dev/zero >t/fill 2>/dev/null
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
                  mkdir -m 700 merged/s
                  for i in 1 2; do RUBBER --root \"$PWD/merged/s\" run busybox sh -c 'echo written >/file; cat /file; echo x >/etc/passwd; cat /etc/passwd'; echo code $?; done
                  ls merged/s/containers";
    let Some(output) = with_mounts(test, script) else { return };
    if code(&output) == 98 {
        return lab::skip(test, "no overlay in a user namespace here");
    }
    assert_eq!(text(&output.stdout), "written\nx\ncode 0\nwritten\nx\ncode 0\n", "{output:?}");
}

// ---- inside another container --------------------------------------------------

/// A root with rubber in it, and below it another root.
fn root_with_rubber(test: &str) -> PathBuf {
    let root = small_root(test);
    fs::copy(RUBBER, root.join("bin/rubber")).unwrap();
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
    // Without CAP_SYS_ADMIN, without CAP_NET_ADMIN, as an ordinary user, with nothing at all.
    let store = "mkdir -m 700 /tmp/s; ";
    fs::create_dir(root.join("tmp")).unwrap();
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    for (flags, must_work) in [
        (&[][..], is_root()),
        (&["--cap-add", "SYS_ADMIN"], is_root()),
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

#[test]
fn nothing_of_all_this_is_left() {
    // The record of what still runs beside this test is locked; the others must not be there.
    run(&[], "true");
    let output = rubber(["clean"]).output().unwrap();
    assert_eq!((code(&output), text(&output.stdout)), (0, String::new()), "{output:?}");
}

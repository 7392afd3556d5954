//! Words that are wrong: each is named, and what would be right.

use super::*;

#[test]
fn unknown_names_are_told_with_what_is_near() {
    for (words, expected) in [
        (&["--pull", "never", "busibox", "true"][..], &["\"busibox\"", "did you mean busybox?"][..]),
        (&["--pull", "never", "debiam", "true"], &["\"debiam\"", "debian"]),
        (
            &["--pull", "never", "no-such-image:1.2", "true"],
            &["no image \"no-such-image:1.2\"", "rubber pull"],
        ),
        (&["", "true"], &["bad image name \"\""]),
        (&["../etc", "true"], &["bad image name"]),
        (&["UPPER", "true"], &["bad image name \"UPPER\"", "lower-case"]),
        (&["bad\u{1b}[31mname", "true"], &["bad image name"]),
        (&["--no-such-flag", "busybox", "true"], &["no flag \"--no-such-flag\"", "--help"]),
        (&["--user", "nosuch", "busybox", "true"], &["no user \"nosuch\"", "/etc/passwd"]),
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
        (&["--until", "ipc", "--workdir", "/nosuch", "busybox", "true"], &["/nosuch", "ENOENT"]),
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

//! Who the command is (`user`), and what it may (`capabilities`).

use super::{
    lab::{code, is_root, rubber, run, say, skip, store, text},
    lab_cannot_run, output_of,
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// What docker lets root keep, as bits.
const DEFAULT: u64 = 0xa804_25fb;

fn all() -> u64 {
    let last: u32 = fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
    (1 << (last + 1)) - 1
}

/// What we have ourselves: nobody can be given more. In a user namespace of their own everybody has all.
fn ours() -> u64 {
    if !is_root() {
        return all();
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    mask(&status, "CapPrm")
}

fn mask(status: &str, set: &str) -> u64 {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(set))
        .unwrap_or_else(|| panic!("no {set} in {status}"));
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap()
}

/// Inheritable, permitted, effective, bounding, ambient.
fn sets(flags: &[&str]) -> [u64; 5] {
    let status = say(flags, "exec cat /proc/self/status");
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| mask(&status, set))
}

#[test]
fn capabilities_are_the_same_in_all_sets_that_count() {
    if let Some(why) = lab_cannot_run() {
        return skip("capabilities_are_the_same_in_all_sets_that_count", &why);
    }
    let root = |mask: u64| [0, mask & ours(), mask & ours(), mask & ours(), 0];
    assert_eq!(sets(&[]), root(DEFAULT));
    assert_eq!(sets(&["--cap-drop", "ALL"]), [0; 5]);
    assert_eq!(sets(&["--cap-drop", "all", "--cap-add", "CHOWN"]), root(1));
    assert_eq!(sets(&["--cap-drop", "CAP_CHOWN", "--cap-drop", "net_raw"]), root(DEFAULT & !1 & !(1 << 13)));
    assert_eq!(sets(&["--privileged"]), root(all()));
    assert_eq!(sets(&["--cap-add", "ALL"]), root(all()));
    assert_eq!(sets(&["--cap-add", "ALL", "--cap-drop", "SYS_ADMIN"]), root(all() & !(1 << 21)));
    if ours() & 1 << 12 != 0 {
        assert_eq!(sets(&["--cap-add", "NET_ADMIN"]), root(DEFAULT | 1 << 12));
    }
    // Left out, root is as it came.
    let [inheritable, permitted, ..] = sets(&["--without", "capabilities"]);
    assert_eq!((inheritable, permitted), (0, ours()));
    if is_root() {
        assert_eq!(sets(&["-u", "nobody"]), [0, 0, 0, DEFAULT & ours(), 0]);
        assert_eq!(sets(&["-u", "nobody", "--privileged"]), [0, 0, 0, ours(), 0]);
    }
}

#[test]
fn capabilities_that_are_gone_do_not_come_back() {
    if let Some(why) = lab_cannot_run() {
        return skip("capabilities_that_are_gone_do_not_come_back", &why);
    }
    let can = |flags: &[&str], script: &str| run(flags, script).status.success();
    assert!(can(&[], "touch /f && chown 0:0 /f"));
    assert!(!can(&[], "mkdir /m && mount -t tmpfs t /m"));
    assert!(can(&["--cap-add", "SYS_ADMIN"], "mkdir /m && mount -t tmpfs t /m"));
    assert!(!can(&[], "hostname other"));
    assert!(can(&["--cap-add", "SYS_ADMIN"], "hostname other"));
}

#[test]
fn capabilities_nobody_knows_are_refused() {
    for flags in
        [["--cap-add", "nosuch"], ["--cap-drop", "CAP_"], ["--cap-add", ""], ["--cap-drop", "CHOWN,KILL"]]
    {
        let output = run(&flags, "true");
        assert_eq!(code(&output), 125, "{flags:?}: {output:?}");
        assert!(text(&output.stderr).contains("no capability"), "{output:?}");
    }
}

/// A root with users and groups to choose from, on top of the store's busybox.
fn rootfs(dir: &Path) -> String {
    run(&[], "true");
    let layers = fs::read_dir(store().join("layers")).unwrap().flatten();
    let busybox = layers
        .map(|layer| layer.path().join("bin/busybox"))
        .find(|file| file.is_file())
        .expect("the busybox image");
    for name in ["bin", "etc", "proc", "sys", "dev"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    crate::lab::copy_program(busybox, dir.join("bin/busybox"));
    for name in ["sh", "id", "env", "cat", "grep", "sleep"] {
        std::os::unix::fs::symlink("busybox", dir.join("bin").join(name)).unwrap();
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(
        dir.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nann:x:1000:100::/home/ann:/bin/sh\nodd:x:-7:3::/:\nbroken\n",
    )
    .unwrap();
    fs::write(
        dir.join("etc/group"),
        "root:x:0:\nusers:x:100:\nwheel:x:10:root,ann\naudio:x:29:ann\nann2:x:31:annn\n",
    )
    .unwrap();
    dir.display().to_string()
}

#[test]
fn user_is_who_the_image_says() {
    let test = "user_is_who_the_image_says";
    if !is_root() {
        return skip(test, "an ordinary user has one id to give, which is root inside");
    }
    let place = tempfile::tempdir().unwrap();
    let root = rootfs(place.path());
    let who = |user: &str| {
        let script = "id -u; id -g; id -G; echo $HOME";
        let output = rubber(["run", "-u", user, "--rootfs", &root, "sh", "-c", script]).output().unwrap();
        (code(&output), text(&output.stdout).trim().replace('\n', " | "), text(&output.stderr))
    };
    let is = |user: &str, seen: &str| {
        let (code, said, error) = who(user);
        assert_eq!((code, said.as_str()), (0, seen), "{user}: {error}");
    };
    is("0", "0 | 0 | 0 10 | /root");
    is("root", "0 | 0 | 0 10 | /root");
    is("ann", "1000 | 100 | 100 10 29 | /home/ann");
    is("1000", "1000 | 100 | 100 10 29 | /home/ann");
    is("ann:wheel", "1000 | 10 | 10 | /home/ann");
    is("ann:77", "1000 | 77 | 77 | /home/ann");
    is("4242", "4242 | 0 | 0 | /");
    is("4242:4343", "4242 | 4343 | 4343 | /");
    // What is left out was not asked for, as docker has it: the user is root then, and the group the user's own.
    is("", "0 | 0 | 0 10 | /root");
    is(":", "0 | 0 | 0 10 | /root");
    is(":0", "0 | 0 | 0 | /root");
    is(":wheel", "0 | 10 | 10 | /root");
    is("root:", "0 | 0 | 0 10 | /root");
    is("ann:", "1000 | 100 | 100 10 29 | /home/ann");
    is("1000:", "1000 | 100 | 100 10 29 | /home/ann");
    is("4242:", "4242 | 0 | 0 | /");
    is("2147483647:2147483647", "2147483647 | 2147483647 | 2147483647 | /");
    for (user, why) in [
        ("nosuch", "no user \"nosuch\""),
        ("ann:nosuch", "no group \"nosuch\""),
        ("broken", "no user \"broken\""),
        ("odd", "-7 is not an id"),
        ("-1", "-1 is not an id"),
        ("0:-1", "-1 is not an id"),
        ("2147483648", "2147483648 is not an id"),
        ("4294967295", "4294967295 is not an id"),
        ("4294967296", "4294967296 is not an id"),
        ("99999999999999999999", "is not an id"),
        ("ann:wheel:x", "no group \"wheel:x\""),
    ] {
        let (code, _, error) = who(user);
        assert_eq!(code, 125, "{user:?}: {error}");
        assert!(error.contains(why), "{user:?}: {error}");
    }
    // HOME that was asked for stays.
    let output = output_of(&mut rubber([
        "run",
        "-e",
        "HOME=/x",
        "-u",
        "ann",
        "--rootfs",
        &root,
        "sh",
        "-c",
        "echo $HOME",
    ]));
    assert_eq!(text(&output.stdout), "/x\n");
    // Nobody's groups come along, and the way back is closed.
    let output = output_of(&mut rubber(["run", "-u", "ann", "--rootfs", &root, "cat", "/proc/self/status"]));
    let status = text(&output.stdout);
    assert!(
        status.contains("Uid:\t1000\t1000\t1000\t1000\n") && status.contains("Gid:\t100\t100\t100\t100\n"),
        "{status}"
    );
    assert!(status.contains("Groups:\t10 29 100 \n"), "{status}");
}

/// `Groups:` of /proc/self/status, which lists what setgroups(2) was told: `id -G` adds the gid to it by itself.
#[test]
fn user_has_its_first_group_in_the_list_as_well() {
    let test = "user_has_its_first_group_in_the_list_as_well";
    if !is_root() {
        return skip(test, "an ordinary user has one id to give, and the kernel forbids setgroups");
    }
    let place = tempfile::tempdir().unwrap();
    let root = rootfs(place.path());
    let name = format!("groups-{}", std::process::id());
    let start =
        [&["run", "-d", "--name", &name, "-u", "ann", "--rootfs", &root][..], &["sleep", "60"]].concat();
    assert_eq!(code(&output_of(&mut rubber(start))), 0);
    for (user, groups) in
        [("0", "0 10"), ("ann", "10 29 100"), ("ann:77", "77"), ("4242", "0"), ("4242:4343", "4343")]
    {
        let ask = ["grep", "Groups:", "/proc/self/status"];
        let ran = rubber([&["run", "-u", user, "--rootfs", &root][..], &ask].concat()).output().unwrap();
        let joined = rubber([&["exec", "-u", user, &name][..], &ask].concat()).output().unwrap();
        for output in [ran, joined] {
            assert_eq!(text(&output.stdout).trim(), format!("Groups:\t{groups}"), "{user}: {output:?}");
        }
    }
    assert_eq!(code(&output_of(&mut rubber(["rm", "-f", &name]))), 0);
}

/// The image's maker calls root "1000", and its group "77": it is not the maker who says what a number means.
#[test]
fn user_that_is_a_number_is_that_number_whoever_the_image_calls_so() {
    let test = "user_that_is_a_number_is_that_number_whoever_the_image_calls_so";
    if !is_root() {
        return skip(test, "an ordinary user has one id to give, which is root inside");
    }
    let place = tempfile::tempdir().unwrap();
    let root = rootfs(place.path());
    let root_as = "1000:x:0:0::/root:/bin/sh\n4242:x:0:0::/root:/bin/sh\n+7:x:0:0::/root:/bin/sh\n";
    fs::write(place.path().join("etc/passwd"), format!("{root_as}ann:x:1000:100::/home/ann:/bin/sh\n"))
        .unwrap();
    fs::write(place.path().join("etc/group"), "77:x:0:\n78:x:0:1000,4242\nwheel:x:10:\n").unwrap();
    let name = format!("numbers-{}", std::process::id());
    let start = ["run", "-d", "--name", &name, "--group-add", "77", "--rootfs", &root, "sleep", "60"];
    assert_eq!(code(&output_of(&mut rubber(start))), 0);
    let said = |words: &[&str]| {
        let output =
            rubber([words, &["sh", "-c", "echo $(id -u):$(id -g) $(id -G)"]].concat()).output().unwrap();
        assert_eq!(code(&output), 0, "{words:?}: {output:?}");
        text(&output.stdout).trim().to_owned()
    };
    for (user, is) in [
        ("1000", "1000:100 100 77"),
        ("4242", "4242:0 0 77"),
        ("+7", "7:0 0 77"),
        ("1000:77", "1000:77 77"),
        ("4242:78", "4242:78 78 77"),
        (":77", "0:77 77"),
    ] {
        assert_eq!(said(&["run", "-u", user, "--group-add", "77", "--rootfs", &root]), is, "run -u {user}");
        assert_eq!(said(&["exec", "-u", user, &name]), is, "exec -u {user}");
    }
    assert_eq!(code(&output_of(&mut rubber(["rm", "-f", &name]))), 0);
    // And an image's own USER, which is no different from the caller's word.
    let image = format!("numbers-{}", std::process::id());
    let beside = tempfile::tempdir().unwrap();
    let make = |user: &str| {
        let archive = archive_with_user(beside.path(), &root, user);
        assert_eq!(code(&output_of(&mut rubber(["import", &archive, &image]))), 0);
    };
    for (user, is) in [("1000", "1000:100 100"), ("4242:77", "4242:77 77"), (":", "0:0 0")] {
        make(user);
        assert_eq!(said(&["run", &image]), is, "USER {user}");
    }
    assert_eq!(code(&output_of(&mut rubber(["rmi", &image]))), 0);
}

/// Of the files in `root`, an image as `docker save` writes it, in `place`.
fn archive_with_user(place: &Path, root: &str, user: &str) -> String {
    let tar = |words: &[&str]| {
        let made = std::process::Command::new("tar").current_dir(place).args(words).status();
        assert!(made.unwrap().success(), "{words:?}");
    };
    tar(&["-cf", "layer.tar", "-C", root, "."]);
    let sum = std::process::Command::new("sha256sum").arg(place.join("layer.tar")).output().unwrap();
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"User": user, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", &text(&sum.stdout)[..64])]},
    });
    fs::write(place.join("c.json"), config.to_string()).unwrap();
    fs::write(place.join("manifest.json"), r#"[{"Config": "c.json", "Layers": ["layer.tar"]}]"#).unwrap();
    tar(&["-cf", "image.tar", "manifest.json", "c.json", "layer.tar"]);
    place.join("image.tar").display().to_string()
}

#[test]
fn user_of_an_ordinary_user_is_root_inside() {
    let test = "user_of_an_ordinary_user_is_root_inside";
    if is_root() {
        return skip(test, "for an ordinary user only");
    }
    if let Some(why) = lab_cannot_run() {
        return skip(test, &why);
    }
    let said = say(&[], "id -u; id -g; cat /proc/self/uid_map | tr -s ' '");
    assert!(said.starts_with(&format!("0\n0\n 0 {} 1", nix::unistd::geteuid())), "{said}");
    if said.lines().count() > 3 {
        // Ranges from /etc/subuid and /etc/subgid.
        return assert_eq!(say(&["-u", "1000"], "id -u; id -g"), "1000\n1000");
    }
    let output = run(&["-u", "1000"], "true");
    assert_eq!(code(&output), 125, "{output:?}");
    assert!(text(&output.stderr).contains("not mapped into the user namespace"), "{output:?}");
}

//! What is shared with a container: what it sees inside, what is found outside, and what cannot be.

#[path = "../lab/mod.rs"]
mod lab;

mod hostile;
mod options;
mod renamed;
mod tied;
mod words;

use lab::{code, is_root, rubber, run, say, skip_this, store, text};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A directory of the test's own, and words that share what is in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir_in(lab::scratch()).unwrap());
        for dir in ["data/sub", "victim"] {
            fs::create_dir_all(place.path(dir)).unwrap();
        }
        fs::write(place.path("data/file"), "outside\n").unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn at(&self, name: &str, target: &str) -> String {
        format!("{}:{target}", self.path(name).display())
    }
}

/// A name that no other test uses, and the volume goes with it.
struct Volume(String);

impl Volume {
    fn new(name: &str) -> Volume {
        Volume(format!("test-{name}-{}", std::process::id()))
    }

    fn at(&self, target: &str) -> String {
        format!("{}:{target}", self.0)
    }

    fn path(&self) -> PathBuf {
        store().join("volumes").join(&self.0)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = rubber(["volume", "rm", &self.0]).output();
    }
}

/// What mountinfo says inside of the mount at `target`: its options.
fn options(flags: &[&str], target: &str) -> String {
    let table = say(flags, "cat /proc/self/mountinfo");
    let line = table.lines().find(|line| line.split(' ').nth(4) == Some(target));
    line.unwrap_or_else(|| panic!("no {target} in {table}")).split(' ').nth(5).unwrap().to_owned()
}

fn fails(flags: &[&str], script: &str, words: &[&str]) {
    let output = run(flags, script);
    let said = text(&output.stderr);
    assert_ne!(code(&output), 0, "{flags:?}: {output:?}");
    assert!(words.iter().all(|word| said.contains(word)), "{flags:?}: {said}");
}

/// A test whose containers cannot run here says so.
fn cannot() -> bool {
    let output = run(&[], "true");
    if !output.status.success() {
        skip_this(text(&output.stderr).trim());
    }
    !output.status.success()
}

#[test]
fn volumes_show_directories_and_files_where_they_are_asked_for() {
    if cannot() {
        return;
    }
    let place = Place::new();
    let (dir, file) = (place.at("data", "/deep/down/data"), place.at("data/file", "/etc/one.conf"));
    let script = "cat /deep/down/data/file /etc/one.conf; echo inside >/deep/down/data/new; ls /deep/down";
    assert_eq!(say(&["-v", &dir, "-v", &file], script), "outside\noutside\ndata");
    assert_eq!(fs::read_to_string(place.path("data/new")).unwrap(), "inside\n");
    // Where a target is there already, it is covered and not changed.
    assert_eq!(say(&["-v", &place.at("data/file", "/etc/passwd")], "cat /etc/passwd"), "outside");
    assert!(options(&["-v", &dir], "/deep/down/data").contains("nodev"));
    // Outside nothing is mounted.
    let own = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!own.contains(place.0.path().to_str().unwrap()), "{own}");
}

#[test]
fn volumes_above_others_come_first_whatever_the_order() {
    if cannot() {
        return;
    }
    let place = Place::new();
    fs::write(place.path("victim/upper"), "").unwrap();
    let flags = ["-v", &place.at("data", "/a/sub"), "-v", &place.at("victim", "/a")];
    assert_eq!(say(&flags, "ls /a; cat /a/sub/file"), "sub\nupper\noutside");
    // Made there, as it had to be somewhere.
    assert!(place.path("victim/sub").is_dir());
}

#[test]
fn volumes_relative_to_the_caller_begin_with_a_dot() {
    if cannot() {
        return;
    }
    let place = Place::new();
    let output = rubber([
        "run",
        "-v",
        "./data:/x",
        "-v",
        "../:/up",
        "busybox",
        "sh",
        "-c",
        "cat /x/file /up/data/file",
    ])
    .current_dir(place.path("data").parent().unwrap())
    .output()
    .unwrap();
    // ".." is the parent of where we are, which has no data.
    assert!(text(&output.stdout).starts_with("outside"), "{output:?}");
    let output =
        rubber(["run", "-v", "data/sub:/x", "busybox", "true"]).current_dir(place.0.path()).output().unwrap();
    assert!(text(&output.stderr).contains("./data/sub"), "{output:?}");
}

#[test]
fn volumes_of_a_missing_path_make_it_and_say_so_and_mounts_do_not() {
    if cannot() {
        return;
    }
    let place = Place::new();
    let output = run(&["-v", &place.at("not/there", "/x")], "touch /x/here");
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stderr).contains("new directory"), "{output:?}");
    assert!(place.path("not/there/here").exists());
    let mount = format!("type=bind,src={},dst=/x", place.path("nor/this").display());
    fails(&["--mount", &mount], "true", &["--mount", "nor/this"]);
    assert!(!place.path("nor").exists());
    let output = run(&["--dry-run", "-v", &place.at("nor/that", "/x"), "-v", "test-dry:/y"], "true");
    assert!(output.status.success() && !place.path("nor").exists(), "{output:?}");
    assert!(!store().join("volumes/test-dry").exists());
}

#[test]
fn volumes_can_be_read_only_with_all_that_is_mounted_below() {
    if cannot() {
        return;
    }
    let place = Place::new();
    let share = place.at("data", "/x:ro");
    fails(&["-v", &share], "echo no >/x/file", &["Read-only"]);
    // With a mount below, in a mount table of its own.
    let inner = format!("mount -t tmpfs t {} && exec \"$@\"", place.path("data/sub").display());
    let unshare: &[&str] = if is_root() { &["-m"] } else { &["-rm"] };
    let mut command = Command::new("unshare");
    command.args(unshare).args(["sh", "-c", &inner, "sh"]).arg(lab::RUBBER).arg("--root").arg(store());
    command.args([
        "run",
        "-v",
        &share,
        "busybox",
        "sh",
        "-c",
        "grep -c ' /x/sub ' /proc/mounts; touch /x/sub/no",
    ]);
    let output = command.output().unwrap();
    assert!(
        text(&output.stdout).starts_with('1') && text(&output.stderr).contains("Read-only"),
        "{output:?}"
    );
}

#[test]
fn volumes_take_their_options() {
    if cannot() {
        return;
    }
    let place = Place::new();
    fs::write(place.path("data/program"), "#!/bin/sh\necho ran").unwrap();
    fs::set_permissions(place.path("data/program"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(say(&["-v", &place.at("data", "/x")], "/x/program"), "ran");
    fails(&["-v", &place.at("data", "/x:noexec")], "/x/program", &["ermission denied"]);
    let all = options(&["-v", &place.at("data", "/x:nosuid,noexec,ro,nodev")], "/x");
    assert!(
        ["ro", "nosuid", "nodev", "noexec"].iter().all(|word| all.split(',').any(|is| is == *word)),
        "{all}"
    );
    let mount = format!("type=bind,source={},target=/x,readonly", place.path("data").display());
    assert!(options(&["--mount", &mount], "/x").starts_with("ro"));
    assert!(options(&["--mount", &format!("{mount}=false")], "/x").starts_with("rw"));
}

/// What a mount forbids is locked for who comes from a user namespace: it must be kept, and not stand in the way.
#[test]
fn volumes_from_a_disk_that_forbids_things_are_as_strict() {
    if cannot() {
        return;
    }
    let place = Place::new();
    let dir = place.path("data").display().to_string();
    let host = format!("mount -t tmpfs -o nosuid,noexec t {dir} && exec unshare -rm --map-user=54321 \"$@\"");
    let words = ["run", "-v", &place.at("data", "/x"), "busybox", "grep", " /x ", "/proc/self/mounts"];
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &host, "sh", lab::RUBBER, "--root"]).arg(store()).args(words);
    // Another user's store, for who is not root in that namespace.
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    if said.starts_with("unshare: ") || said.contains("store") {
        return skip_this(said.trim());
    }
    let seen = text(&output.stdout);
    assert!(["nosuid", "noexec", "nodev"].iter().all(|word| seen.contains(word)), "{output:?}");
}

/// Or root inside could make a door to the host's disk.
#[test]
fn volumes_have_no_devices_in_them() {
    if cannot() {
        return;
    }
    let place = Place::new();
    if is_root() {
        let node = place.at("data", "/x");
        fails(&["-v", &node], "mknod /x/n c 1 3; echo x >/x/n", &["ermission denied"]);
        // Where the disk itself has none, nobody can give any.
        use nix::sys::statvfs::{FsFlags, statvfs};
        if !statvfs(&store()).unwrap().flags().contains(FsFlags::ST_NODEV) {
            assert_eq!(say(&["-v", &format!("{node}:dev")], "echo x >/x/n && echo through"), "through");
        }
    }
    // One that is named itself is meant.
    assert_eq!(say(&["-v", "/dev/null:/etc/motd"], "echo x >/etc/motd && cat /etc/motd"), "");
}

#[test]
fn volumes_with_names_are_the_stores_and_outlive_containers() {
    if cannot() {
        return;
    }
    let (volume, name) = (Volume::new("named"), format!("user-of-volume-{}", std::process::id()));
    say(&["-v", &volume.at("/x")], "echo kept >/x/file");
    assert_eq!(say(&["-v", &volume.at("/y:ro")], "cat /y/file"), "kept");
    assert_eq!(fs::read_to_string(volume.path().join("file")).unwrap(), "kept\n");
    let answer = |words: &[&str]| rubber([&["volume"], words].concat()).output().unwrap();
    assert!(text(&answer(&["ls", "-q"]).stdout).lines().any(|line| line == volume.0));
    // One that a container has, even an ended one, stays.
    say(&["--name", &name, "-v", &volume.at("/x")], "true");
    let about: serde_json::Value = serde_json::from_slice(&answer(&["inspect", &volume.0]).stdout).unwrap();
    assert_eq!(about[0]["containers"][0], name.as_str());
    assert_eq!(about[0]["path"], volume.path().to_str().unwrap());
    let refused = answer(&["rm", &volume.0]);
    assert!(
        code(&refused) == 125 && text(&refused.stderr).contains(&format!("rubber rm {name}")),
        "{refused:?}"
    );
    assert!(rubber(["rm", &name]).output().unwrap().status.success());
    assert_eq!(text(&answer(&["rm", &volume.0]).stdout), format!("{}\n", volume.0));
    assert!(!volume.path().exists());
    assert!(text(&answer(&["rm", &volume.0]).stderr).contains("no volume"));
    for bad in ["", ".", "..", "-x", "a b", "a/b", "ä", &"a".repeat(129)] {
        let refused = answer(&["create", "--", bad]);
        assert!(code(&refused) == 125 && text(&refused.stderr).contains("no name"), "{bad:?}: {refused:?}");
    }
}

#[test]
fn volumes_that_are_empty_begin_as_the_image_has_it() {
    if cannot() {
        return;
    }
    let (full, bare) = (Volume::new("filled"), Volume::new("bare"));
    assert!(say(&["-v", &full.at("/etc")], "echo mine >>/etc/passwd; ls /etc").contains("passwd"));
    assert!(fs::read_to_string(full.path().join("passwd")).unwrap().ends_with("mine\n"));
    // And only once.
    assert!(say(&["-v", &full.at("/etc")], "cat /etc/passwd").ends_with("mine"));
    assert_eq!(say(&["-v", &bare.at("/etc:nocopy")], "ls -A /etc"), "");
    let tmp = Volume::new("tmp");
    say(&["-v", &tmp.at("/home")], "true");
    assert!(tmp.path().join("guest").is_dir());
}

#[test]
fn volumes_are_given_to_the_user_with_u() {
    if cannot() {
        return;
    }
    let place = Place::new();
    std::os::unix::fs::symlink("/etc/passwd", place.path("data/sub/link")).unwrap();
    let before = fs::metadata("/etc/passwd").unwrap().uid();
    if !is_root() {
        let own = fs::metadata(place.path("data")).unwrap().uid();
        say(&["-v", &place.at("data", "/x:U")], "true");
        return assert_eq!(fs::metadata(place.path("data/file")).unwrap().uid(), own);
    }
    say(&["-u", "1234:5678", "-v", &place.at("data", "/x:U")], "echo mine >/x/sub/new && echo mine >/x/file");
    for name in ["data", "data/file", "data/sub", "data/sub/new"] {
        let about = fs::metadata(place.path(name)).unwrap();
        assert_eq!((about.uid(), about.gid()), (1234, 5678), "{name}");
    }
    assert_eq!(fs::metadata("/etc/passwd").unwrap().uid(), before);
    assert_eq!(fs::symlink_metadata(place.path("data/sub/link")).unwrap().uid(), 1234);
}

#[test]
fn volumes_of_memory_are_as_asked_for_and_gone() {
    if cannot() {
        return;
    }
    let flags = ["--tmpfs", "/m:size=1m,mode=0700", "--mount", "type=tmpfs,dst=/n,tmpfs-size=2m"];
    let script = "df -k /m /n | awk 'NR>1 {print $2}'; stat -c %a /m /n; echo x >/m/f && cat /m/f";
    assert_eq!(say(&flags, script), "1024\n2048\n700\n1777\nx");
    let strict = options(&["--tmpfs", "/m"], "/m");
    assert!(["nosuid", "nodev", "noexec"].iter().all(|word| strict.contains(word)), "{strict}");
    let loose = options(&["--tmpfs", "/m:exec,suid,dev"], "/m");
    assert!(!loose.contains("nosuid") && !loose.contains("noexec"), "{loose}");
    fails(&["--tmpfs", "/m:ro"], "touch /m/x", &["Read-only"]);
    fails(&["--tmpfs", "/m:size=1m"], "head -c 2000000 /dev/zero >/m/x", &["head: "]);
}

/// As with docker: /dev, memory and volumes have their own say.
#[test]
fn volumes_leave_the_rest_read_only_when_asked() {
    if cannot() {
        return;
    }
    let place = Place::new();
    let flags = ["--read-only", "-v", &place.at("data", "/x"), "--tmpfs", "/run"];
    for (path, expected) in [
        ("/new", false),
        ("/tmp/new", false),
        ("/etc/hosts", false),
        ("/dev/new", true),
        ("/dev/shm/new", true),
        ("/run/new", true),
        ("/x/new", true),
    ] {
        let script = format!("echo x >>{path}");
        assert_eq!(run(&flags, &script).status.success(), expected, "{path}");
    }
    assert!(say(&["--read-only", "-w", "/new/dir"], "pwd").ends_with("/new/dir"));
}

#[test]
fn nothing_of_all_this_is_left() {
    run(&[], "true");
    let output = rubber(["clean"]).output().unwrap();
    assert_eq!((code(&output), text(&output.stdout)), (0, String::new()), "{output:?}");
    let own = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!own.contains(store().to_str().unwrap()), "{own}");
}

fn with_root(flags: &[&str], root: &Path, script: &str) -> Output {
    rubber([&["run"], flags, &["--rootfs", root.to_str().unwrap(), "/bin/sh", "-c", script]].concat())
        .output()
        .unwrap()
}

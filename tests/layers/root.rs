//! The root filesystem: chroot, mount, pivot_root, overlay.

use super::{
    Running,
    lab::{RUBBER, code, is_root, rubber, run, say, skip, store, text},
    lab_cannot_run, output_of,
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
};

fn cannot(test: &str) -> bool {
    let why = lab_cannot_run();
    why.iter().for_each(|why| skip(test, why));
    why.is_some()
}

#[test]
fn process_has_no_image_and_runs_the_hosts_program() {
    let words =
        ["run", "--until", "process", "/bin/sh", "-c", "pwd; id -u; echo $HOME; cat /proc/self/stat; exit 6"];
    let output = rubber(words).current_dir("/usr").env("SECRET", "x").output().unwrap();
    let said = text(&output.stdout);
    let said: Vec<_> = said.lines().collect();
    assert_eq!(
        (code(&output), said[0], said[1]),
        (6, "/", nix::unistd::geteuid().to_string().as_str()),
        "{output:?}"
    );
    let words = ["run", "--until", "process", "-e", "A=b", "/usr/bin/env"];
    let environment = text(&output_of(&mut rubber(words)).stdout);
    let names: Vec<_> = environment.lines().filter_map(|line| line.split('=').next()).collect();
    assert!(names.iter().all(|name| ["PATH", "HOSTNAME", "HOME", "A"].contains(name)), "{environment}");
}

#[test]
fn chroot_has_a_fresh_copy_of_the_image() {
    if cannot("chroot_has_a_fresh_copy_of_the_image") {
        return;
    }
    let flags = ["--until", "chroot"];
    assert_eq!(
        say(&flags, "echo spoilt >/etc/passwd; mkdir /new; ls / | wc -w; cat /etc/passwd; pwd")
            .lines()
            .last(),
        Some("/")
    );
    let again = say(&flags, "cat /etc/passwd; ls -d /new 2>&1; ls /proc | wc -l");
    assert!(again.contains("guest:x:1000") && again.contains("No such file"), "{again}");
    assert_eq!(again.lines().last(), Some("0"), "/proc is a layer of its own: {again}");
}

/// The classic way out of a chroot: a second one, while standing outside of it. This binary runs it
/// inside, as pid 1 of a root made for it.
#[test]
#[ignore = "an attack: chroot_does_not_hold_and_pivot_root_does runs it in a container"]
fn attack_by_a_second_chroot() {
    fs::create_dir_all("/jail").unwrap();
    nix::unistd::chroot("/jail").unwrap();
    (0..64).for_each(|_| nix::unistd::chdir("..").unwrap());
    nix::unistd::chroot(".").unwrap();
    let loot = fs::read_to_string(std::env::var_os("LOOT").unwrap());
    println!("loot: {}", loot.unwrap_or_else(|error| error.to_string()));
}

#[test]
fn chroot_does_not_hold_and_pivot_root_does() {
    let test = "chroot_does_not_hold_and_pivot_root_does";
    if cannot(test) {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("root");
    for name in ["proc", "sys", "dev"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    crate::lab::copy_program(std::env::current_exe().unwrap(), root.join("attack"));
    let loot = place.path().join("loot");
    fs::write(&loot, "the host's").unwrap();
    let attack = |until: &str| {
        let loot = format!("LOOT={}", loot.display());
        let words = ["run", "--until", until, "-e", &loot, "--rootfs", root.to_str().unwrap(), "/attack"];
        let attack = ["root::attack_by_a_second_chroot", "--exact", "--ignored", "--nocapture"];
        rubber(words.iter().chain(&attack)).output().unwrap()
    };
    let out = attack("chroot");
    if [126, 127].contains(&code(&out)) {
        return skip(test, "this test is not linked statically, so it cannot run alone");
    }
    assert!(text(&out.stdout).contains("loot: the host's"), "{out:?}");
    for until in ["pivot_root", "overlay", "ipc"] {
        let held = attack(until);
        assert!(text(&held.stdout).contains("loot: No such file"), "{until}: {held:?}");
    }
}

#[test]
fn mount_fills_dev_with_what_everybody_may_use() {
    if cannot("mount_fills_dev_with_what_everybody_may_use") {
        return;
    }
    let nodes = "null 1:3 666\nzero 1:5 666\nfull 1:7 666\nrandom 1:8 666\nurandom 1:9 666\ntty 5:0 666\nconsole 1:3 666";
    let script = "cd /dev; for n in null zero full random urandom tty console; do stat -c '%n %t:%T %a' $n; done
        for l in ptmx fd stdin stdout stderr; do echo $l $(readlink $l); done; ls -A | wc -l; stat -c %a /dev/shm /dev/pts/ptmx";
    let links = "ptmx pts/ptmx\nfd /proc/self/fd\nstdin /proc/self/fd/0\nstdout /proc/self/fd/1\nstderr /proc/self/fd/2";
    assert_eq!(say(&[], script), format!("{nodes}\n{links}\n15\n1777\n666"));
    // As the user we are, and as one who is nobody.
    let works = "echo x >/dev/null && head -c 3 /dev/zero | wc -c && ! echo x 2>/dev/null >/dev/full && head -c 5 /dev/urandom | wc -c
        head -c 4 /dev/random | wc -c; cat /dev/null /dev/console | wc -c; echo y >/dev/shm/f && cat /dev/shm/f; readlink /dev/stdout >/dev/null && echo out";
    let users: &[&[&str]] = if is_root() { &[&[], &["-u", "1234:1234"]] } else { &[&[]] };
    for user in users {
        assert_eq!(say(user, works), "3\n5\n4\n0\ny\nout", "{user:?}");
    }
    // A node that the image brings along, or that root makes outside of /dev, does nothing.
    if is_root() {
        assert!(say(&[], "mknod /n c 1 3; echo x 2>&1 >/n || echo dead").contains("dead"));
    }
    // Terminals of its own: the first is number 0.
    assert_eq!(
        say(&["-t"], "tty; test -c /dev/console && echo console").replace('\r', ""),
        "/dev/pts/0\nconsole"
    );
}

/// /home is often nosuid and nodev, and for an ordinary user these are locked.
#[test]
fn pivot_root_works_on_a_disk_that_forbids_things() {
    let test = "pivot_root_works_on_a_disk_that_forbids_things";
    // An ordinary user on a machine of their own: a tmpfs, and a user namespace in the one it was mounted in.
    let host = "mount -t tmpfs -o nosuid,nodev t /mnt && exec unshare -rm --map-user=54321 \"$@\"";
    let mut command = Command::new("unshare");
    command.args([
        "-rm",
        "sh",
        "-c",
        host,
        "sh",
        RUBBER,
        "--root",
        "/mnt/store",
        "run",
        "--until",
        "pivot_root",
    ]);
    let output = command.args(["busybox", "grep", " / ", "/proc/self/mounts"]).output();
    let output = match output {
        Ok(output) if !text(&output.stderr).starts_with("unshare: ") => output,
        tried => return skip(test, &format!("no user namespaces within user namespaces here: {tried:?}")),
    };
    let said = text(&output.stdout);
    assert!(said.contains("nosuid") && said.contains("nodev"), "{output:?}");
}

/// target -> (fstype, options) as the container sees them.
fn mounts(flags: &[&str]) -> BTreeMap<String, (String, String)> {
    let table = say(flags, "cat /proc/self/mounts");
    let line = |line: &str| {
        let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
        (words[1].clone(), (words[2].clone(), words[3].clone()))
    };
    table.lines().map(line).collect()
}

#[test]
fn mount_table_is_short_and_its_flags_are_tight() {
    if cannot("mount_table_is_short_and_its_flags_are_tight") {
        return;
    }
    let table = mounts(&[]);
    let has = |target: &str, fstype: &str, options: &[&str]| {
        let (kind, flags) = table.get(target).unwrap_or_else(|| panic!("no {target} in {table:?}"));
        assert_eq!(kind, fstype, "{target}");
        let flags: Vec<_> = flags.split(',').collect();
        assert!(options.iter().all(|option| flags.contains(option)), "{target}: {flags:?}");
    };
    has("/", "overlay", &["rw", "nodev"]);
    has("/proc", "proc", &["rw", "nosuid", "nodev", "noexec"]);
    has("/sys", "sysfs", &["ro", "nosuid", "nodev", "noexec"]);
    has("/dev", "tmpfs", &["nosuid", "noexec"]);
    has("/dev/pts", "devpts", &["nosuid", "noexec", "ptmxmode=666", "mode=620"]);
    has("/dev/shm", "tmpfs", &["nosuid", "nodev", "noexec", "size=65536k"]);
    has("/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec"]);
    for masked in ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
        .iter()
        .filter(|path| Path::new(path).exists())
    {
        has(masked, "proc", &["ro", "nosuid", "nodev", "noexec"]);
    }
    for cgroups in table.keys().filter(|target| target.starts_with("/sys/fs/cgroup")) {
        has(cgroups, &table[cgroups].0, &["ro", "nosuid", "nodev", "noexec"]);
    }
    for name in ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"] {
        has(name, "tmpfs", &["nosuid", "nodev", "noexec", "size=1024k"]);
    }
    let known = |target: &str| {
        let nodes = ["null", "zero", "full", "random", "urandom", "tty", "console"];
        ["/", "/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"].contains(&target)
            || target.starts_with("/proc/")
            || target.starts_with("/sys/firmware")
            || target.starts_with("/sys/devices/")
            || target.starts_with("/sys/fs/cgroup")
            || ["/etc/hosts", "/etc/hostname", "/etc/resolv.conf"].contains(&target)
            || !is_root() && nodes.iter().any(|node| target == format!("/dev/{node}"))
    };
    assert!(table.keys().all(|target| known(target)), "{table:?}");
    // Read-only holds, and is lifted by asking only.
    assert!(!run(&[], "echo 1 >/proc/sys/vm/drop_caches").status.success());
    assert!(!run(&[], "echo x >/proc/sysrq-trigger").status.success());
    assert!(!run(&[], "mount -o remount,rw /sys || mkdir /sys/x").status.success());
    let privileged = mounts(&["--privileged"]);
    assert!(
        privileged["/sys"].1.starts_with("rw,") && !privileged.contains_key("/proc/sys"),
        "{privileged:?}"
    );
}

#[test]
fn mount_needs_directories_and_follows_no_link() {
    if cannot("mount_needs_directories_and_follows_no_link") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    run(&[], "true");
    let layers = fs::read_dir(store().join("layers")).unwrap().flatten();
    let busybox = layers.map(|layer| layer.path().join("bin/busybox")).find(|file| file.is_file()).unwrap();
    let root = |name: &str| {
        let dir = place.path().join(name);
        fs::create_dir_all(dir.join("bin")).unwrap();
        crate::lab::copy_program(&busybox, dir.join("bin/sh"));
        dir
    };
    // What is missing is made.
    let bare = root("bare");
    let output = rubber([
        "run",
        "--rootfs",
        bare.to_str().unwrap(),
        "sh",
        "-c",
        "read x </proc/self/stat && echo made",
    ])
    .output()
    .unwrap();
    assert_eq!(text(&output.stdout), "made\n", "{output:?}");
    assert_eq!(fs::read_dir(&bare).unwrap().count(), 1, "the directory itself is left as it was");
    // What leads elsewhere is refused, by its name.
    for name in ["proc", "sys", "dev"] {
        let crooked = root(&format!("crooked-{name}"));
        std::os::unix::fs::symlink("/bin", crooked.join(name)).unwrap();
        let output = rubber(["run", "--rootfs", crooked.to_str().unwrap(), "sh"]).output().unwrap();
        assert_eq!(code(&output), 125, "{output:?}");
        assert!(
            text(&output.stderr).contains(&format!("/{name} in the image is not a directory")),
            "{output:?}"
        );
    }
}

#[test]
fn mount_reaches_no_host_that_shares_its_table() {
    let test = "mount_reaches_no_host_that_shares_its_table";
    if cannot(test) {
        return;
    }
    // A "host" of our own, whose / is shared, as systemd has it. rubber is that very process.
    let host = "head -1 /proc/self/mountinfo; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "shared", "sh", "-c", host, "sh", RUBBER, "--root"]).arg(store());
    let script = "mkdir /m && mount -t tmpfs inner-mark /m && grep -c inner-mark /proc/self/mountinfo && echo up && cat";
    command.args(["run", "--privileged", "busybox", "sh", "-c", script]);
    if !is_root() || !Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|done| done.success()) {
        return skip(test, "it takes root to make a mount table with a shared /");
    }
    let mut running = Running::of(&mut command);
    assert!(running.said[0].contains(" shared:"), "{:?}", running.said);
    assert_eq!(running.said[1], "1");
    let table = fs::read_to_string(format!("/proc/{}/mountinfo", running.child.id())).unwrap();
    assert!(
        table.contains(" shared:") && !table.contains("inner-mark") && !table.contains("/containers/"),
        "{table}"
    );
    assert_eq!(running.end().0, 0);
}

#[test]
fn pivot_root_leaves_no_mount_of_the_hosts_behind() {
    if cannot("pivot_root_leaves_no_mount_of_the_hosts_behind") {
        return;
    }
    let targets =
        |flags: &[&str]| say(flags, "cut -d' ' -f5 /proc/self/mountinfo; ls /proc/1/root | tr '\\n' ' '");
    for flags in [&["--until", "pivot_root"][..], &["--until", "overlay"], &[]] {
        let seen = targets(flags);
        assert_eq!(seen.lines().filter(|line| *line == "/").count(), 1, "{flags:?}: {seen}");
        // Without a network of their own an ordinary user's /sys is the host's, and all that is mounted on it.
        let own_sys = is_root() || flags.is_empty();
        assert!(
            !seen.contains(&store().display().to_string())
                // Its own are shown where it has a namespace for them.
                && (!own_sys || flags.is_empty() || !seen.contains("/sys/fs/cgroup")),
            "{seen}"
        );
    }
    // Before, it is only out of sight: the whole table is still there to be unmounted from.
    let chrooted = say(&["--until", "mount"], "cut -d' ' -f5 /proc/self/mountinfo");
    assert!(!chrooted.lines().any(|line| line == "/"), "{chrooted}");
    // Devices in the copy of the image are dead, as overlay's are.
    let options = say(&["--until", "pivot_root"], "grep ' / ' /proc/self/mounts | cut -d' ' -f4");
    assert!(options.split(',').any(|option| option == "nodev"), "{options}");
}

/// Every file below `dir` with its inode and times.
fn listing(dir: &Path) -> BTreeMap<String, (u64, i64, u64)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let about = entry.path().symlink_metadata().unwrap();
        found.insert(entry.path().display().to_string(), (about.ino(), about.ctime_nsec(), about.len()));
        if about.is_dir() && about.permissions().mode() & 0o500 == 0o500 {
            found.extend(listing(&entry.path()));
        }
    }
    found
}

#[test]
fn overlay_starts_without_a_copy_and_keeps_the_image_as_it_is() {
    if cannot("overlay_starts_without_a_copy_and_keeps_the_image_as_it_is") {
        return;
    }
    let layers = store().join("layers");
    let before = listing(&layers);
    let spoil = "echo x >/etc/passwd; rm /etc/group; rm -r /var; mkdir /var /new; ln -sf nowhere /bin/ls; ls -ld /etc/group; echo; chmod 700 /tmp";
    assert!(!say(&[], &format!("{spoil}; cat /etc/passwd")).is_empty());
    let again = say(&[], "cat /etc/passwd /etc/group; test -e /new || ls -d /var/log; stat -c %a /tmp");
    assert!(
        again.contains("guest:x:1000") && again.contains("tty:x:5") && again.ends_with("/var/log\n1777"),
        "{again}"
    );
    assert_eq!(listing(&layers), before);
    // What was removed is gone for the container itself, and stays so under a new name.
    let gone = "rm /etc/group; test -e /etc/group || echo gone; rm -r /var; mkdir /var; ls -A /var | wc -l; mv /home /house && ls /house";
    assert_eq!(say(&[], gone), "gone\n0\nguest");
    // Nothing of the image is unpacked: the only files made are the container's own.
    let story = rubber(["run", "--explain", "busybox", "true"]).output().unwrap();
    assert!(!text(&story.stderr).contains("copy every file"), "{story:?}");
    let copied = rubber(["run", "--explain", "--without", "overlay", "busybox", "true"]).output().unwrap();
    assert!(text(&copied.stderr).contains("copy every file"), "{copied:?}");
}

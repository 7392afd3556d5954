//! What the specification says a runtime MUST do, section by section, where no other test has it.

use crate::{
    bundle::{Bundle, bundle},
    fields::prints,
    lab,
};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

fn namespace(bundle: &Bundle, kind: &str) {
    bundle.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": kind }));
    });
}

/// spec: config.md, Hostname
/// spec: config.md, Domainname
#[test]
fn names_are_those_of_the_config() {
    let bundle = bundle!();
    bundle.edit(|config| {
        config["hostname"] = json!("box");
        config["domainname"] = json!("example");
    });
    assert_eq!(prints(&bundle, "hostname; cat /proc/sys/kernel/domainname"), "box\nexample");
}

/// spec: config.md, Extensibility
#[test]
fn what_nobody_knows_is_no_error() {
    let bundle = bundle!();
    bundle.edit(|config| {
        config["org.example"] = json!({ "a": 1 });
        config["process"]["colour"] = json!("red");
    });
    assert_eq!(prints(&bundle, "echo fine"), "fine");
}

/// spec: config.md, Process
/// spec: config.md, POSIX-platform User
/// spec: config.md, Linux Process
#[test]
fn a_process_is_as_it_was_asked_for() {
    let bundle = bundle!();
    bundle.edit(|config| {
        let process = &mut config["process"];
        process["cwd"] = json!("/home");
        process["user"] = json!({ "uid": 12, "gid": 34, "umask": 63, "additionalGids": [56, 78] });
        process["rlimits"] = json!([{ "type": "RLIMIT_NOFILE", "soft": 77, "hard": 88 }]);
        process["oomScoreAdj"] = json!(123);
        process["noNewPrivileges"] = json!(true);
        process["capabilities"] = json!({ "bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"] });
    });
    let script = "pwd; id -u; id -g; id -G; umask; ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj
        grep -E 'NoNewPrivs|CapBnd' /proc/self/status | cut -f2";
    let told = prints(&bundle, script).replace('\n', ", ");
    assert_eq!(told, "/home, 12, 34, 34 56 78, 0077, 77, 88, 123, 0000000000000001, 1");
    let limit = json!({ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 1 });
    bundle.edit(|config| config["process"]["rlimits"] = json!([limit, limit]));
    assert!(bundle.fails(&["create", "c"]).contains("twice"));
}

/// spec: config.md, Process
#[test]
fn a_terminal_has_the_size_it_was_asked_for() {
    let bundle = bundle!();
    bundle.edit(|config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["consoleSize"] = json!({ "height": 33, "width": 77 });
    });
    bundle.command("stty size");
    let told = bundle.ok(&["run", "c"]);
    assert_eq!(told.trim(), "33 77");
    assert!(bundle.fails(&["create", "d"]).contains("cannot allocate tty"));
}

/// spec: config.md, Mounts
#[test]
fn mounts_are_made_in_their_order() {
    let bundle = bundle!();
    fs::create_dir_all(bundle.dir.join("volume")).unwrap();
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({ "destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"] }));
        mounts.push(json!({ "destination": "/m/below", "type": "bind", "source": "volume", "options": ["rbind", "ro"] }));
        mounts.push(json!({ "destination": "/home", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "noexec"] }));
    });
    let script = "df -k /m | tail -1 | xargs | cut -d' ' -f2; touch /m/x && echo yes; touch /m/below/x 2>/dev/null || echo no
        ls /home; grep -c ' /home [^ ]*noexec' /proc/self/mountinfo";
    assert_eq!(prints(&bundle, script).replace('\n', ", "), "64, yes, no, guest, 1");
}

/// A link of the root's decides where that is: it was copied whole, with all of /sys.
#[test]
fn a_copy_for_memory_is_of_what_the_root_has_there_and_of_nothing_else() {
    let bundle = bundle!();
    let mount = json!({ "destination": "/up", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"] });
    bundle.edit(|config| config["mounts"].as_array_mut().unwrap().push(mount));
    for target in ["/", "bin/..", "/sys", "/sys/kernel"] {
        let link = bundle.root().join("up");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(target, link).unwrap();
        let error = bundle.fails(&["run", "c"]);
        assert!(error.contains("tmpcopyup: a link of the root's leads to"), "{target}: {error}");
    }
    bundle.nothing_is_left("c");
}

/// spec: config.md, Mounts
#[test]
fn a_mount_is_mounted_again_with_other_options() {
    let bundle = bundle!();
    fs::create_dir_all(bundle.dir.join("volume")).unwrap();
    let add = |mounts: Value| {
        bundle.edit(|config| {
            config["mounts"].as_array_mut().unwrap().extend(mounts.as_array().unwrap().clone());
        });
    };
    add(json!([
        { "destination": "/m", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "nosuid", "noexec"] },
        { "destination": "/v", "type": "bind", "source": "volume", "options": ["bind"] },
        { "destination": "/m/below", "type": "tmpfs", "source": "tmpfs" },
        { "destination": "/m", "options": ["remount", "ro", "exec", "size=128k"] },
        { "destination": "/v", "options": ["bind", "remount", "ro"] },
    ]));
    let script = "df -k /m | tail -1 | xargs | cut -d' ' -f2; touch /m/x /v/x 2>/dev/null || echo no; touch /m/below/x && echo yes
        grep ' /m ' /proc/self/mountinfo | cut -d' ' -f6";
    assert_eq!(prints(&bundle, script).replace('\n', ", "), "128, no, yes, ro,nosuid,relatime");
    // The filesystem that it is a mount of is the host's, and that stays as it was.
    fs::write(bundle.dir.join("volume/x"), "").unwrap();
    add(json!([{ "destination": "/home", "options": ["remount", "ro"] }]));
    let error = bundle.fails(&["run", "c"]);
    assert!(error.contains("\"/home\": remount: is anything mounted there"), "{error}");
    bundle.nothing_is_left("c");
}

/// spec: config-linux.md, Default Filesystems
/// spec: config-linux.md, Default Devices
/// spec: config-linux.md, Devices
#[test]
fn filesystems_and_devices_that_every_program_counts_on() {
    let bundle = bundle!();
    bundle.edit(|config| {
        config["linux"]["devices"] = json!([
            { "path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 12, "gid": 34 },
            { "path": "/dev/queue", "type": "p", "fileMode": 0o600 },
        ]);
    });
    let script = "for one in null zero full random urandom tty; do test -c /dev/$one || echo no $one; done
        for one in fd stdin stdout stderr ptmx; do test -L /dev/$one || echo no $one; done
        for one in proc:/proc sysfs:/sys devpts:/dev/pts tmpfs:/dev/shm; do
            grep -q \" ${one#*:} .* - ${one%:*} \" /proc/self/mountinfo || echo no $one; done
        stat -c '%F %a %u:%g' /dev/mine; stat -c '%F %a' /dev/queue";
    assert_eq!(prints(&bundle, script), "character special file 640 12:34\nfifo 600");
}

/// spec: config-linux.md, Namespaces
/// spec: config-linux.md, Offset for Time Namespace
#[test]
fn namespaces_are_new_or_those_of_a_file() {
    let bundle = bundle!();
    namespace(&bundle, "time");
    bundle.edit(|config| config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 86_400_000 } }));
    let days = prints(&bundle, "cut -d. -f1 /proc/uptime");
    assert!(days.parse::<u64>().unwrap() > 86_400_000, "{days}");
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    bundle.edit(|config| {
        let all = config["linux"]["namespaces"].as_array_mut().unwrap();
        let network = all.iter_mut().find(|one| one["type"] == "network").unwrap();
        network["path"] = json!("/proc/self/ns/net");
    });
    assert_eq!(prints(&bundle, "readlink /proc/self/ns/net"), ours.to_str().unwrap());
    bundle.edit(|config| config["linux"]["namespaces"][0]["path"] = json!("relative"));
    assert!(bundle.fails(&["create", "c"]).contains("must start with a slash"));
    let twice = bundle.read()["linux"]["namespaces"][1].clone();
    bundle.edit(|config| config["linux"]["namespaces"] = json!([twice, twice]));
    assert!(bundle.fails(&["create", "c"]).contains("twice"));
}

/// spec: config-linux.md, User namespace mappings
#[test]
fn ids_are_mapped() {
    let bundle = bundle!();
    namespace(&bundle, "user");
    let map = json!([
        { "containerID": 0, "hostID": 0, "size": 1 },
        { "containerID": 1, "hostID": 100_001, "size": 100 },
    ]);
    bundle.edit(|config| {
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    });
    assert_eq!(prints(&bundle, "xargs </proc/self/uid_map"), "0 0 1 1 100001 100");
}

/// spec: config-linux.md, Sysctl
#[test]
fn a_parameter_of_its_own_namespace_is_set() {
    let bundle = bundle!();
    bundle.edit(|config| {
        config["linux"]["sysctl"] = json!({ "kernel.msgmax": "4321", "net.ipv4.ip_forward": "1" })
    });
    assert_eq!(prints(&bundle, "cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward"), "4321\n1");
}

/// spec: config-linux.md, Masked Paths
/// spec: config-linux.md, Readonly Paths
#[test]
fn paths_are_hidden_or_read_only() {
    let bundle = bundle!();
    fs::write(bundle.root().join("secret"), "x").unwrap();
    bundle.edit(|config| {
        config["linux"]["maskedPaths"] = json!(["/secret", "/home", "/nowhere"]);
        config["linux"]["readonlyPaths"] = json!(["/etc", "/nowhere"]);
    });
    let script =
        "wc -c </secret; ls /home | wc -l; touch /etc/x 2>/dev/null || echo no; touch /tmp/x && echo yes";
    assert_eq!(prints(&bundle, script).replace('\n', ", "), "0, 0, no, yes");
}

/// spec: config-linux.md, Rootfs Mount Propagation
#[test]
fn a_root_spreads_as_it_was_asked_to() {
    let bundle = bundle!();
    for (word, expected) in [("shared", "shared"), ("private", "none"), ("unbindable", "unbindable")] {
        bundle.edit(|config| config["linux"]["rootfsPropagation"] = json!(word));
        let script = "grep ' / r' /proc/self/mountinfo | grep -oE 'shared|unbindable' || echo none";
        assert_eq!(prints(&bundle, script), expected, "{word}");
    }
}

/// spec: config-linux.md, Cgroups Path
/// spec: config-linux.md, Cgroup ownership
#[test]
fn a_cgroup_is_where_it_was_asked_for() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    bundle.ok(&["run", "--detach", "c"]);
    let own = fs::read_to_string(format!("/proc/{}/cgroup", bundle.state("c")["pid"])).unwrap();
    assert!(own.lines().any(|line| line.ends_with(&format!(":/{}", bundle.group()))), "{own}");
    bundle.ok(&["delete", "--force", "c"]);
    bundle.nothing_is_left("c");
}

/// Nor one below it: whoever is in there would be killed with the container.
///
/// spec: config-linux.md, Cgroups Path
#[test]
fn a_cgroup_with_processes_of_others_is_not_taken() {
    let bundle = bundle!();
    let tree = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(Path::new).into_iter().find(|dir| dir.is_dir());
    let group = tree.unwrap().join(bundle.group());
    let mut other = Command::new("sleep").arg("600").spawn().unwrap();
    for dir in [group.clone(), group.join("below")] {
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("cgroup.procs"), other.id().to_string()).unwrap();
        let error = bundle.fails(&["create", "c"]);
        assert!(error.contains("has processes already"), "{error}");
        assert!(other.try_wait().unwrap().is_none(), "{dir:?}: it was killed");
        assert!(!bundle.dir.join("states/c").exists());
    }
    other.kill().unwrap();
    other.wait().unwrap();
}

/// spec: features.md, features
#[test]
fn features_are_told() {
    let bundle = bundle!();
    let told: Value = serde_json::from_str(&bundle.ok(&["features"])).unwrap();
    assert_eq!(told["ociVersionMax"], "1.2.0");
    let has = |list: &Value, word: &str| list.as_array().unwrap().iter().any(|one| one == word);
    assert!(has(&told["hooks"], "startContainer"));
    assert!(has(&told["mountOptions"], "ridmap") && has(&told["mountOptions"], "rro"));
    assert!(has(&told["linux"]["namespaces"], "time"));
    assert!(has(&told["linux"]["seccomp"]["actions"], "SCMP_ACT_NOTIFY"));
    let archs = if cfg!(target_arch = "x86_64") {
        json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"])
    } else {
        json!(["SCMP_ARCH_AARCH64"])
    };
    assert_eq!(told["linux"]["seccomp"]["archs"], archs);
    assert_eq!(told["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    assert_eq!(told["linux"]["cgroup"]["systemd"], true);
    assert_eq!(told["linux"]["intelRdt"]["enabled"], false);
}

/// spec: config-linux.md, Block IO
#[test]
fn a_disk_is_throttled() {
    let bundle = bundle!();
    let disk = fs::read_dir("/sys/block").into_iter().flatten().flatten().find_map(|disk| {
        let number = fs::read_to_string(disk.path().join("dev")).ok()?;
        let (major, minor) = number.trim().split_once(':')?;
        Some((major.parse::<u64>().ok()?, minor.parse::<u64>().ok()?))
    });
    let Some((major, minor)) = disk else { return lab::skip_this("there is no disk here") };
    bundle.edit(|config| {
        config["linux"]["resources"]["blockIO"] =
            json!({ "throttleReadBpsDevice": [{ "major": major, "minor": minor, "rate": 1_048_576 }] });
    });
    bundle.command("sleep 60");
    bundle.ok(&["run", "--detach", "c"]);
    let files = ["blkio/GROUP/blkio.throttle.read_bps_device", "GROUP/io.max"];
    let texts = files
        .map(|file| fs::read_to_string(format!("/sys/fs/cgroup/{}", file.replace("GROUP", bundle.group()))));
    let text = texts.into_iter().flatten().collect::<String>();
    assert!(text.contains("1048576"), "{text}");
}

//! Fields of a config.json that one test each is enough for, and what clients ask for about them.

use crate::{bundle::Bundle, bundle::bundle, i386, lab};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use serde_json::{Value, json};
use std::{
    fs,
    io::IoSliceMut,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::{fs::chown, net::UnixListener},
    },
    process::Stdio,
};

/// What its command prints.
pub fn prints(bundle: &Bundle, script: &str) -> String {
    bundle.command(script);
    bundle.ok(&["run", "c"]).trim().to_owned()
}

/// spec: config-linux.md, Personality
#[test]
fn a_personality_is_a_machine_that_the_kernel_pretends_to_be() {
    let bundle = bundle!();
    bundle.edit(|config| config["linux"]["personality"] = json!({ "domain": "LINUX32" }));
    assert!(["i686", "armv8l"].contains(&prints(&bundle, "uname -m").as_str()));
    bundle.edit(|config| config["linux"]["personality"] = json!({ "domain": "DOS" }));
    assert!(bundle.fails(&["create", "c"]).contains("DOS"));
}

/// spec: config.md, Linux Process
#[test]
fn a_scheduler_and_a_priority_at_the_disk_pass_to_the_command() {
    let bundle = bundle!();
    bundle.edit(|config| {
        config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 5 });
        config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_IDLE", "priority": 3 });
    });
    let told = prints(&bundle, "cut -d' ' -f19,41 /proc/self/stat; ionice");
    assert_eq!(told, "5 3\nidle");
    bundle.edit(|config| config["process"]["ioPriority"]["priority"] = json!(9));
    assert!(bundle.fails(&["create", "c"]).contains("it is 0 to 7"));
}

/// spec: config.md, Mounts
#[test]
fn a_mount_with_ids_of_its_own_shows_other_owners() {
    let bundle = bundle!();
    let dir = bundle.dir.join("volume");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("file"), "").unwrap();
    chown(dir.join("file"), Some(1000), Some(1001)).unwrap();
    if lab::on_overlay() {
        return lab::skip_this("an overlay does not show its files with other owners");
    }
    let map = |inside: u32, outside: u32| json!([{ "containerID": inside, "hostID": outside, "size": 1 }]);
    bundle.edit(|config| {
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/v", "type": "bind", "source": dir, "options": ["rbind"],
            "uidMappings": map(1000, 2000), "gidMappings": map(1001, 2001),
        }));
    });
    assert_eq!(prints(&bundle, "stat -c %u:%g /v/file"), "2000:2001");

    // Without maps of its own it has those of the container: then owners are inside what they are outside.
    let all = json!([
        { "containerID": 0, "hostID": 0, "size": 1 },
        { "containerID": 1, "hostID": 100_001, "size": 65535 },
    ]);
    bundle.edit(|config| {
        let mount = config["mounts"].as_array_mut().unwrap().last_mut().unwrap();
        *mount = json!({ "destination": "/v", "type": "bind", "source": dir, "options": ["bind", "idmap"] });
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        config["linux"]["uidMappings"] = all.clone();
        config["linux"]["gidMappings"] = all;
    });
    assert_eq!(prints(&bundle, "stat -c %u:%g /v/file"), "1000:1001");
    bundle.edit(|config| {
        config["mounts"][0]["options"] = json!(["idmap"]);
    });
    assert!(bundle.fails(&["create", "c"]).contains("only a bind mount"));
}

/// spec: config-linux.md, Seccomp
/// spec: config-linux.md, The Container Process State
#[test]
fn another_process_is_asked_about_a_call() {
    let bundle = bundle!();
    for no_new_privileges in [true, false] {
        let path = bundle.dir.join("agent");
        let _ = fs::remove_file(&path);
        let agent = UnixListener::bind(&path).unwrap();
        bundle.edit(|config| {
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "flags": ["SECCOMP_FILTER_FLAG_LOG"],
                "listenerPath": path,
                "listenerMetadata": "for the agent",
                "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }],
            });
        });
        bundle.command("mkdir /asked 2>&1; sleep 60");
        let asked = std::thread::spawn(move || answer(&agent));
        let out = fs::File::create(bundle.dir.join("out")).unwrap();
        let mut run = bundle.rubber(&["run", "c"]).stdout(out).spawn().unwrap();
        let about = asked.join().unwrap();
        bundle.wait_for("the answer", || {
            fs::read_to_string(bundle.dir.join("out")).unwrap().contains("Permission denied")
        });
        assert_eq!(about["pid"], bundle.state("c")["pid"]);
        assert_eq!(about["fds"], json!(["seccompFd"]));
        assert_eq!(about["metadata"], "for the agent");
        assert_eq!(about["state"]["id"], "c");
        bundle.ok(&["kill", "c", "KILL"]);
        run.wait().unwrap();
    }
    bundle.edit(|config| config["linux"]["seccomp"]["listenerPath"] = json!("/nowhere"));
    assert!(bundle.fails(&["create", "c"]).contains("nobody listens"));
    bundle.edit(|config| config["linux"]["seccomp"]["listenerPath"] = json!(""));
    assert!(bundle.fails(&["create", "c"]).contains("needs a listenerPath"));
    bundle.edit(|config| {
        config["linux"]["seccomp"]["listenerPath"] = json!("/nowhere");
        config["linux"]["seccomp"]["syscalls"][0]["names"] = json!(["write"]);
    });
    assert!(bundle.fails(&["create", "c"]).contains("the runtime calls it itself"));
}

/// 32-bit programs run where the list has them, by their own numbers, and end at their first call where it has not.
///
/// spec: config-linux.md, Seccomp
#[test]
fn architectures_are_whose_calls_are_answered() {
    let bundle = bundle!();
    if !i386::program(&bundle.root().join("i386")) {
        return lab::skip_this(i386::NOT_HERE);
    }
    bundle.edit(|config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }],
        });
    });
    let set = |list: Value| bundle.edit(|config| config["linux"]["seccomp"]["architectures"] = list);
    for (list, expected) in [
        (json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]), "hello\n77"),
        // This machine's own are always answered: the shell's, too.
        (json!(["SCMP_ARCH_X86"]), "hello\n77"),
        (json!(["SCMP_ARCH_X86_64"]), "159"),
        (json!(["SCMP_ARCH_X32", "SCMP_ARCH_S390X", "SCMP_ARCH_LOONGARCH64"]), "159"),
        (json!([]), "159"),
        (json!(null), "159"),
    ] {
        set(list.clone());
        assert_eq!(prints(&bundle, "/i386; echo $?"), expected, "{list}");
    }
    set(json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_ABACUS"]));
    assert!(bundle.fails(&["create", "c"]).contains("SCMP_ARCH_ABACUS"));
}

/// One call is answered with EACCES; returns what came with the listener.
fn answer(agent: &UnixListener) -> Value {
    let (socket, _) = agent.accept().unwrap();
    let mut space = nix::cmsg_space!([i32; 1]);
    let mut bytes = vec![0; 65536];
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()).unwrap();
    let length = message.bytes;
    let fd = message.cmsgs().unwrap().find_map(|message| match message {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    // SAFETY: the kernel has just made it for us.
    let listener = unsafe { OwnedFd::from_raw_fd(fd.expect("a descriptor")) };
    // SAFETY: both are numbers and nothing else, and as large as the kernel has them (seccomp_unotify(2)).
    unsafe {
        let mut asked: libc::seccomp_notif = std::mem::zeroed();
        assert_eq!(libc::ioctl(listener.as_raw_fd(), 0xc050_2100, &mut asked), 0);
        let mut told: libc::seccomp_notif_resp = std::mem::zeroed();
        (told.id, told.error) = (asked.id, -libc::EACCES);
        assert_eq!(libc::ioctl(listener.as_raw_fd(), 0xc018_2101, &mut told), 0);
    }
    serde_json::from_slice(&bytes[..length]).expect("JSON in one piece")
}

#[test]
fn events_tell_what_it_uses_in_runcs_words() {
    let bundle = bundle!();
    bundle.edit(|config| config["linux"]["resources"]["pids"] = json!({ "limit": 55 }));
    bundle.edit(|config| config["linux"]["resources"]["memory"] = json!({ "limit": 33_554_432 }));
    bundle.command("sleep 2");
    bundle.ok(&["run", "--detach", "c"]);
    let told: Value = serde_json::from_str(&bundle.ok(&["events", "--stats", "c"])).unwrap();
    assert_eq!((&told["type"], &told["id"]), (&json!("stats"), &json!("c")));
    let data = &told["data"];
    assert_eq!(data["pids"], json!({ "current": 1, "limit": 55 }));
    assert_eq!(data["memory"]["usage"]["limit"], 33_554_432);
    assert!(data["cpu"]["usage"]["total"].as_u64().unwrap() > 0, "{told}");
    assert!(data["memory"]["usage"]["usage"].as_u64().unwrap() > 0, "{told}");
    assert_eq!(data["cpuset"]["cpus"][0], 0, "{told}");
    // And until it ends.
    let told = bundle.ok(&["events", "--interval", "100ms", "c"]);
    assert!(told.lines().count() > 2, "{told}");
    assert!(bundle.fails(&["events", "c"]).contains("is not running"));
}

#[test]
fn a_pidfd_is_sent_to_who_asks_for_it() {
    let bundle = bundle!();
    let path = bundle.dir.join("pidfds");
    let socket = UnixListener::bind(&path).unwrap();
    let received = || {
        let (stream, _) = socket.accept().unwrap();
        let mut space = nix::cmsg_space!([i32; 1]);
        let mut bytes = [0; 64];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let message =
            recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty()).unwrap();
        let Some(ControlMessageOwned::ScmRights(fds)) = message.cmsgs().unwrap().next() else {
            panic!("no descriptor")
        };
        let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", fds[0])).unwrap();
        // SAFETY: it was made for us.
        drop(unsafe { OwnedFd::from_raw_fd(fds[0]) });
        about.lines().find_map(|line| line.strip_prefix("Pid:").map(|pid| pid.trim().to_owned())).unwrap()
    };
    bundle.command("sleep 60");
    bundle.ok(&["run", "--detach", "--pidfd-socket", "pidfds", "c"]);
    assert_eq!(received(), bundle.state("c")["pid"].to_string());
    bundle.ok(&["exec", "--detach", "--pidfd-socket", "pidfds", "--pid-file", "pid", "c", "sleep", "60"]);
    assert_eq!(received(), fs::read_to_string(bundle.dir.join("pid")).unwrap());
    assert!(bundle.fails(&["exec", "--pidfd-socket", "/nowhere", "c", "true"]).contains("--pidfd-socket"));
}

#[test]
fn who_ignores_a_pause_waits_with_the_container() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    bundle.ok(&["run", "--detach", "c"]);
    bundle.ok(&["pause", "c"]);
    let mut exec = bundle
        .rubber(&["exec", "--ignore-paused", "c", "touch", "/late"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(!bundle.root().join("late").exists());
    bundle.ok(&["resume", "c"]);
    assert!(exec.wait().unwrap().success());
    assert!(bundle.root().join("late").exists());
}

/// spec: config-linux.md, Allowed Device list
#[test]
fn the_last_rule_about_a_device_has_the_last_word() {
    let bundle = bundle!();
    bundle.edit(|config| {
        // A list of version 1 has one rule for all and exceptions; an exception to one of those it cannot have.
        let is_v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
        let many = json!({ "allow": true, "type": "c", "major": 10, "access": "rwm" });
        let one = json!({ "allow": false, "type": "c", "major": 10, "minor": 229, "access": "rw" });
        let tunnel = json!({ "allow": true, "type": "c", "major": 10, "minor": 200, "access": "rwm" });
        let none = json!({ "allow": false, "access": "rwm" });
        config["linux"]["resources"]["devices"] =
            if is_v2 { json!([none, many, one]) } else { json!([none, tunnel]) };
        config["linux"]["devices"] = json!([
            { "path": "/dev/misc", "type": "c", "major": 10, "minor": 229 },
            { "path": "/dev/tunnel", "type": "c", "major": 10, "minor": 200 },
            { "path": "/dev/brimful", "type": "c", "major": 1, "minor": 7 },
        ]);
    });
    // A device that nobody has is another error than one that is not allowed.
    let script = "for one in misc tunnel brimful null; do
        (exec 3</dev/$one) 2>&1 | grep -q 'not permitted' && echo $one no || echo $one yes; done";
    assert_eq!(prints(&bundle, script).replace('\n', ", "), "misc no, tunnel yes, brimful yes, null yes");
}

/// spec: config-linux.md, CPU
/// spec: config-linux.md, Memory
#[test]
fn limits_of_the_processor_and_memory_are_in_their_files() {
    let bundle = bundle!();
    bundle.edit(|config| {
        config["linux"]["resources"]["cpu"] =
            json!({ "shares": 512, "quota": 50000, "period": 100_000, "burst": 20000, "cpus": "0", "mems": "0" });
        config["linux"]["resources"]["memory"] =
            json!({ "limit": 67_108_864, "reservation": 33_554_432, "swap": 67_108_864 });
    });
    bundle.command("sleep 60");
    bundle.ok(&["run", "--detach", "c"]);
    let read = |v1: &str, v2: &str| {
        let (controller, _) = v1.split_once('.').unwrap();
        let files = [
            format!("/sys/fs/cgroup/{controller}/{}/{v1}", bundle.group()),
            format!("/sys/fs/cgroup/{}/{v2}", bundle.group()),
        ];
        files
            .iter()
            .find_map(|file| fs::read_to_string(file).ok())
            .unwrap_or_else(|| panic!("{v1}"))
            .trim()
            .to_owned()
    };
    assert!(["512", "20"].contains(&read("cpu.shares", "cpu.weight").as_str()));
    assert!(["50000", "50000 100000"].contains(&read("cpu.cfs_quota_us", "cpu.max").as_str()));
    assert_eq!(read("cpu.cfs_burst_us", "cpu.max.burst"), "20000");
    assert_eq!(read("cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(read("memory.limit_in_bytes", "memory.max"), "67108864");
    assert_eq!(read("memory.soft_limit_in_bytes", "memory.low"), "33554432");
    bundle.ok(&["delete", "--force", "c"]);
    // What takes part only in what is left over.
    bundle.edit(|config| config["linux"]["resources"]["cpu"] = json!({ "idle": 1 }));
    bundle.ok(&["run", "--detach", "c"]);
    assert_eq!(read("cpu.idle", "cpu.idle"), "1");
}

/// spec: config-linux.md, Huge page limits
#[test]
fn huge_pages_are_limited_and_counted() {
    let bundle = bundle!();
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if !controllers.contains("hugetlb") {
        return lab::skip_this("there is no hugetlb controller of version 2");
    }
    let limits = json!([{ "pageSize": "2MB", "limit": 4_194_304 }]);
    bundle.edit(|config| config["linux"]["resources"]["hugepageLimits"] = limits);
    bundle.command("sleep 60");
    bundle.ok(&["run", "--detach", "c"]);
    for file in ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"] {
        let file = format!("/sys/fs/cgroup/{}/{file}", bundle.group());
        assert_eq!(fs::read_to_string(file).unwrap(), "4194304\n");
    }
    let told: Value = serde_json::from_str(&bundle.ok(&["events", "--stats", "c"])).unwrap();
    assert_eq!(told["data"]["hugetlb"]["2MB"], json!({ "usage": 0, "failcnt": 0 }), "{told}");
    bundle.ok(&["delete", "--force", "c"]);
    let unknown = json!([{ "pageSize": "3MB", "limit": 4_194_304 }]);
    bundle.edit(|config| config["linux"]["resources"]["hugepageLimits"] = unknown);
    let error = bundle.fails(&["create", "c"]);
    assert!(error.contains("hugetlb.3MB.max"), "{error}");
    bundle.nothing_is_left("c");
}

/// spec: config-linux.md, Network
/// spec: config-linux.md, Huge page limits
/// spec: config-linux.md, Unified
/// spec: config-linux.md, RDMA
#[test]
fn a_limit_that_this_machine_does_not_have_is_refused_by_its_name() {
    let bundle = bundle!();
    let is_v1 = !std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let trees = fs::read_to_string("/proc/self/cgroup").unwrap();
    for (resource, value, controller) in [
        ("network", json!({ "classID": 7 }), "net_cls"),
        ("hugepageLimits", json!([{ "pageSize": "2MB", "limit": 4_194_304 }]), "hugetlb"),
        ("rdma", json!({ "mlx5_1": { "hcaHandles": 3 } }), "rdma"),
        ("unified", json!({ "memory.high": "33554432" }), "version 2"),
    ] {
        if trees.contains(controller) || !is_v1 {
            continue;
        }
        let before = bundle.read();
        bundle.edit(|config| config["linux"]["resources"][resource] = value);
        let error = bundle.fails(&["create", "c"]);
        assert!(error.contains(controller), "{resource}: {error}");
        bundle.nothing_is_left("c");
        bundle.write(&before);
    }
    if !is_v1 {
        bundle.edit(|config| config["linux"]["resources"]["unified"] = json!({ "memory.high": "33554432" }));
        bundle.command("sleep 60");
        bundle.ok(&["run", "--detach", "c"]);
        let file = format!("/sys/fs/cgroup/{}/memory.high", bundle.group());
        assert_eq!(fs::read_to_string(file).unwrap().trim(), "33554432");
    }
}

/// spec: config.md, Linux Process
#[test]
fn an_apparmor_profile_confines() {
    let bundle = bundle!();
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    if enabled.trim() != "Y" || !lab::has("apparmor_parser") {
        return lab::skip_this("there is no AppArmor here, or no apparmor_parser");
    }
    let name = bundle.group();
    let rules = "file, capability, network, unix, signal, ptrace, deny /forbidden rw,";
    let profile = format!("profile {name} flags=(attach_disconnected) {{ {rules} }}\n");
    fs::write(bundle.dir.join("profile"), profile).unwrap();
    let parser = |flag: &str| {
        let script = "mount -t securityfs none /sys/kernel/security && exec apparmor_parser -K $0 profile";
        let mut unshare = std::process::Command::new("unshare");
        unshare
            .args(["--mount", "--propagation", "private", "sh", "-c", script, flag])
            .current_dir(&bundle.dir);
        unshare.status().unwrap().success()
    };
    bundle.edit(|config| config["process"]["apparmorProfile"] = json!(name));
    let error = bundle.fails(&["run", "c"]);
    assert!(error.contains(&format!("AppArmor has no profile {name}")), "{error}");
    bundle.nothing_is_left("c");
    assert!(parser("--add"));
    bundle.command(
        "{ cat /proc/self/attr/current; touch /allowed && echo one; touch /forbidden || echo none; } >/told 2>&1; sleep 60",
    );
    bundle.ok(&["run", "--detach", "c"]);
    let told = || fs::read_to_string(bundle.root().join("told")).unwrap_or_default();
    bundle.wait_for("the end of its work", || told().contains("none"));
    let inside = bundle.ok(&["exec", "c", "cat", "/proc/self/attr/current"]);
    bundle.ok(&["delete", "--force", "c"]);
    assert!(parser("--remove"));
    assert_eq!(told(), format!("{name} (enforce)\none\ntouch: /forbidden: Permission denied\nnone\n"));
    assert_eq!(inside, format!("{name} (enforce)\n"));
}

fn let_it_write_its_group(config: &mut Value) {
    let mounts = config["mounts"].as_array_mut().unwrap();
    let group = mounts.iter_mut().find(|mount| mount["type"] == "cgroup").unwrap();
    group["options"].as_array_mut().unwrap().retain(|option| option != "ro");
}

/// spec: config-linux.md, Cgroup ownership
#[test]
fn a_cgroup_is_its_users_if_it_is_there_to_be_written() {
    let bundle = bundle!();
    if !std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return lab::skip_this("it is for cgroup version 2");
    }
    bundle.edit(|config| {
        // Root is root, or it could not find its way to the bundle.
        let others = json!({ "containerID": 1, "hostID": 100_001, "size": 65535 });
        let ids = json!([{ "containerID": 0, "hostID": 0, "size": 1 }, others]);
        config["linux"]["uidMappings"] = ids.clone();
        config["linux"]["gidMappings"] = ids;
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.extend([json!({ "type": "user" }), json!({ "type": "cgroup" })]);
        config["process"]["user"] = json!({ "uid": 7, "gid": 7 });
    });
    bundle.command("mkdir /sys/fs/cgroup/below 2>/dev/null && echo yes >&2 || echo no >&2; sleep 60");
    for (is_writable, owner, answer) in [(false, 0, "no\n"), (true, 100_007, "yes\n")] {
        if is_writable {
            bundle.edit(let_it_write_its_group);
        }
        let told = bundle.dir.join("told");
        let mut run = bundle.rubber(&["run", "c"]).stderr(fs::File::create(&told).unwrap()).spawn().unwrap();
        bundle.wait_for("an answer", || fs::read_to_string(&told).unwrap().ends_with('\n'));
        assert_eq!(fs::read_to_string(&told).unwrap(), answer);
        let group = std::path::Path::new("/sys/fs/cgroup").join(bundle.group());
        let of = |name: &str| std::os::unix::fs::MetadataExt::uid(&fs::metadata(group.join(name)).unwrap());
        assert_eq!(["", "cgroup.procs", "cgroup.subtree_control"].map(of), [owner; 3]);
        assert_eq!(["memory.max", "pids.max"].map(of), [0; 2]);
        bundle.ok(&["kill", "c", "KILL"]);
        run.wait().unwrap();
        bundle.nothing_is_left("c");
    }
}

/// As systemd does it in a container: the group has no processes then, and nobody else gets in.
#[test]
fn exec_goes_where_the_first_process_is_in_a_divided_group() {
    let bundle = bundle!();
    if !std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return lab::skip_this("it is for cgroup version 2");
    }
    bundle.edit(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "cgroup" }));
        let_it_write_its_group(config);
    });
    bundle.command(
        "cd /sys/fs/cgroup && mkdir init && echo 1 >init/cgroup.procs && echo +memory >cgroup.subtree_control && echo x >/divided; sleep 60",
    );
    bundle.ok(&["run", "--detach", "c"]);
    bundle.wait_for("the division", || bundle.root().join("divided").exists());
    assert_eq!(bundle.ok(&["exec", "c", "cat", "/proc/self/cgroup"]), "0::/init\n");
    bundle.ok(&["delete", "--force", "c"]);
    bundle.nothing_is_left("c");
}

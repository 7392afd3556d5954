//! --systemd-cgroup, with the systemd that runs here. Most machines that tests run on have none: `tests/vm/run --systemd`
//! boots one.

use crate::{
    bundle::{Bundle, bundle, root},
    lab,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

/// Skips where there is none.
macro_rules! systemd {
    () => {{
        let bundle = bundle!();
        if !runs() {
            return lab::skip_this("no systemd runs here");
        }
        bundle
    }};
}

fn runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// An ordinary user has a systemd of their own, where a login has started one.
fn of_user() -> Option<String> {
    let mut ask = Command::new("busctl");
    ask.args(["--user", "get-property", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"]);
    let output = ask.args(["org.freedesktop.systemd1.Manager", "ControlGroup"]).output().ok()?;
    lab::text(&output.stdout).split('"').nth(1).map(str::to_owned)
}

fn by_systemd(bundle: &Bundle, resources: Value) {
    bundle.edit(|config| {
        config["linux"]["cgroupsPath"] = json!(format!("rubber-test.slice:rubber:{}", bundle.group()));
        let devices = config["linux"]["resources"]["devices"].clone();
        config["linux"]["resources"] = resources;
        if !devices.is_null() {
            config["linux"]["resources"]["devices"] = devices;
        }
    });
}

fn unit(bundle: &Bundle) -> String {
    format!("rubber-{}.scope", bundle.group())
}

fn path(bundle: &Bundle) -> String {
    let above = if lab::is_root() { String::new() } else { of_user().unwrap() };
    format!("{above}/rubber.slice/rubber-test.slice/{}", unit(bundle))
}

/// A limit as the kernel has it, in whichever version. Empty where it has none.
fn file(bundle: &Bundle, v1: &str, v2: &str) -> String {
    let tree = v1.split('.').next().unwrap();
    let tree = if tree == "cpuset" || Path::new("/sys/fs/cgroup").join(tree).is_dir() { tree } else { "" };
    let v1 = fs::read_to_string(format!("/sys/fs/cgroup/{tree}{}/{v1}", path(bundle)));
    let text = v1.or_else(|_| fs::read_to_string(format!("/sys/fs/cgroup{}/{v2}", path(bundle))));
    text.unwrap_or_default().trim().to_owned()
}

/// And as systemd has it.
fn shown(bundle: &Bundle, properties: &str) -> String {
    let whose = if lab::is_root() { "--system" } else { "--user" };
    let output =
        Command::new("systemctl").args([whose, "show", "-p", properties, &unit(bundle)]).output().unwrap();
    let mut lines: Vec<_> = lab::text(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines.join(" ")
}

fn limits(bundle: &Bundle) -> [String; 4] {
    [
        file(bundle, "memory.limit_in_bytes", "memory.max"),
        file(bundle, "pids.max", "pids.max"),
        file(bundle, "cpu.cfs_quota_us", "cpu.max").split(' ').next().unwrap().to_owned(),
        file(bundle, "cpuset.cpus", "cpuset.cpus"),
    ]
}

/// spec: config-linux.md, Cgroups Path
#[test]
fn systemd_makes_the_cgroup_and_knows_its_limits() {
    let bundle = systemd!();
    let cpu = json!({ "shares": 512, "quota": 50_001, "period": 100_000, "cpus": "0" });
    by_systemd(&bundle, json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 77 }, "cpu": cpu }));
    bundle.command("sleep 600");
    bundle.edit(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_MKNOD"));
        }
    });
    bundle.ok(&["--systemd-cgroup", "run", "--detach", "c"]);
    let own = fs::read_to_string(format!("/proc/{}/cgroup", bundle.state("c")["pid"])).unwrap();
    assert!(own.lines().all(|line| line.ends_with(&path(&bundle))), "{own}");
    let expected = ["67108864", "77", "50001", "0"];
    assert_eq!(limits(&bundle), expected);
    let told = shown(&bundle, "Delegate,MemoryMax,MemoryLimit,Slice,TasksMax,CPUQuotaPerSecUSec,ActiveState");
    assert!(
        told.contains("67108864") && told.contains("TasksMax=77 ") || told.ends_with("TasksMax=77"),
        "{told}"
    );
    for part in ["ActiveState=active", "Delegate=yes", "Slice=rubber-test.slice", "CPUQuotaPerSecUSec=510ms"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    // What it was not told of, it would take back.
    assert!(Command::new("systemctl").arg("daemon-reload").status().unwrap().success());
    assert_eq!(limits(&bundle)[..2], expected[..2]);
    let disk =
        "mknod /dev/disk b 1 0; (exec 3</dev/disk) 2>&1 | grep -o 'not permitted'; cat /proc/self/cgroup";
    let told = bundle.ok(&["exec", "c", "sh", "-c", disk]);
    assert!(told.starts_with("not permitted\n") && told.contains(&unit(&bundle)), "{told}");
    bundle.ok(&["update", "--memory", "134217728", "--memory-swap", "134217728", "--pids-limit", "88", "c"]);
    assert_eq!(limits(&bundle)[..2], ["134217728", "88"]);
    let told = shown(&bundle, "MemoryMax,MemoryLimit,TasksMax");
    assert!(told.contains("=134217728") && told.contains("TasksMax=88"), "{told}");
    bundle.ok(&["delete", "--force", "c"]);
    is_gone(&bundle);
}

/// spec: config.md, Annotations
#[test]
fn annotations_are_properties_of_its_scope() {
    let bundle = systemd!();
    by_systemd(&bundle, json!({}));
    bundle.command("sleep 600");
    let annotate = |name: &str, value: &str| {
        bundle.edit(|config| config["annotations"][format!("org.systemd.property.{name}")] = json!(value));
    };
    annotate("TimeoutStopSec", "7");
    annotate("Description", "'of \\'ours\\''");
    annotate("Documentation", "['man:rubber-oci', 'man:runc']");
    bundle.ok(&["--systemd-cgroup", "run", "--detach", "c"]);
    let told = shown(&bundle, "Description,Documentation,TimeoutStopUSec");
    assert_eq!(told, "Description=of 'ours' Documentation=man:rubber-oci man:runc TimeoutStopUSec=7s");
    bundle.ok(&["delete", "--force", "c"]);
    is_gone(&bundle);
    for (name, value, why) in [
        ("Nothing", "1", "Nothing"),
        ("Description", "of ours", "org.systemd.property.Description \"of ours\""),
    ] {
        annotate(name, value);
        let error = bundle.fails(&["--systemd-cgroup", "run", "c"]);
        assert!(error.contains(why), "{error}");
        is_gone(&bundle);
        bundle.edit(|config| config["annotations"] = json!({}));
    }
    // Nobody else reads them.
    annotate("Description", "of ours");
    bundle.command("true");
    bundle.edit(|config| config["linux"]["cgroupsPath"] = json!(bundle.group()));
    bundle.ok(&["run", "c"]);
}

fn is_gone(bundle: &Bundle) {
    assert_eq!(shown(bundle, "LoadState,ActiveState"), "ActiveState=inactive LoadState=not-found");
    assert!(!Path::new("/sys/fs/cgroup").join(&path(bundle)[1..]).exists());
    bundle.nothing_is_left("c");
}

#[test]
fn a_scope_goes_with_its_container_however_that_ends() {
    let bundle = systemd!();
    by_systemd(&bundle, json!({ "memory": { "limit": 16_777_216, "swap": 16_777_216 } }));
    for (script, code) in [("exit 7", 7), ("head -c 64m /dev/zero | tail -n 1 >/dev/null; exit 9", 9)] {
        bundle.command(script);
        let ended = bundle.rubber(&["--systemd-cgroup", "run", "c"]).output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{script}: {ended:?}");
        is_gone(&bundle);
    }
    // One that is never started, and two of one name.
    bundle.ok(&["--systemd-cgroup", "create", "c"]);
    let error = bundle.fails(&["--systemd-cgroup", "create", "d"]);
    assert!(error.contains("has processes already"), "{error}");
    assert_eq!(bundle.state("c")["status"], "created");
    bundle.ok(&["delete", "c"]);
    is_gone(&bundle);
    // And what cannot be made leaves nothing, either.
    bundle.edit(|config| config["process"]["args"] = json!(["/nope"]));
    bundle.fails(&["--systemd-cgroup", "create", "c"]);
    is_gone(&bundle);
}

#[test]
fn a_create_that_is_killed_leaves_no_scope() {
    let bundle = systemd!();
    by_systemd(&bundle, json!({}));
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo x >here; exec sleep 600"] });
    bundle.edit(|config| config["hooks"] = json!({ "createRuntime": [hook] }));
    let mut create = bundle.rubber(&["--systemd-cgroup", "create", "c"]).spawn().unwrap();
    bundle.wait_for("the hook", || bundle.dir.join("here").exists());
    create.kill().unwrap();
    create.wait().unwrap();
    bundle.ok(&["delete", "--force", "c"]);
    is_gone(&bundle);
}

#[test]
fn an_ordinary_users_systemd_makes_the_cgroup() {
    if lab::is_root() {
        return lab::skip_this("it is root's here: see the tests above");
    }
    if !runs() || of_user().is_none() {
        return lab::skip_this("no systemd of this user's runs here");
    }
    let bundle = Bundle::rootless();
    by_systemd(
        &bundle,
        json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 77 }, "cpu": { "quota": 50_000, "period": 100_000 } }),
    );
    bundle.command("sleep 600");
    // podman has us in a user namespace already, as somebody who seems to be root.
    for before in [vec![], vec!["unshare", "--user", "--map-root-user"]] {
        if !before.is_empty() {
            let only = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
            bundle.edit(|config| {
                config["linux"]["uidMappings"] = only.clone();
                config["linux"]["gidMappings"] = only;
            });
        }
        let run = |words: &[&str]| {
            let mut all = before.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let rubber = bundle.rubber(words);
            all.push(rubber.get_program().to_str().unwrap().into());
            all.extend(rubber.get_args().map(|word| word.to_str().unwrap().into()));
            let mut command = Command::new(&all[0]);
            command.args(&all[1..]).current_dir(&bundle.dir).stdin(Stdio::null()).stdout(Stdio::null());
            assert!(command.status().unwrap().success(), "{all:?}");
        };
        run(&["--systemd-cgroup", "run", "--detach", "c"]);
        let own = fs::read_to_string(format!("/proc/{}/cgroup", bundle.state("c")["pid"])).unwrap();
        assert!(own.trim_end().ends_with(&path(&bundle)), "{own}");
        assert_eq!(limits(&bundle)[..3], ["67108864", "77", "50000"]);
        let told = shown(&bundle, "Delegate,MemoryMax,TasksMax");
        assert_eq!(told, "Delegate=yes MemoryMax=67108864 TasksMax=77");
        run(&["update", "--memory", "134217728", "--pids-limit", "88", "c"]);
        assert_eq!(limits(&bundle)[..2], ["134217728", "88"]);
        run(&["pause", "c"]);
        assert_eq!(bundle.state("c")["status"], "paused");
        run(&["resume", "c"]);
        run(&["delete", "--force", "c"]);
        is_gone(&bundle);
    }
    // It hands down what it was handed itself.
    by_systemd(&bundle, json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": 2_097_152 }] }));
    let error = bundle.fails(&["--systemd-cgroup", "create", "c"]);
    assert!(error.contains("does not hand down the hugetlb controller"), "{error}");
    is_gone(&bundle);
}

/// What podman does where it has systemd make the groups: for root, and for whoever has a systemd of their own.
#[rustfmt::skip]
const OF_PODMAN: &[(&str, &str)] = &[
    ("p info -f '{{.Host.CgroupManager}}'", "systemd"),
    ("r -m 64m --pids-limit 55 --cpus 0.5 bb sh -c 'cd /sys/fs/cgroup; cat memory.max pids.max cpu.max'", "67108864\n55\n50000 100000"),
    ("r --cgroup-parent rubber-podman.slice bb cat /proc/self/cgroup", "0::/"),
    ("d bb sleep 1000; sed 's,.*/,,; s/-[0-9a-f]*[.]/-C./' /proc/$(it State.Pid)/cgroup", "libpod-C.scope"),
    ("p update -m 99m c >/dev/null; p exec c cat /sys/fs/cgroup/memory.max /proc/self/cgroup", "103809024\n0::/"),
    ("p pause c >/dev/null; it State.Status; p unpause c >/dev/null; it State.Status", "paused\nrunning"),
    ("p kill c >/dev/null; p wait c; p rm c >/dev/null; systemctl $W list-units --all --no-legend 'libpod-*' | grep -vc conmon", "137\n0"),
    ("r bb sh -c 'exit 7'; echo $?", "7"),
];

#[test]
fn podman_has_systemd_make_the_groups() {
    if !runs() || !lab::is_root() && of_user().is_none() {
        return lab::skip_this("no systemd of this user's runs here");
    }
    if !["podman", "conmon"].into_iter().all(lab::has) || !lab::is_root() && !lab::has("newuidmap") {
        return lab::skip_this("there is no podman here, or no newuidmap");
    }
    let dir = lab::scratch().join(format!("podman-systemd-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    root(&dir.join("root"));
    std::os::unix::fs::symlink(lab::RUBBER, dir.join("rubber-oci")).unwrap();
    let ulimits = "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n";
    fs::write(dir.join("containers.conf"), ulimits).unwrap();
    let podman = |script: &str| {
        let prelude = "cd /; W=--user; [ $(id -u) != 0 ] || W=--system
            p() { podman --runtime $D/rubber-oci --root $D/p --runroot $D/r --tmpdir $D/t --storage-driver vfs --cgroup-manager systemd \
                  --events-backend none --log-level error \"$@\"; }
            r() { p run --rm --network none \"$@\"; }
            d() { p run -d --name c --network none \"$@\" >/dev/null; }
            it() { p inspect -f \"{{.$1}}\" c; }";
        let mut sh = Command::new("sh");
        sh.args(["-c", &format!("{prelude}\n{script}")]).env("D", &dir).stdin(Stdio::null());
        let output = sh.env("CONTAINERS_CONF", dir.join("containers.conf")).output().unwrap();
        (lab::text(&output.stdout).trim().to_owned(), lab::text(&output.stderr))
    };
    let (_, said) = podman("tar -C $D/root -cf $D/root.tar . && p import -q $D/root.tar bb");
    let wrong: Vec<_> = OF_PODMAN
        .iter()
        .map(|(script, expected)| (script, *expected, podman(script)))
        .filter(|(_, expected, (printed, _))| printed != expected)
        .collect();
    podman("p rm -af -t 0; p rmi -af; podman unshare rm -rf $D/p $D/r");
    let _ = fs::remove_dir_all(&dir);
    assert!(wrong.is_empty(), "{said}{wrong:#?}");
}

/// As a kubelet would have it that says `cgroupDriver: systemd`: containerd's CRI plugin with SystemdCgroup. systemd has
/// to know the processes by their numbers, so it is in no namespace of pids as in `cri`, and takes a machine that ends.
#[test]
fn containerd_has_systemd_make_the_groups() {
    let is_in_vm = std::env::var("RUBBER_TEST_LANE").is_ok_and(|lane| lane.starts_with("vm"));
    if !lab::is_root() || !runs() || !is_in_vm {
        return lab::skip_this("it takes root, systemd, and a machine that ends with it: .ci/run vm");
    }
    let dir = lab::scratch().join("containerd-systemd");
    fs::create_dir_all(&dir).unwrap();
    root(&dir.join("root"));
    std::os::unix::fs::symlink(lab::RUBBER, dir.join("rubber-oci")).unwrap();
    fs::write(dir.join("cri.py"), include_str!("cri.py")).unwrap();
    fs::write(dir.join("case"), IN_A_POD).unwrap();
    let bash = |script: &str| {
        let mut bash = Command::new("bash");
        bash.args(["-c", script]).env("D", &dir).env("WHOSE", "k8s.io").env("I", "localhost/bb:latest");
        bash.stdin(Stdio::null()).output().unwrap()
    };
    let begun = bash(&format!("{CONTAINERD}\nc() {{ ctr \"$@\"; }}\n{}", super::containerd::ARCHIVE));
    assert!(begun.status.success(), "{begun:?}");
    let output = bash(
        "/usr/bin/python3 $D/cri.py /run/containerd/containerd.sock rubber c1 $D/t /rubber-cri.slice \"$(cat $D/case)\"",
    );
    let log = fs::read_to_string(dir.join("log")).unwrap();
    bash("pkill -x containerd");
    let expected = "/rubber.slice/rubber-cri.slice/cri-containerd-C.scope\n67108864 50000 100000\n0::/\n134217728\n137\nFalse\n";
    assert_eq!(lab::text(&output.stdout), expected, "{}\n{log}", lab::text(&output.stderr));
}

const CONTAINERD: &str = r#"
    mkdir -p $D/t
    cat >$D/config.toml <<END
version = 2
root = "$D/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "localhost/bb:latest"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
default_runtime_name = "rubber"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.rubber]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.rubber.options]
BinaryName = "$D/rubber-oci"
SystemdCgroup = true
END
    containerd --config $D/config.toml --log-level error >$D/log 2>&1 &
    for try in $(seq 600); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done"#;

const IN_A_POD: &str = r#"
until(lambda: refused('Status') == 'done', 'the plugin')
p = pod(network=NODE)
c = up('sleep 1000', p, limits=dict(memory_limit_in_bytes=64 << 20, cpu_period=100000, cpu_quota=50000))
group = open(f"/proc/{json.loads(values(call('ContainerStatus', container_id=c, verbose=True).info)['info'])['pid']}/cgroup").read().strip().split(':')[2]
file = lambda name: open(f'/sys/fs/cgroup{group}/{name}').read().strip()
print(group.replace(c, 'C'))
print(file('memory.max'), file('cpu.max'))
print(seen(c, 'cat /proc/self/cgroup'))
call('UpdateContainerResources', container_id=c, linux=dict(memory_limit_in_bytes=128 << 20))
print(file('memory.max'))
call('StopContainer', container_id=c, timeout=0)
print(status(c).exit_code)
call('RemovePodSandbox', pod_sandbox_id=p)
print(os.path.exists(f'/sys/fs/cgroup{group}'))
"#;

#[test]
fn without_systemd_its_cgroups_are_refused() {
    let bundle = bundle!();
    if !runs() {
        let error = bundle.fails(&["--systemd-cgroup", "create", "c"]);
        assert!(error.contains("no systemd runs here") && error.contains("cgroupfs"), "{error}");
        assert!(!error.contains('\n'), "{error}");
        return bundle.nothing_is_left("c");
    }
    for path in ["/a/b", "a:b:c", "a.slice:b:", "a/b.slice:c:d"] {
        bundle.edit(|config| config["linux"]["cgroupsPath"] = json!(path));
        let error = bundle.fails(&["--systemd-cgroup", "create", "c"]);
        assert!(error.contains("cgroupsPath") && !error.contains('\n'), "{error}");
        bundle.nothing_is_left("c");
    }
}

//! --systemd-cgroup, with the systemd that runs here. Most machines that tests run on have none: `tests/vm/run --systemd`
//! boots one.

use crate::{
    bundle::{Bundle, bundle},
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

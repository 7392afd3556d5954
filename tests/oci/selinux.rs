//! SELinux, on a machine that has it and no policy yet: it gets the one beside this file.

use crate::{
    bundle::{Bundle, bundle},
    lab,
};
use serde_json::json;
use std::{fs, process::Command};

const PROCESS: &str = "u:r:caged:s0:c0,c1";
const FILES: &str = "u:object_r:caged_file:s0:c0,c1";

/// Whether there are rules now. Those of a machine that has its own are left alone.
fn has_rules(bundle: &Bundle) -> bool {
    let ours = || fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    if fs::exists("/sys/fs/selinux/load").unwrap()
        && ours().trim_end_matches('\0') == "kernel"
        && lab::has("secilc")
    {
        let policy = bundle.dir.join("policy");
        let words = ["-M", "true", "-c", "33", "-f", "/dev/null", "-o"];
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oci/selinux.cil");
        let compiled = Command::new("secilc").args(words).arg(&policy).arg(source).status().unwrap();
        assert!(compiled.success());
        fs::write("/sys/fs/selinux/load", fs::read(policy).unwrap()).unwrap();
        fs::write("/sys/fs/selinux/enforce", "1").unwrap();
    }
    ours().starts_with("u:r:host:")
}

/// spec: config.md, Linux Process
/// spec: config-linux.md, Mount Label
#[test]
fn labels_are_on_its_processes_keys_and_mounts_and_confine_it() {
    let bundle = bundle!();
    if !has_rules(&bundle) {
        return lab::skip_this("there is no SELinux here that waits for a policy, or no secilc");
    }
    let dir = |name: &str| {
        let dir = bundle.dir.join(name);
        fs::create_dir(&dir).unwrap();
        dir.to_str().unwrap().to_owned()
    };
    let (shared, lower) = (dir("shared"), [dir(&"a".repeat(200)), dir(&"b".repeat(200))].join(":"));
    bundle.edit(|config| {
        config["process"]["selinuxLabel"] = json!(PROCESS);
        config["linux"]["mountLabel"] = json!(FILES);
        config["linux"]["maskedPaths"] = json!(["/proc/acpi"]);
        let own = "context=\"u:object_r:host:s0:c0,c1\"";
        config["mounts"].as_array_mut().unwrap().extend([
            json!({ "destination": "/shared", "type": "bind", "source": shared, "options": ["bind"] }),
            json!({ "destination": "/own", "type": "tmpfs", "source": "tmpfs", "options": [own] }),
            json!({ "destination": "/long", "type": "overlay", "source": "overlay", "options": [format!("lowerdir={lower}")] }),
        ]);
    });
    bundle.command(
        "exec >/dev/shm/told 2>&1; cat /proc/self/attr/current; echo; grep -c _ses /proc/keys; \
         for at in /dev/shm /shared /own; do echo >$at/x && echo $at; done; echo end; sleep 60",
    );
    bundle.ok(&["run", "--detach", "c"]);
    let root = format!("/proc/{}/root", bundle.state("c")["pid"]);
    let told = || fs::read_to_string(format!("{root}/dev/shm/told")).unwrap_or_default();
    bundle.wait_for("the end of its work", || told().contains("end"));
    let told = told().replace('\0', "");
    let refused = |at: &str| format!("sh: can't create {at}/x: Permission denied\n");
    assert_eq!(told, format!("{PROCESS}\n1\n/dev/shm\n{}{}end\n", refused("/shared"), refused("/own")));
    for (place, wanted) in [
        ("dev", FILES),
        ("dev/pts", FILES),
        ("dev/shm", FILES),
        ("dev/mqueue", FILES),
        ("proc/acpi", FILES),
        ("long", FILES),
        ("own", "u:object_r:host:s0:c0,c1"),
        ("shared", "u:object_r:host:s0"),
        ("proc", "u:object_r:host:s0"),
    ] {
        assert_eq!(label(&format!("{root}/{place}")), wanted, "{place}");
    }
    // By a pipe: a file of the host's it may not write.
    let inside = bundle.rubber(&["exec", "c", "cat", "/proc/self/attr/current"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&inside.stdout).trim_end_matches('\0'), PROCESS);
    bundle.ok(&["delete", "--force", "c"]);
    in_a_user_namespace(&bundle);
    for (field, name) in [("process", "selinuxLabel"), ("linux", "mountLabel")] {
        let before = bundle.read();
        bundle.edit(|config| config[field][name] = json!("u:r:nobody:s0"));
        let error = bundle.fails(&["run", "c"]);
        assert!(error.contains("u:r:nobody:s0"), "{name}: {error}");
        bundle.write(&before);
    }
    bundle.nothing_is_left("c");
}

/// There the kernel lets only some filesystems be labelled when they are mounted.
fn in_a_user_namespace(bundle: &Bundle) {
    let before = bundle.read();
    bundle.edit(|config| {
        let others = json!({ "containerID": 1, "hostID": 100_001, "size": 65535 });
        let ids = json!([{ "containerID": 0, "hostID": 0, "size": 1 }, others]);
        config["linux"]["uidMappings"] = ids.clone();
        config["linux"]["gidMappings"] = ids;
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    });
    bundle.command("cat /proc/self/attr/current >/dev/shm/told; sleep 60");
    bundle.ok(&["run", "--detach", "c"]);
    let root = format!("/proc/{}/root", bundle.state("c")["pid"]);
    let told = || fs::read_to_string(format!("{root}/dev/shm/told")).unwrap_or_default();
    bundle.wait_for("its label", || told().trim_end_matches('\0') == PROCESS);
    for place in ["dev", "dev/pts", "dev/mqueue", "long"] {
        assert_eq!(label(&format!("{root}/{place}")), FILES, "{place}");
    }
    bundle.ok(&["delete", "--force", "c"]);
    bundle.write(&before);
}

fn label(file: &str) -> String {
    let there = xattr::get_deref(file, "security.selinux").unwrap().unwrap_or_default();
    String::from_utf8_lossy(&there).trim_end_matches('\0').to_owned()
}

#[test]
fn labels_are_refused_where_nobody_looks_at_them() {
    let bundle = bundle!();
    if fs::exists("/sys/fs/selinux/enforce").unwrap() {
        return lab::skip_this("there is SELinux here");
    }
    for (field, name) in [("process", "selinuxLabel"), ("linux", "mountLabel")] {
        let before = bundle.read();
        bundle.edit(|config| config[field][name] = json!("u:r:caged:s0"));
        let error = bundle.fails(&["create", "c"]);
        let says =
            format!("{field}.{name} \"u:r:caged:s0\": this kernel does not have SELinux, or it is off");
        assert!(error.contains(&says), "{error}");
        bundle.write(&before);
    }
    bundle.nothing_is_left("c");
}

//! Kernel parameters of a config.json: those of the container's own namespaces, and none of the host's. Each is given
//! the value that it has already, so that nothing changes where it is taken.

use crate::bundle::{Bundle, bundle};
use serde_json::{Value, json};
use std::fs;

fn now(name: &str) -> String {
    fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).unwrap().trim().into()
}

/// With the namespace of this kind as it is given: new by default, None is none.
fn with(bundle: &Bundle, kind: &str, given: Option<Value>) {
    bundle.edit(|config| {
        let all = config["linux"]["namespaces"].as_array_mut().unwrap();
        all.retain(|one| one["type"] != kind);
        all.extend(given);
    });
}

fn refused(bundle: &Bundle, name: &str, told: &str) {
    let value = now(&name.replace('/', "."));
    bundle.edit(|config| config["linux"]["sysctl"] = json!({ name: value }));
    let error = bundle.fails(&["create", "c"]);
    assert!(error.contains(told) && error.contains(name), "{name}: {error}");
    assert_eq!(bundle.ok(&["list", "--quiet"]), "", "{name}");
}

#[test]
fn parameters_of_the_whole_machine_are_refused() {
    let bundle = bundle!();
    let names = ["kernel.printk_ratelimit_burst", "vm.swappiness", "fs.file-max", "kernel.pid_max"];
    for name in names.into_iter().chain(["kernel/printk_ratelimit_burst", "kernel.ostype"]) {
        refused(&bundle, name, "whole machine");
    }
    refused(&bundle, "kernel.hostname", "hostname");
    for name in [
        "../kernel/pid_max",
        "net/../kernel/pid_max",
        "net/./../kernel/pid_max",
        "net..ipv4",
        "",
        "net.",
        "/",
    ] {
        bundle.edit(|config| config["linux"]["sysctl"] = json!({ name: now("kernel.pid_max") }));
        let error = bundle.fails(&["create", "c"]);
        assert!(error.contains("no name such as"), "{name}: {error}");
    }
    for name in ["Kernel.pid_max", "NET.ipv4.ip_default_ttl", "kernel", "net"] {
        bundle.edit(|config| config["linux"]["sysctl"] = json!({ name: "1" }));
        assert!(bundle.fails(&["create", "c"]).contains("whole machine"), "{name}");
    }
}

#[test]
fn parameters_of_a_namespace_that_is_the_hosts_are_refused() {
    let bundle = bundle!();
    let kinds = [
        ("network", "net", vec!["net.ipv4.ip_default_ttl", "net/ipv4/ip_default_ttl"]),
        ("ipc", "ipc", vec!["kernel.msgmax", "kernel.sem", "kernel.shmmax", "fs.mqueue.msg_max"]),
        ("uts", "uts", vec!["kernel.domainname"]),
        ("user", "user", vec!["user.max_uts_namespaces"]),
    ];
    for (kind, file, names) in kinds {
        let whole = bundle.read();
        bundle.edit(|config| drop(config.as_object_mut().unwrap().remove("hostname")));
        for process in ["self".into(), std::process::id().to_string()] {
            for name in &names {
                with(&bundle, kind, None);
                refused(&bundle, name, "would be the host's");
                let path = format!("/proc/{process}/ns/{file}");
                with(&bundle, kind, Some(json!({ "type": kind, "path": path })));
                refused(&bundle, name, "would be the host's");
            }
        }
        bundle.write(&whole);
    }
}

/// A name is a parameter as well.
#[test]
fn a_name_for_the_hosts_own_namespace_is_refused() {
    let bundle = bundle!();
    for process in ["self".into(), std::process::id().to_string()] {
        let path = format!("/proc/{process}/ns/uts");
        with(&bundle, "uts", Some(json!({ "type": "uts", "path": path })));
        for field in ["hostname", "domainname"] {
            bundle.edit(|config| {
                drop(config.as_object_mut().unwrap().remove("hostname"));
                config[field] = json!(now(&format!("kernel.{field}")));
            });
            let error = bundle.fails(&["create", "c"]);
            assert!(error.contains("would be the host's"), "{field}: {error}");
            bundle.edit(|config| drop(config.as_object_mut().unwrap().remove(field)));
        }
    }
}

#[test]
fn parameters_of_its_own_namespaces_are_set() {
    let bundle = bundle!();
    let names = ["net.ipv4.ip_default_ttl", "kernel.domainname", "fs.mqueue.msg_max", "kernel.shmmni"];
    let before = names.map(now);
    let sysctl = json!({
        "net/ipv4/ip_default_ttl": "33", "kernel.domainname": "of.test", "fs.mqueue.msg_max": "7", "kernel.shmmni": "99"
    });
    bundle.edit(|config| config["linux"]["sysctl"] = sysctl);
    let files = names.map(|name| format!("/proc/sys/{}", name.replace('.', "/")));
    bundle.command(&format!("cat {}", files.join(" ")));
    assert_eq!(bundle.ok(&["run", "c"]), "33\nof.test\n7\n99\n");
    assert_eq!(names.map(now), before);
}

/// What was made by another is not the host's: a pod's containers have its network.
#[test]
fn parameters_of_a_joined_namespace_are_set() {
    let (bundle, other) = (bundle!(), bundle!());
    other.command("sleep 60");
    other.ok(&["run", "--detach", "o"]);
    let path = format!("/proc/{}/ns/net", other.state("o")["pid"]);
    with(&bundle, "network", Some(json!({ "type": "network", "path": path })));
    bundle.edit(|config| config["linux"]["sysctl"] = json!({ "net.ipv4.ip_default_ttl": "34" }));
    bundle.command("cat /proc/sys/net/ipv4/ip_default_ttl");
    assert_eq!(bundle.ok(&["run", "c"]), "34\n");
    assert_ne!(now("net.ipv4.ip_default_ttl"), "34");
}

//! What a process on its way into a container holds open: seen by a tracer when it gives up its powers (capset(2)), and
//! when it becomes the command (execve(2)).

use super::{tracer::trace, *};
use serde_json::json;

/// Of the streams, which are the command's, nothing is said here. The rest tells the caller how it goes, or that it is
/// still there; and a container of rubber-oci's that does not run yet is known by a lock on an empty file.
fn is_needed(number: &str, place: &str) -> bool {
    if place.contains("/states/") && place.ends_with("/lock") {
        return true;
    }
    let kinds = ["pipe:", "socket:", "/dev/null", "anon_inode:[pidfd]"];
    number.parse::<u32>().unwrap() <= 2 || kinds.iter().any(|kind| place.starts_with(kind))
}

fn hold(command: &mut Command, least: usize) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let words = format!("{command:?}");
    let traced = trace(command, None, 30).expect("root may trace");
    assert_eq!(traced.status, Some(0), "{words}");
    let open = traced.open;
    assert!(open.len() >= least, "{words}: {open:#?}");
    for (number, descriptors) in &open {
        let mut wrong = descriptors.iter().filter(|(fd, place)| {
            // At the last there is nothing to be told of whether the caller is there.
            let is_late = *number == libc::SYS_execve && place.contains("pidfd");
            !is_needed(fd, place) || is_late
        });
        assert!(wrong.next().is_none(), "{words}: at call {number}: {descriptors:#?}");
    }
}

#[test]
fn descriptors_of_the_host_are_closed_when_power_is_given_up() {
    if !lab::is_root() {
        return lab::skip_this("who hides is not looked into by an ordinary user's tracer");
    }
    let name = format!("open-{}", std::process::id());
    lab::say(&[], "true");
    let dir = tempfile::tempdir_in(lab::scratch()).unwrap();
    let volume = format!("{}:/shared", dir.path().display());
    hold(&mut rubber(["run", "busybox", "true"]), 2);
    hold(&mut rubber(["run", "-v", &volume, "--device=/dev/zero:/dev/also", "busybox", "true"]), 2);
    hold(&mut rubber(["run", "--rm", "--name", &name, "busybox", "true"]), 2);
    hold(&mut rubber(["run", "--init", "busybox", "true"]), 2);
    hold(&mut rubber(["run", "--uidmap=0:100000:65536", "busybox", "true"]), 2);
    let started = rubber(["run", "-d", "--rm", "--name", &name, "busybox", "sleep", "600"]).output().unwrap();
    assert!(started.status.success(), "{started:?}");
    let joined = format!("--pid=container:{name}");
    hold(&mut rubber(["run", &joined, "busybox", "true"]), 2);
    hold(&mut rubber(["exec", &name, "true"]), 2);
    rubber(["rm", "-f", &name]).output().unwrap();
}

#[test]
fn descriptors_of_the_host_are_closed_when_power_is_given_up_by_rubber_oci() {
    let bundle = crate::bundle::bundle!();
    bundle.command("true");
    hold(&mut bundle.rubber(&["run", "c"]), 2);
    bundle.command("sleep 600");
    bundle.ok(&["run", "--detach", "c"]);
    hold(&mut bundle.rubber(&["exec", "c", "true"]), 2);
    let pid = bundle.state("c")["pid"].clone();
    bundle.edit(|config| {
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "pid" {
                namespace["path"] = json!(format!("/proc/{pid}/ns/pid"));
            }
        }
        config["linux"]["cgroupsPath"] = json!(format!("/{}/joined", bundle.group()));
    });
    bundle.command("true");
    hold(&mut bundle.rubber(&["run", "joined"]), 2);
}

//! Which ids exist inside, who they are outside, and whose the files are.

use super::{Neighbour, cannot, lab::*, refused};
use std::{fs, os::unix::fs::MetadataExt, path::Path};

const MAP: &[&str] = &["--uidmap", "0:524288:65536"];

/// Whether we may map any id: not in the user namespace of an engine's container.
fn is_able() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap();
    let is_able = is_root() && map.split_whitespace().eq(["0", "0", "4294967295"]);
    if !is_able {
        skip_this("only root of the whole machine may map other ids than its own");
    }
    is_able && !cannot()
}

fn with(more: &[&'static str]) -> Vec<&'static str> {
    [MAP, more].concat()
}

#[test]
fn userns_of_root_has_an_image_and_volumes_with_owners_it_knows() {
    if !is_able() {
        return;
    }
    if on_overlay() {
        return skip_this("the store is on an overlay, whose files cannot be shown with other owners");
    }
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("mine"), "x").unwrap();
    nix::unistd::chown(&place.path().join("mine"), Some(7.into()), Some(8.into())).unwrap();
    let shared = format!("{}:/shared:idmap", place.path().display());
    let plain = format!("{}:/plain", place.path().display());
    let script = "tr -s ' ' </proc/self/uid_map; stat -c %u:%g /bin/busybox /etc/passwd / /shared/mine /plain/mine; \
                  touch /new /shared/new && chown 3:4 /shared/new && stat -c %u:%g /new /shared/new; \
                  touch /plain/no 2>/dev/null || echo not there; id -u";
    let said = say(&[MAP, &["-v", &shared, "-v", &plain]].concat(), script);
    let expected = " 0 524288 65536\n0:0\n0:0\n0:0\n7:8\n65534:65534\n0:0\n3:4\nnot there\n0";
    assert_eq!(said, expected.trim());
    let owner = |file: &Path| (fs::metadata(file).unwrap().uid(), fs::metadata(file).unwrap().gid());
    assert_eq!(owner(&place.path().join("new")), (3, 4));
    // A named volume is shown so without a word; what the container writes is nobody's of the host.
    say(&with(&["-v", "of-ids:/data"]), "touch /data/x && chown 9 /data/x && stat -c %u /data/x");
    assert_eq!(owner(&store().join("volumes/of-ids/x")).0, 9);
    rubber(["volume", "rm", "of-ids"]).output().unwrap();
}

#[test]
fn userns_of_root_owns_its_namespaces_and_nothing_of_the_host() {
    if !is_able() || on_overlay() {
        return;
    }
    let neighbour = Neighbour::start(&with(&["--cap-add", "SYS_ADMIN", "--cap-add", "MKNOD"]));
    // Root over what is its own.
    assert_eq!(neighbour.say("hostname changed && hostname && mount -t tmpfs t /mnt 2>/dev/null || mkdir /mnt && mount -t tmpfs t /mnt && id -u"), "changed\n0\n");
    // And nobody outside.
    let about = text(&rubber(["inspect", &neighbour.0]).output().unwrap().stdout);
    let about: serde_json::Value = serde_json::from_str(&about).unwrap();
    let pid = &about[0]["state"]["pid"];
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t524288\t524288\t524288\t524288\n"), "{status}");
    assert!(
        status.contains("Gid:\t524288\t524288\t524288\t524288\n") && status.contains("Groups:\t524288 \n"),
        "{status}"
    );
    assert_eq!(
        neighbour.say(
            "mknod /x b 8 0 2>/dev/null || echo no; echo 1 >/proc/sys/kernel/panic 2>/dev/null || echo no"
        ),
        "no\nno\n"
    );
    // Files go in and out with the owners they have in there, running or not.
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("f");
    fs::write(&file, "x").unwrap();
    let (here, there) = (file.display().to_string(), format!("{}:/f", neighbour.0));
    assert!(rubber(["cp", &here, &there]).output().unwrap().status.success());
    assert_eq!(neighbour.say("stat -c %u /f; chown 5 /f"), "0\n");
    rubber(["kill", &neighbour.0]).output().unwrap();
    rubber(["wait", &neighbour.0]).output().unwrap();
    let out = place.path().join("out").display().to_string();
    let copied = rubber(["cp", "-a", &there, &out]).output().unwrap();
    assert!(copied.status.success(), "{copied:?}");
    assert_eq!(fs::metadata(&out).unwrap().uid(), 5);
    let commit = rubber(["commit", &neighbour.0, "x"]).output().unwrap();
    assert!(text(&commit.stderr).contains("rubber export"), "{commit:?}");
}

#[test]
fn userns_leaves_nothing_behind() {
    if cannot() {
        return;
    }
    // Root's by a map, an ordinary user's as always.
    let flags: &[&str] = if is_root() && !on_overlay() { MAP } else { &[] };
    let output = run(flags, "mkdir -p /tmp/a/b; chmod 0 /tmp/a; echo $HOSTNAME");
    let id = text(&output.stdout).trim().to_owned();
    assert_eq!(id.len(), 12, "{output:?}");
    let left = ledger();
    let names = left.containers.iter().chain(&left.cgroups).map(|path| path.display().to_string());
    let ours: Vec<_> = names.filter(|name| name.contains(&id)).collect();
    assert!(ours.is_empty(), "{ours:?}");
}

#[test]
fn userns_of_one_id_is_the_callers() {
    if cannot() {
        return;
    }
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let flags = [format!("--uidmap=0:{uid}:1"), format!("--gidmap=0:{gid}:1")];
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let said = say(&flags, "cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; cat /proc/self/setgroups");
    assert_eq!(said, format!("0 {uid} 1\n 0 {gid} 1\ndeny"));
}

#[test]
fn userns_maps_that_are_wrong_are_refused() {
    for word in [
        "",
        "0",
        "0:1",
        "0:1:2:3",
        "x:0:1",
        "0:x:1",
        "0:0:x",
        "-1:0:1",
        "0:-1:1",
        "0:0:-1",
        "+0:0:1",
        "0: 5:1",
        "4294967296:0:1",
        "0:4294967296:1",
        "0:0:4294967296",
    ] {
        refused(&["--uidmap", word], &["--uidmap", "CONTAINER:HOST:SIZE"]);
        refused(&["--gidmap", word], &["--gidmap", "CONTAINER:HOST:SIZE"]);
    }
    refused(&["--uidmap", "0:0:0"], &["there are no ids in it"]);
    for word in ["4294967295:0:1", "0:4294967295:1", "0:4294967290:6"] {
        refused(&["--uidmap", word], &["ids go from 0 to 4294967294"]);
    }
    refused(&["--uidmap", "1:1:5"], &["id 0 is not in it"]);
    refused(&["--uidmap", "0:100:5", "--uidmap", "4:200:5"], &["ids that another range has"]);
    refused(&["--uidmap", "0:100:5", "--uidmap", "5:104:5"], &["ids that another range has"]);
    refused(&["-v", "/tmp:/x:idmap"], &["idmap is for containers that root gives ids"]);
    if is_root() {
        refused(&["--uidmap", "0:0:1", "--userns", "host"], &["a user namespace of its own"]);
        refused(&with(&["-v", "/tmp:/x:U"]), &["idmap"]);
        refused(&with(&["--without", "overlay", "--until", "userns"]), &["need the overlay layer"]);
        return;
    }
    let other = nix::unistd::geteuid().as_raw() + 1;
    refused(&["--uidmap", &format!("0:{other}:1")], &["an ordinary user's root is that user"]);
}

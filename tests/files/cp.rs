//! Copying: what arrives where, as docker's and cp(1)'s.

use super::*;
use std::{
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
};

/// While it runs, and when it has ended.
fn both(place: &Place, name: &str, mut check: impl FnMut(&str)) {
    check("running");
    place.end(name);
    if !lab::on_overlay() {
        check("ended");
    }
}

#[test]
fn a_file_comes_out_under_the_name_or_into_the_directory() {
    let place = Place::of_this_test();
    place.start("it", &[], "echo one >/one; chmod 4640 /one; ln -s one /link; mkdir /d; ln -s ../one /d/up");
    both(&place, "it", |when| {
        let dir = format!("dir-{when}");
        fs::create_dir(place.host.join(&dir)).unwrap();
        place.say(&["cp", "it:/one", &format!("as-{when}")]);
        place.say(&["cp", "it:one", &dir]);
        place.say(&["cp", "it:/link", &dir]);
        place.say(&["cp", "-L", "it:/d/up", &dir]);
        assert_eq!(place.read(&format!("as-{when}")), "one\n");
        assert_eq!(place.read(&format!("{dir}/one")), "one\n");
        assert_eq!(place.read(&format!("{dir}/up")), "one\n");
        let link = fs::read_link(place.host.join(&dir).join("link")).unwrap();
        assert_eq!(link, Path::new("one"));
        let about = fs::metadata(place.host.join(format!("as-{when}"))).unwrap();
        // Nobody's setuid program comes out of a container.
        assert_eq!(about.mode() & 0o7777, 0o640);
        assert_eq!(about.uid(), nix::unistd::geteuid().as_raw());
    });
    place.balance();
}

#[test]
fn a_directory_comes_out_whole_or_its_content_alone() {
    let place = Place::of_this_test();
    place.start(
        "it",
        &[],
        "mkdir -p /d/sub; echo x >/d/x; ln /d/x /d/sub/y; ln -s x /d/l; chmod 710 /d/sub; mkfifo /d/f",
    );
    both(&place, "it", |when| {
        fs::create_dir(place.host.join(when)).unwrap();
        place.say(&["cp", "it:/d", when]);
        place.say(&["cp", "it:/d/.", when]);
        place.say(&["cp", "it:/d/", &format!("{when}/new")]);
        for base in [format!("{when}/d"), when.to_owned(), format!("{when}/new")] {
            assert_eq!(place.read(&format!("{base}/sub/y")), "x\n", "{base}");
            let about = |name: &str| fs::symlink_metadata(place.host.join(&base).join(name)).unwrap();
            assert_eq!(about("sub").mode() & 0o7777, 0o710, "{base}");
            assert_eq!(about("x").ino(), about("sub/y").ino(), "{base}");
            assert!(about("l").is_symlink(), "{base}");
        }
    });
    place.balance();
}

#[test]
fn files_go_in_and_belong_to_root() {
    let place = Place::of_this_test();
    place.start("it", &[], "mkdir /d; ln -s /d /link; echo old >/d/target; ln -s d/target /file");
    place.write("one", "one");
    place.write("tree/sub/two", "two");
    symlink("sub/two", place.host.join("tree/l")).unwrap();
    fs::set_permissions(place.host.join("one"), fs::Permissions::from_mode(0o754)).unwrap();
    both(&place, "it", |when| {
        place.say(&["cp", "one", "it:/link"]);
        place.say(&["cp", "one", "it:/d/another"]);
        place.say(&["cp", "one", "it:/file"]);
        place.say(&["cp", "tree", "it:/d"]);
        place.say(&["cp", "tree/.", &format!("it:/{when}")]);
        if when == "running" {
            let script =
                "stat -c '%a %u:%g' /d/one; cat /d/another /d/target /d/tree/l /running/sub/two; ls -l /file";
            let said = place.say(&["exec", "it", "sh", "-c", script]);
            assert!(said.starts_with("754 0:0\noneonetwotwo") && said.contains("-> d/target"), "{said}");
        }
        let back = format!("back-{when}");
        place.say(&["cp", "it:/d", &back]);
        assert_eq!(place.read(&format!("{back}/one")), "one");
        assert_eq!(place.read(&format!("{back}/target")), "one");
        assert_eq!(place.read(&format!("{back}/tree/sub/two")), "two");
    });
    place.balance();
}

#[test]
fn what_is_there_is_replaced_but_no_directory_by_a_file_nor_the_other_way() {
    let place = Place::of_this_test();
    place.start("it", &[], "mkdir -p /d/one /d/keeps; chmod 700 /d/keeps; echo f >/d/tree; echo old >/d/old");
    place.write("one", "new");
    place.write("old", "new");
    place.write("tree/x", "x");
    place.write("keeps/x", "x");
    assert!(place.fails(&["cp", "one", "it:/d"]).contains("what is there is a directory"));
    assert!(place.fails(&["cp", "tree", "it:/d"]).contains("what is there is no directory"));
    assert!(place.fails(&["cp", "tree", "it:/d/old"]).contains("what is there is no directory"));
    assert!(place.fails(&["cp", "one", "it:/d/new/"]).contains("is to become a directory"));
    place.say(&["cp", "old", "it:/d"]);
    place.say(&["cp", "keeps", "it:/d"]);
    assert_eq!(place.say(&["exec", "it", "sh", "-c", "cat /d/old; stat -c %a /d/keeps"]), "new700");
    place.balance();
}

#[test]
fn tar_streams_go_both_ways_and_keep_owners() {
    let place = Place::of_this_test();
    let users = place.has_users();
    let chown = if users { "chown 7:8 /d/x" } else { ":" };
    place.start("it", &[], &format!("mkdir /d; echo x >/d/x; chmod 4755 /d/x; {chown}; chmod 4755 /d/x"));
    let archive = place.output(&["cp", "it:/d", "-"]);
    assert!(archive.status.success(), "{archive:?}");
    place.start("other", &[], "mkdir /into");
    let mut copy = place.rubber(["cp", "-", "other:/into"]).stdin(Stdio::piped()).spawn().unwrap();
    copy.stdin.take().unwrap().write_all(&archive.stdout).unwrap();
    assert!(copy.wait().unwrap().success());
    let expected = if users { "4755 7:8\nx" } else { "4755 0:0\nx" };
    assert_eq!(
        place.say(&["exec", "other", "sh", "-c", "stat -c '%a %u:%g' /into/d/x; cat /into/d/x"]),
        expected
    );
    place.balance();
}

#[test]
fn owners_are_kept_on_request() {
    let place = Place::of_this_test();
    if !lab::is_root() {
        lab::skip_this("giving files away takes root");
        return place.balance();
    }
    place.start("it", &[], "echo x >/x; chown 7:8 /x");
    place.say(&["cp", "-a", "it:/x", "x"]);
    let about = fs::metadata(place.host.join("x")).unwrap();
    assert_eq!((about.uid(), about.gid()), (7, 8));
    place.say(&["cp", "-a", "x", "it:/again"]);
    assert_eq!(place.say(&["exec", "it", "stat", "-c", "%u:%g", "/again"]), "7:8");
    place.balance();
}

#[test]
fn a_container_without_an_overlay_is_copied_from_and_to() {
    let place = Place::of_this_test();
    place.start("it", &["--until", "chroot"], "echo x >/x");
    place.write("in", "in");
    place.say(&["cp", "it:/x", "x"]);
    place.say(&["cp", "in", "it:/in"]);
    place.end("it");
    place.say(&["cp", "it:/in", "back"]);
    place.say(&["cp", "in", "it:/etc"]);
    assert_eq!((place.read("x"), place.read("back")), ("x\n".into(), "in".into()));
    place.balance();
}

#[test]
fn an_ended_container_takes_copies_again_and_again_and_from_several_at_once() {
    if !upper_is_on_disk() {
        return;
    }
    let place = Place::of_this_test();
    place.start("it", &[], "");
    place.end("it");
    let all: Vec<_> = (0..8)
        .map(|number| {
            let name = format!("f{number}");
            place.write(&name, &name);
            place.rubber(["cp", &name, "it:/etc"]).spawn().unwrap()
        })
        .collect();
    for mut copy in all {
        assert!(copy.wait().unwrap().success());
    }
    place.say(&["cp", "it:/etc", "etc"]);
    for number in 0..8 {
        assert_eq!(place.read(&format!("etc/f{number}")), format!("f{number}"));
    }
    place.balance();
}

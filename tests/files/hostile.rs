//! A container that wants to lead us outside.

use super::*;

/// Its root has a directory of the same name as one of the host's: what a name means is told by what is in it.
fn place_with_twin() -> (Place, String) {
    let place = Place::of_this_test();
    place.write("twin/secret", "the host's");
    let twin = place.host.join("twin").to_str().unwrap().to_owned();
    (place, twin)
}

fn twin_inside(twin: &str) -> String {
    format!("mkdir -p {twin} /t; echo mine >{twin}/secret; ")
}

#[test]
fn links_lead_to_the_containers_own_files() {
    let (place, twin) = place_with_twin();
    let up = "../".repeat(30);
    let script = twin_inside(&twin)
        + &format!(
            "ln -s {twin} /t/a; ln -s {up}{twin} /t/b; ln -s {twin}/secret /t/f; ln -s {twin}/new /t/n"
        );
    place.start("it", &[], &script);
    place.write("in", "in");
    for link in ["a/secret", "b/secret", "a/../twin/secret"] {
        place.say(&["cp", &format!("it:/t/{link}"), "out"]);
        assert_eq!(place.read("out"), "mine\n", "{link}");
    }
    place.say(&["cp", "-L", "it:/t/f", "out"]);
    assert_eq!(place.read("out"), "mine\n");
    for dest in ["a", "b/other", "f", "n"] {
        place.say(&["cp", "in", &format!("it:/t/{dest}")]);
    }
    let there: Vec<_> = fs::read_dir(&twin).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!((there, place.read("twin/secret")), (vec!["secret".into()], "the host's".into()));
    let inside = place.say(&["exec", "it", "sh", "-c", &format!("cd {twin}; cat in new other secret")]);
    assert_eq!(inside, "inininin");
    place.balance();
}

/// CVE-2018-15664: what was a directory when it was looked at is a link when it is opened.
#[test]
fn links_that_come_and_go_lead_nowhere_else() {
    let (place, twin) = place_with_twin();
    let script = twin_inside(&twin)
        + &format!(
            "mkdir /t/d; echo mine >/t/d/secret; ln -s {twin} /t/l
             (while true; do mv -T /t/d /t/a; mv -T /t/a /t/d; mv -T /t/l /t/a; mv -T /t/a /t/l; done) 2>/dev/null &
             until [ -L /t/a ]; do :; done"
        );
    place.start("it", &[], &script);
    place.write("in", "in");
    let (mut read, mut written) = (0, 0);
    for round in 0..60 {
        let _ = fs::remove_file(place.host.join("out"));
        if place.output(&["cp", "it:/t/a/secret", "out"]).status.success() {
            assert_eq!(place.read("out"), "mine\n", "round {round}");
            read += 1;
        }
        written += u32::from(place.output(&["cp", "in", "it:/t/a/new"]).status.success());
        let _ = fs::remove_dir_all(place.host.join("all"));
        if place.output(&["cp", "it:/t", "all"]).status.success() {
            assert_no_secret(&place.host.join("all"));
        }
        let there = fs::read_dir(&twin).unwrap().count();
        assert_eq!((there, place.read("twin/secret")), (1, "the host's".into()), "round {round}");
    }
    assert!(read > 0 && written > 0, "{read} were read and {written} written: nothing was tried");
    place.balance();
}

fn assert_no_secret(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => assert_no_secret(&entry.path()),
            kind if kind.is_file() => {
                assert!(!fs::read_to_string(entry.path()).unwrap().contains("the host's"), "{entry:?}");
            }
            _ => {}
        }
    }
}

/// The host's own links are not followed out of where the copy goes, whatever the container calls its files.
#[test]
fn a_copy_goes_through_no_link_in_its_destination() {
    let (place, twin) = place_with_twin();
    place.start("it", &[], "mkdir -p /d/sub; echo mine >/d/sub/secret");
    fs::create_dir(place.host.join("dest")).unwrap();
    std::os::unix::fs::symlink(&twin, place.host.join("dest/sub")).unwrap();
    assert!(place.fails(&["cp", "it:/d/.", "dest"]).contains("what is there is no directory, and stays"));
    assert_eq!(place.read("twin/secret"), "the host's");
    place.balance();
}

#[test]
fn files_of_the_kernels_and_fifos_are_not_waited_for() {
    let place = Place::of_this_test();
    place.start(
        "it",
        &[],
        "mkdir /d; mkfifo /d/fifo; ln -s /d/fifo /etc/alias; rm /etc/passwd; mkfifo /etc/passwd",
    );
    assert!(place.fails(&["cp", "it:/proc/cpuinfo", "."]).contains("the kernel makes it up"));
    assert!(place.fails(&["cp", "it:/sys", "."]).contains("the kernel makes it up"));
    place.say(&["cp", "it:/d", "."]);
    place.say(&["top", "it"]);
    place.say(&["cp", "it:/", "all"]);
    let inside = |name: &str| place.host.join("all").join(name);
    assert!(inside("bin").is_dir() && fs::read_dir(inside("proc")).unwrap().next().is_none());
    place.balance();
}

//! Pausing, looking at processes and figures, other names, images in use.

use super::*;

fn can_pause(place: &Place, name: &str) -> bool {
    let output = place.output(&["pause", name]);
    if output.status.success() {
        return true;
    }
    let stderr = text(&output.stderr);
    assert!(!lab::is_root() && stderr.contains("pausing takes a cgroup of its own"), "{stderr}");
    lab::skip_this("pausing takes a cgroup, and none is to be had");
    place.balance();
    false
}

fn count(place: &Place, name: &str) -> String {
    place.say(&["logs", "--tail", "1", name])
}

const COUNTS: &str = "(i=0; while true; do i=$((i+1)); echo $i; sleep 0.01; done) & echo ready";

#[test]
fn a_paused_container_stands_still_and_goes_on() {
    let place = Place::of_this_test();
    place.start("counts", &[], COUNTS);
    if !can_pause(&place, "counts") {
        return;
    }
    assert_eq!(place.state("counts"), "paused");
    let inspected: serde_json::Value = serde_json::from_str(&place.say(&["inspect", "counts"])).unwrap();
    assert_eq!(inspected[0]["state"]["word"], "paused");
    let before = count(&place, "counts");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(count(&place, "counts"), before);
    assert!(place.fails(&["pause", "counts"]).contains("paused already"));
    assert!(place.fails(&["exec", "counts", "true"]).contains("rubber unpause counts"));
    place.say(&["unpause", "counts"]);
    assert_eq!(place.state("counts"), "running");
    let begin = Instant::now();
    while count(&place, "counts") == before {
        assert!(begin.elapsed().as_secs() < 10, "it does not go on");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(place.fails(&["unpause", "counts"]).contains("not paused"));
    place.balance();
}

#[test]
fn a_paused_container_can_be_ended_in_every_way() {
    let place = Place::of_this_test();
    for words in
        [&["stop", "-t", "5", "it"][..], &["kill", "it"], &["rm", "-f", "it"], &["kill", "-s", "TERM", "it"]]
    {
        place.start("it", &["--init"], COUNTS);
        if !can_pause(&place, "it") {
            return;
        }
        let begin = Instant::now();
        place.say(words);
        while !["exited", "none"].contains(&place.state("it").as_str()) {
            assert!(
                begin.elapsed().as_secs() < 5,
                "{words:?} does not end what is paused: {}",
                place.state("it")
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        place.output(&["rm", "-f", "it"]);
    }
    place.balance();
}

#[test]
fn other_signals_wait_until_a_paused_container_goes_on() {
    let place = Place::of_this_test();
    place.start("it", &[], "trap 'echo heard; exit 3' USR1; echo ready; while true; do sleep 0.01; done");
    if !can_pause(&place, "it") {
        return;
    }
    place.say(&["kill", "-s", "USR1", "it"]);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(place.state("it"), "paused");
    place.say(&["unpause", "it"]);
    assert_eq!(place.say(&["wait", "it"]), "3");
    assert!(place.say(&["logs", "it"]).contains("heard"));
    place.balance();
}

#[test]
fn a_paused_container_whose_rubber_is_killed_is_swept() {
    let place = Place::of_this_test();
    place.start("it", &[], COUNTS);
    if !can_pause(&place, "it") {
        return;
    }
    let inspected: serde_json::Value = serde_json::from_str(&place.say(&["inspect", "it"])).unwrap();
    let first = inspected[0]["state"]["pid"].as_i64().unwrap();
    let status = fs::read_to_string(format!("/proc/{first}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::kill(parent, libc::SIGKILL) }, 0);
    let begin = Instant::now();
    while place.state("it") != "exited" || !place.output(&["clean"]).status.success() {
        assert!(begin.elapsed().as_secs() < 10, "{}", place.state("it"));
        std::thread::sleep(Duration::from_millis(10));
    }
    place.balance();
}

#[test]
fn top_lists_processes_by_both_numbers_and_marks_zombies() {
    let place = Place::of_this_test();
    // The shell becomes a sleep, which waits for nobody.
    place.start("it", &[], "sleep 0.3 & sleep 987 &");
    let begin = Instant::now();
    let all = loop {
        let all: serde_json::Value =
            serde_json::from_str(&place.say(&["top", "--format", "json", "it"])).unwrap();
        let all = all.as_array().unwrap().clone();
        if all.iter().any(|process| process["state"] == "zombie") {
            break all;
        }
        assert!(begin.elapsed().as_secs() < 10, "no zombie: {all:?}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(
        (&all[0]["inside"], &all[0]["command"], &all[0]["user"]),
        (&1.into(), &"sleep 1000".into(), &"root".into())
    );
    let pid = all[0]["pid"].as_i64().unwrap();
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim(), "sleep");
    assert!(
        all.iter().any(|process| process["command"] == "sleep 987" && process["state"] == "sleeping"),
        "{all:?}"
    );
    assert_eq!(all.len(), 3, "{all:?}");
    let output = place.output(&["top", "it"]);
    assert!(text(&output.stdout).contains("zombie"), "{output:?}");
    assert!(text(&output.stderr).contains("1 process has ended, and nobody has asked how"), "{output:?}");
    place.balance();
}

#[test]
fn stats_show_who_works_and_who_sleeps() {
    let place = Place::of_this_test();
    place.start("sleeps", &[], "");
    place.start("works", &[], "while true; do :; done & :");
    let all: serde_json::Value = serde_json::from_str(&place.say(&["stats", "--format", "json"])).unwrap();
    let of = |name: &str| all.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone();
    let percent = |name: &str| of(name)["cpu_percent"].as_f64().unwrap();
    // The machine may be busy with something else, too.
    assert!(percent("works") > 1.0 && percent("sleeps") < 1.0, "{all}");
    assert_eq!((of("sleeps")["pids"].as_u64(), of("works")["pids"].as_u64()), (Some(1), Some(2)), "{all}");
    assert!(of("works")["memory"].as_u64().unwrap() > 10_000, "{all}");
    let table = place.say(&["stats", "works"]);
    assert!(table.contains("works") && !table.contains("sleeps") && !table.contains('\x1b'), "{table}");
    place.balance();
}

#[test]
fn a_limit_shows_in_stats() {
    let place = Place::of_this_test();
    if !place.output(&["run", "-m", "64m", "busybox", "true"]).status.success() {
        lab::skip_this("no memory controller to be had");
        return place.balance();
    }
    place.start("it", &["-m", "64m", "--pids-limit", "50"], "");
    let all: serde_json::Value =
        serde_json::from_str(&place.say(&["stats", "--format", "json", "it"])).unwrap();
    assert_eq!((all[0]["memory_limit"].as_u64(), all[0]["pids_limit"].as_u64()), (Some(64 << 20), Some(50)));
    place.balance();
}

#[test]
fn a_renamed_container_is_found_by_its_new_name_alone() {
    let place = Place::of_this_test();
    let id = place.start("old", &[], "");
    place.say(&["rename", "old", "new"]);
    assert!(place.fails(&["logs", "old"]).contains("no container \"old\""));
    assert!(place.say(&["logs", "new"]).contains("ready"));
    assert!(place.fails(&["rename", "new", "new"]).contains("in use"));
    assert!(place.fails(&["rename", "new", "a/b"]).contains("is no name for a container"));
    place.start("old", &[], "");
    assert!(place.fails(&["rename", "old", "new"]).contains(&format!("in use by container {id}")));
    place.end("new");
    place.say(&["rename", &id, "ended"]);
    assert_eq!(place.state("ended"), "exited");
    place.say(&["rm", "ended"]);
    assert_eq!(place.state("ended"), "none");
    place.balance();
}

#[test]
fn an_image_that_a_kept_container_uses_stays() {
    let place = Place::of_this_test();
    place.start("it", &[], "");
    assert!(place.fails(&["rmi", "busybox"]).contains("used by container it"));
    place.end("it");
    assert!(place.fails(&["rmi", "busybox"]).contains("used by container it: rubber rm it first"));
    // The name may come to mean another image: the container's layers stay.
    let again = place.host.join("again");
    fs::create_dir_all(again.join("bin")).unwrap();
    place.say(&["import", again.to_str().unwrap(), "busybox"]);
    if !lab::on_overlay() {
        place.say(&["cp", "it:/etc/passwd", "passwd"]);
        assert!(place.read("passwd").contains("root"));
    }
    place.say(&["rm", "it"]);
    place.say(&["rmi", "busybox"]);
    place.balance();
}

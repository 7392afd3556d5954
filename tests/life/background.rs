//! `-d`: it starts or fails before the caller goes on, is known by its name, ends, and is kept until `rm`.

use super::*;

#[test]
fn a_container_in_the_background_lives_until_it_is_removed() {
    let place = Place::new("background");
    let id = place.say(&["run", "-d", "--name", "box", "busybox", "sh", "-c", "echo out; exec sleep 1000"]);
    assert_eq!(id.len(), 12);
    let listed = place.list();
    assert_eq!(
        (listed.len(), &listed[0]["id"], &listed[0]["state"]),
        (1, &id.clone().into(), &"running".into())
    );
    let pid = listed[0]["pid"].as_i64().unwrap();
    let told = || std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    wait_until("the sleep", || told() == "sleep\x001000\0");
    assert!(place.fails(&["rm", "box"], 125).contains("still runs: rubber stop box"));
    // Its first process has no handler for TERM, and that is what is told.
    let stopped = place.run(&["stop", "-t", "1", "box"]);
    assert_eq!((code(&stopped), text(&stopped.stdout).trim()), (0, "box"));
    assert!(text(&stopped.stderr).contains("no handler for SIGTERM"), "{stopped:?}");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(place.list()[0]["exit_code"], 137);
    assert_eq!(place.say(&["ps"]).lines().count(), 1, "only the head of the table");
    assert_eq!(place.say(&["wait", &id[..4]]), "137");
    assert_eq!(place.say(&["rm", "box"]), "box");
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn a_command_that_cannot_run_is_an_error_of_the_caller() {
    let place = Place::new("cannot");
    assert!(place.fails(&["run", "-d", "busybox", "nosuch"], 127).contains("not found"));
    assert!(place.fails(&["run", "-d", "busybox", "/etc"], 126).contains("directory"));
    assert!(place.fails(&["run", "-d", "-m", "1x", "busybox", "true"], 125).contains("1x"));
    assert_eq!(place.left(), [""; 0]);
}

#[test]
fn an_end_is_told_by_its_exit_code() {
    let place = Place::new("codes");
    place.say(&["run", "-d", "--name", "seven", "busybox", "sh", "-c", "exit 7"]);
    place.say(&["run", "-d", "--name", "nine", "--init", "busybox", "sh", "-c", "kill -9 $$"]);
    assert_eq!(place.say(&["wait", "seven", "nine"]), "7\n137");
    place.say(&["run", "-d", "--name", "tidy", "--init", "busybox", "sleep", "1000"]);
    let begin = Instant::now();
    assert_eq!(place.say(&["stop", "tidy"]), "tidy");
    assert!(begin.elapsed() < Duration::from_secs(9), "an init passes TERM on");
    assert_eq!(place.say(&["wait", "tidy"]), "143");
    place.say(&[
        "run",
        "-d",
        "--name",
        "usr",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 5' USR1; while :; do sleep 0.05; done",
    ]);
    // Until it has its handler, the kernel drops what is sent to it.
    wait_until("the trap", || {
        place.run(&["kill", "-s", "USR1", "usr"]);
        place.list().iter().any(|about| about["name"] == "usr" && about["state"] == "exited")
    });
    assert_eq!(place.say(&["wait", "usr"]), "5");
}

#[test]
fn with_rm_nothing_stays() {
    let place = Place::new("rm");
    place.say(&["run", "-d", "--rm", "--name", "gone", "busybox", "true"]);
    wait_until("the end", || place.left().is_empty());
    place.say(&["run", "-d", "--rm", "--name", "kept", "busybox", "sleep", "1000"]);
    assert_eq!(place.say(&["rm", "-f", "kept"]), "kept");
    assert_eq!(place.left(), [""; 0]);
    assert_eq!(place.say(&["rm", "-f", "never-was"]), "");
}

#[test]
fn names_are_unique_plain_and_guessed_at() {
    let place = Place::new("names");
    place.say(&["run", "--name", "one", "busybox", "true"]);
    assert!(place.fails(&["run", "--name", "one", "busybox", "true"], 125).contains("in use by container"));
    for bad in ["-x", "a/b", "", "ä", "a b"] {
        let said = place.fails(&["run", &format!("--name={bad}"), "busybox", "true"], 125);
        assert!(said.contains("is no name"), "{bad:?}: {said}");
    }
    assert!(place.fails(&["logs", "onne"], 125).contains("did you mean one?"));
    assert!(place.fails(&["logs", "noe"], 125).contains("did you mean one?"));
    assert!(place.fails(&["logs", ""], 125).contains("no container"));
    let id = place.say(&["ps", "-aq"]);
    assert_eq!(place.inspect(&id[..3])["name"], "one");
    assert_eq!(place.list()[0]["state"], "exited");
}

#[test]
fn the_record_is_all_that_was_asked_for() {
    let place = Place::new("record");
    let file = place.file("../cid");
    let _ = std::fs::remove_file(&file);
    let words = ["run", "-d", "--name", "box", "-e", "A=b", "-l", "k=v", "--stop-signal", "USR1"];
    let more = ["--cidfile", file.to_str().unwrap(), "busybox", "sleep", "1000"];
    let id = place.say(&[&words[..], &more].concat());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), id);
    let about = place.inspect("box");
    assert_eq!(about["config"]["command"], serde_json::json!(["sleep", "1000"]));
    assert!(about["config"]["env"].as_array().unwrap().contains(&"A=b".into()));
    assert_eq!(
        (&about["labels"]["k"], &about["stop"]["signal"]),
        (&serde_json::json!("v"), &serde_json::json!(10))
    );
    assert_eq!(about["kernel"]["hostname"], serde_json::json!(id));
    assert!(
        place
            .fails(&["run", "--cidfile", file.to_str().unwrap(), "busybox", "true"], 125)
            .contains("--cidfile")
    );
    assert!(place.fails(&["run", "--stop-signal", "NOPE", "busybox", "true"], 125).contains("is no signal"));
    std::fs::remove_file(&file).unwrap();
}

/// Nothing of who started it is held: a pipe to it ends when `run -d` has.
#[test]
fn the_caller_is_let_go_of() {
    let place = Place::new("let-go");
    let begin = Instant::now();
    let script =
        format!("{} --root {} run -d --name box busybox sleep 1000 | cat", lab::RUBBER, place.root.display());
    let output = Command::new("timeout").args(["60", "sh", "-c", &script]).output().unwrap();
    assert!(output.status.success() && begin.elapsed() < Duration::from_secs(50), "{output:?}");
    let pid = place.list()[0]["pid"].as_i64().unwrap();
    let parent = supervisor(pid as i32);
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap();
    assert_eq!(name.trim(), "rubber:box");
    assert_eq!(std::fs::read_dir(format!("/proc/{parent}/task")).unwrap().count(), 1, "no threads");
    assert_eq!(std::fs::read_link(format!("/proc/{parent}/cwd")).unwrap(), PathBuf::from("/"));
    for fd in 0..3 {
        assert_eq!(
            std::fs::read_link(format!("/proc/{parent}/fd/{fd}")).unwrap(),
            PathBuf::from("/dev/null")
        );
    }
}

/// Whoever only waits has given back the pages that made the container; and serves as before when it goes on.
#[test]
fn a_supervisor_that_waits_takes_less_than_a_mebibyte() {
    let place = Place::new("idle");
    place.say(&[
        "run",
        "-d",
        "-i",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "while read word; do echo got $word; done",
    ]);
    let pid = place.list()[0]["pid"].as_i64().unwrap() as i32;
    let supervisor = supervisor(pid);
    for turn in ["one", "two"] {
        wait_until("the giving back", || lab::share_of_memory(supervisor) < 1024);
        let mut attach = place.rubber(&["attach", "box"]);
        let mut attach = attach.stdin(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(attach.stdin.as_mut().unwrap(), format!("{turn}\n").as_bytes()).unwrap();
        wait_until("the answer", || place.say(&["logs", "box"]).contains(&format!("got {turn}")));
        let _ = attach.kill();
        attach.wait().unwrap();
    }
    wait_until("the giving back after some work", || lab::share_of_memory(supervisor) < 1024);
}

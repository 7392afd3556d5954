//! The life in two steps, when somebody on the way is gone, hangs, or comes twice: each has its outcome, and leaves
//! nothing.

use crate::{
    bundle::{Bundle, bundle},
    lab,
};
use nix::{
    sys::stat::Mode,
    unistd::{Pid, mkfifo},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::{Child, Stdio},
    thread::sleep,
    time::Duration,
};

/// A hook that waits until somebody writes into a fifo, and says that it is there by a file.
fn hanging(bundle: &Bundle) -> (Value, PathBuf) {
    let (fifo, there) = (bundle.dir.join("fifo"), bundle.dir.join("there"));
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let script = format!("echo $$ >{}; read -r go <{}", there.display(), fifo.display());
    (json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]), there)
}

fn spawn(bundle: &Bundle, words: &[&str]) -> Child {
    bundle.rubber(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn is_there(pid: &str) -> bool {
    PathBuf::from(format!("/proc/{}/stat", pid.trim())).exists()
}

/// spec: runtime.md, Create
#[test]
fn a_create_that_waits_for_a_hook_is_creating_until_it_goes_on() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    let (hook, there) = hanging(&bundle);
    bundle.edit(|config| config["hooks"]["createRuntime"] = hook);
    let mut create = spawn(&bundle, &["create", "c"]);
    bundle.wait_for("the hook", || there.exists());
    assert_eq!(bundle.state("c")["status"], "creating");
    assert!(bundle.fails(&["start", "c"]).contains("is not made yet"));
    assert!(bundle.fails(&["delete", "c"]).contains("while it is made"));
    assert!(bundle.fails(&["create", "c"]).contains("already exists"));
    fs::OpenOptions::new().write(true).open(bundle.dir.join("fifo")).unwrap().write_all(b"go\n").unwrap();
    assert!(create.wait().unwrap().success());
    assert_eq!(bundle.state("c")["status"], "created");
    bundle.ok(&["delete", "c"]);
    bundle.nothing_is_left("c");
}

#[test]
fn a_client_killed_while_its_hook_hangs_takes_the_hook_along() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    let (hook, there) = hanging(&bundle);
    bundle.edit(|config| config["hooks"]["prestart"] = hook);
    let mut create = spawn(&bundle, &["create", "c"]);
    bundle.wait_for("the hook", || fs::read_to_string(&there).is_ok_and(|text| text.ends_with('\n')));
    let hook = fs::read_to_string(&there).unwrap();
    create.kill().unwrap();
    create.wait().unwrap();
    bundle.wait_for("the hook's end", || !is_there(&hook));
    bundle.wait_for("the first process's end", || bundle.state("c")["status"] == "stopped");
    bundle.ok(&["delete", "--force", "c"]);
    bundle.nothing_is_left("c");
}

/// spec: runtime.md, Start
#[test]
fn of_two_starts_one_is_told_that_it_came_second() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    bundle.ok(&["create", "c"]);
    let mut starts: Vec<_> = (0..6).map(|_| spawn(&bundle, &["start", "c"])).collect();
    let good = starts.iter_mut().filter_map(|start| start.wait().ok());
    assert_eq!(good.filter(std::process::ExitStatus::success).count(), 1);
    assert_eq!(bundle.state("c")["status"], "running");
}

#[test]
fn a_start_whose_client_is_killed_goes_on() {
    let bundle = bundle!();
    fs::create_dir_all(bundle.root().join("tmp")).unwrap();
    mkfifo(&bundle.root().join("fifo"), Mode::S_IRWXU).unwrap();
    bundle.command("echo ran >/witness; sleep 60");
    let script = "echo there >/there; read -r go </fifo";
    bundle.edit(|config| {
        config["hooks"]["startContainer"] = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    });
    bundle.ok(&["create", "c"]);
    let mut start = spawn(&bundle, &["start", "c"]);
    bundle.wait_for("the hook", || bundle.root().join("there").exists());
    start.kill().unwrap();
    start.wait().unwrap();
    assert_eq!(bundle.state("c")["status"], "created");
    let second = spawn(&bundle, &["start", "c"]);
    sleep(Duration::from_millis(200));
    let fifo = bundle.root().join("fifo");
    fs::OpenOptions::new().write(true).open(fifo).unwrap().write_all(b"go\n").unwrap();
    bundle.wait_for("the command", || bundle.root().join("witness").exists());
    let outcome = second.wait_with_output().unwrap();
    assert!(!outcome.status.success(), "what it waited for was another's");
    bundle.ok(&["delete", "--force", "c"]);
    bundle.nothing_is_left("c");
}

#[test]
fn what_is_killed_before_the_start_is_stopped() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    bundle.ok(&["create", "c"]);
    let pid = bundle.state("c")["pid"].as_i64().unwrap();
    nix::sys::signal::kill(Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL).unwrap();
    bundle.wait_for("its end", || bundle.state("c")["status"] == "stopped");
    assert!(bundle.fails(&["start", "c"]).contains("has stopped"));
    bundle.ok(&["delete", "c"]);
    bundle.nothing_is_left("c");
}

/// spec: runtime.md, Delete
#[test]
fn a_bundle_may_be_gone_before_the_start_and_before_the_end() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    bundle.ok(&["create", "c"]);
    fs::remove_file(bundle.dir.join("config.json")).unwrap();
    bundle.ok(&["start", "c"]);
    let state = bundle.state("c");
    assert_eq!(state["status"], "running");
    let command = format!("/proc/{}/comm", state["pid"]);
    bundle.wait_for("its command", || fs::read_to_string(&command).is_ok_and(|name| name == "sleep\n"));
    fs::remove_dir_all(bundle.root()).unwrap();
    assert!(bundle.fails(&["delete", "c"]).contains("that is not stopped"));
    bundle.ok(&["kill", "c", "KILL"]);
    bundle.wait_for("its end", || bundle.state("c")["status"] == "stopped");
    bundle.ok(&["delete", "c"]);
    bundle.nothing_is_left("c");
}

#[test]
fn of_two_creates_with_one_id_one_is_refused() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    let mut creates: Vec<_> = (0..5).map(|_| spawn(&bundle, &["create", "c"])).collect();
    let good = creates.iter_mut().filter_map(|create| create.wait().ok());
    assert_eq!(good.filter(std::process::ExitStatus::success).count(), 1);
    assert_eq!(bundle.state("c")["status"], "created");
    bundle.ok(&["delete", "c"]);
    bundle.nothing_is_left("c");
}

#[test]
fn a_killed_exec_leaves_the_container_as_it_was() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    bundle.ok(&["run", "--detach", "c"]);
    let mut exec = spawn(&bundle, &["exec", "c", "sh", "-c", "touch /inside; sleep 50"]);
    bundle.wait_for("the other command", || bundle.root().join("inside").exists());
    exec.kill().unwrap();
    exec.wait().unwrap();
    assert_eq!(bundle.state("c")["status"], "running");
    bundle.ok(&["kill", "c", "KILL"]);
    bundle.wait_for("the end of both", || bundle.state("c")["status"] == "stopped");
    bundle.ok(&["delete", "c"]);
    bundle.nothing_is_left("c");
}

/// spec: config.md, POSIX-platform Hooks
#[test]
fn hooks_that_hang_or_fail_at_each_moment() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    let sleep = json!([{ "path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1 }]);
    for moment in ["prestart", "createRuntime", "createContainer"] {
        bundle.edit(|config| config["hooks"] = json!({ moment: sleep }));
        let error = bundle.fails(&["create", "c"]);
        assert!(error.contains("it did not end in 1 s"), "{moment}: {error}");
        bundle.nothing_is_left("c");
    }
    bundle.edit(|config| config["hooks"] = json!({ "startContainer": sleep }));
    bundle.ok(&["create", "c"]);
    assert!(bundle.fails(&["start", "c"]).contains("it did not end in 1 s"));
    bundle.ok(&["delete", "--force", "c"]);
    // What hangs or fails behind the end is told, and does not keep the rest.
    let two = json!([sleep[0], { "path": "/bin/sh", "args": ["sh", "-c", format!("echo ran >{}/last", bundle.dir.display())] }]);
    bundle.edit(|config| config["hooks"] = json!({ "poststop": two }));
    bundle.ok(&["create", "c"]);
    bundle.ok(&["delete", "--force", "c"]);
    assert!(bundle.dir.join("last").exists());
    bundle.nothing_is_left("c");
}

/// buildah does: it looks at the state as soon as the start has returned, and deletes when the output has its end.
///
/// spec: runtime.md, Start
#[test]
fn who_comes_at_once_finds_it_started_and_may_delete_it_when_its_output_ends() {
    let bundle = bundle!();
    bundle.command("echo said");
    for _ in 0..if lab::few() { 5 } else { 40 } {
        let mut create = bundle.rubber(&["create", "c"]).stdout(Stdio::piped()).spawn().unwrap();
        assert!(create.wait().unwrap().success());
        bundle.ok(&["start", "c"]);
        let status = bundle.state("c")["status"].clone();
        assert!(status == "running" || status == "stopped", "{status}");
        let mut said = String::new();
        create.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "said\n");
        bundle.ok(&["delete", "c"]);
        bundle.nothing_is_left("c");
    }
}

/// The first group cannot be removed while something is mounted there, as this command alone sees it.
#[test]
fn a_group_that_cannot_be_removed_keeps_no_other() {
    let bundle = bundle!();
    bundle.command("true");
    bundle.ok(&["create", "c"]);
    bundle.ok(&["start", "c"]);
    bundle.wait_for("its end", || bundle.state("c")["status"] == "stopped");
    let record: Value =
        serde_json::from_slice(&fs::read(bundle.dir.join("states/c/record")).unwrap()).unwrap();
    let groups = record["groups"].as_array().unwrap().iter().map(|group| group["dir"].as_str().unwrap());
    let groups: Vec<_> = groups.map(PathBuf::from).filter(|dir| dir.exists()).collect();
    for stuck in [&groups[0], &groups[groups.len() - 1]] {
        let script = "mount --bind \"$1\" \"$1\" && shift && exec \"$@\"";
        let mut delete = std::process::Command::new("unshare");
        delete.args(["-m", "sh", "-c", script, "sh"]).arg(stuck).arg(bundle.dir.join("rubber-oci"));
        delete.arg("--root").arg(bundle.dir.join("states")).args(["delete", "c"]);
        let output = delete.output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        let said = lab::text(&output.stderr);
        assert!(said.contains(&*stuck.to_string_lossy()), "{said}");
        let left: Vec<_> = groups.iter().filter(|dir| dir.exists()).collect();
        assert_eq!(left, [stuck], "{said}");
        assert_eq!(bundle.state("c")["status"], "stopped", "it stays known");
        for dir in &groups {
            let _ = fs::create_dir(dir);
        }
    }
    bundle.ok(&["delete", "c"]);
    bundle.nothing_is_left("c");
}

/// As with runc: who would have started it is gone, and a start may come all the same. So it waits, without end, and
/// whatever ends a container ends it.
/// spec: runtime.md, Create
#[test]
fn created_and_never_started_it_waits_until_it_is_deleted() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    for words in [&["delete", "c"][..], &["delete", "--force", "c"], &["kill", "c", "KILL"]] {
        let mut starter = std::process::Command::new("sh");
        starter.args(["-c", "\"$@\" && echo made && read never", "sh"]);
        let create = bundle.rubber(&["create", "c"]);
        starter.arg(create.get_program()).args(create.get_args()).current_dir(&bundle.dir);
        // What waits has our streams.
        let out = bundle.dir.join("out");
        let mut starter =
            starter.stdin(Stdio::piped()).stdout(fs::File::create(&out).unwrap()).spawn().unwrap();
        bundle.wait_for("a created container", || fs::read_to_string(&out).unwrap() == "made\n");
        starter.kill().unwrap();
        starter.wait().unwrap();
        let pid = bundle.state("c")["pid"].to_string();
        // A pid 1 without a handler sees no such signal.
        bundle.ok(&["kill", "c", "TERM"]);
        sleep(Duration::from_millis(100));
        assert_eq!(bundle.state("c")["status"], "created");
        bundle.ok(words);
        bundle.wait_for("its end", || !is_there(&pid));
        bundle.ok(&["delete", "--force", "c"]);
        bundle.nothing_is_left("c");
    }
}

//! `exec`: in the same container, and no way out of it.

use super::*;
use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

#[test]
fn exec_is_in_the_same_container() {
    let place = Place::new("exec");
    let id = place.say(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let all = "for kind in user mnt uts ipc net pid cgroup; do readlink /proc/self/ns/$kind; done; cat /proc/self/cgroup; \
               grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/self/status; cat /proc/1/comm; ls -di /";
    let first = place.inspect("box");
    let said = place.say(&["exec", "box", "sh", "-c", all]);
    for kind in ["user", "mnt", "uts", "ipc", "net", "pid", "cgroup"] {
        let number = first["kernel"]["ns"][kind].as_u64().unwrap();
        assert!(said.contains(&format!("{kind}:[{number}]")), "{kind}: {said}");
    }
    let status =
        place.say(&["exec", "box", "sh", "-c", "grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/1/status"]);
    assert!(said.contains(&status), "{said}\nand the first: {status}");
    assert!(said.contains("sleep"), "its pid 1 is the container's: {said}");
    assert_eq!(place.say(&["exec", "box", "hostname"]), id);
    assert_eq!(
        place.say(&[
            "exec",
            "-u",
            "1000",
            "-e",
            "A=b",
            "-w",
            "/tmp",
            "box",
            "sh",
            "-c",
            "echo $A $(pwd) $(id -u)"
        ]),
        "b /tmp 1000"
    );
    assert_eq!(code(&place.run(&["exec", "box", "sh", "-c", "exit 42"])), 42);
    assert_eq!(code(&place.run(&["exec", "box", "nosuch"])), 127);
    let told = text(&place.run(&["exec", "--explain", "box", "true"]).stderr);
    assert!(told.contains("setns(") && told.contains("execve("), "{told}");
    place.say(&["exec", "-d", "box", "sh", "-c", "echo was here > /mark; exec sleep 999"]);
    assert_eq!(place.say(&["exec", "box", "cat", "/mark"]), "was here");
    assert!(place.say(&["exec", "box", "ps"]).contains("sleep 999"));
    place.say(&["rm", "-f", "box"]);
    assert!(place.fails(&["exec", "box", "true"], 125).contains("no container"));
    if lab::is_root() {
        let group = std::path::Path::new("/sys/fs/cgroup/memory").join(format!("rubber-{id}"));
        assert!(!group.exists());
    }
}

/// A terminal of its own, with the caller's window.
#[test]
fn exec_has_a_terminal() {
    let place = Place::new("exec-tty");
    place.say(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let mut terminal =
        pty::Terminal::start(&mut place.rubber(&["exec", "-it", "box", "sh", "-c", "tty; read x; exit $x"]));
    terminal.wait_for("/dev/pts/");
    terminal.type_in("6\n");
    assert_eq!(terminal.end().0, 6);
}

/// CVE-2024-21626: a descriptor that leads to the host, and a working directory through it.
#[test]
fn exec_has_no_way_out_through_its_descriptors() {
    let place = Place::new("exec-fds");
    place.say(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let inside = place.say(&["exec", "box", "ls", "-di", "/"]);
    for fd in 3..32 {
        let there = format!("/proc/self/fd/{fd}");
        let output = place.run(&["exec", "-w", &there, "box", "ls", "-di", "."]);
        let same = text(&output.stdout).split_whitespace().next() == inside.split_whitespace().next();
        assert!(same || code(&output) == 125, "{there}: {output:?}");
        // Of a new container nobody knows the numbers beforehand, but where it ends up is its own root or nowhere.
        let output = place.run(&["run", "-w", &there, "busybox", "sh", "-c", "[ . -ef / ]"]);
        assert!([0, 125].contains(&code(&output)), "{there}: {output:?}");
    }
    let fds = place.say(&["exec", "box", "sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"]);
    assert_eq!(fds, "0 1 2 3", "3 is ls's own");
}

/// CVE-2019-5736: whoever gets hold of its program gets hold of a copy that cannot be written to.
#[test]
fn exec_cannot_be_seized_from_inside() {
    if !lab::is_root() {
        return lab::skip_this("who has the same user outside can do all this without a container");
    }
    let place = Place::new("exec-exe");
    place.say(&["run", "-d", "--privileged", "--name", "box", "busybox", "sleep", "1000"]);
    // Nobody but this exec runs from this file: what is being executed could not be written to anyway.
    let newer = place.root.join("newer");
    lab::copy_program(lab::RUBBER, &newer);
    place.say(&["exec", "box", "ln", "-sf", "/proc/self/exe", "/evil"]);
    let mut victim = Command::new(&newer);
    victim
        .arg("--root")
        .arg(&place.root)
        .args(["exec", "-i", "box", "/evil", "--root", "/tmp/s", "import", "-", "x"]);
    let mut victim = quiet(victim.stdin(Stdio::piped())).spawn().unwrap();
    // Takes hold of its program, waits to be told that nobody runs it any more, and writes.
    let script = "until [ -n \"$p\" ]; do for d in /proc/[0-9]*; do \
                  case $(readlink $d/exe) in *newer*|*memfd*|/) p=$d;; esac; done; done; \
                  exec 9<$p/exe; echo held; cat >/dev/null; echo hacked >/proc/self/fd/9 && echo written";
    let mut attack = place.rubber(&["exec", "-i", "--privileged", "box", "sh", "-c", script]);
    let mut attack =
        attack.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    let mut out = BufReader::new(attack.stdout.take().unwrap());
    out.read_line(&mut said).unwrap();
    drop(victim.stdin.take());
    victim.wait().unwrap();
    drop(attack.stdin.take());
    out.read_to_string(&mut said).unwrap();
    attack.wait().unwrap();
    assert_eq!(said, "held\n");
    assert!(std::fs::read(&newer).unwrap() == std::fs::read(lab::RUBBER).unwrap(), "it was written to");
    std::fs::remove_file(&newer).unwrap();
}

fn quiet(command: &mut Command) -> &mut Command {
    command.stdout(Stdio::null()).stderr(Stdio::null())
}

/// CVE-2016-9962: nobody in there may look into it before it is the command.
#[test]
fn exec_hides_before_it_can_be_seen() {
    let place = Place::new("exec-hides");
    place.say(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let told = text(&place.run(&["exec", "--explain", "box", "true"]).stderr);
    let at = |call: &str| told.find(call).unwrap_or_else(|| panic!("no {call}: {told}"));
    assert!(at("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE) = 0") < at("setns("), "{told}");
}

/// The last thing before the command is a fork, and a filter may forbid those: then it comes before the filter.
#[test]
fn exec_goes_in_where_the_filter_forbids_to_fork() {
    let place = Place::new("exec-filter");
    let profile = place.root.join("no-forks.json");
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
        {"names":["clone","clone3","fork","vfork","setsid"],"action":"SCMP_ACT_ERRNO"}]}"#;
    std::fs::write(&profile, text).unwrap();
    let filter = format!("--security-opt=seccomp={}", profile.display());
    for (name, promise) in [("box", &[][..]), ("promised", &["--security-opt=no-new-privileges"])] {
        let run = ["run", "-d", "--name", name, &filter];
        place.say(&[&run[..], promise, &["busybox", "sleep", "1000"]].concat());
        assert_eq!(place.say(&["exec", name, "cat", "/proc/self/comm"]), "cat");
        assert!(place.run(&["exec", name, "sh", "-c", "true | true"]).status.code() != Some(0), "{name}");
    }
}

/// And it has a terminal that it rules over, though the process that opened that has ended.
#[test]
fn exec_leads_the_session_of_its_terminal() {
    let place = Place::new("exec-session");
    place.say(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let script =
        "set -- $(cat /proc/$$/stat); [ $1 = $5 ] && [ $1 = $6 ] && echo leader; echo tty $7; sleep 1000";
    let said = place.run(&["exec", "box", "sh", "-c", &script.replace("sleep 1000", "true")]);
    assert_eq!(text(&said.stdout), "leader\ntty 0\n");
    let mut terminal = pty::Terminal::start(&mut place.rubber(&["exec", "-it", "box", "sh", "-c", script]));
    terminal.wait_for("leader");
    terminal.wait_for("tty 348");
    terminal.type_in("\x03");
    assert_eq!(terminal.end().0, 130, "Ctrl-C is for who has the terminal");
}

/// The command ends with the rubber that was asked for it, though it was forked by another process.
#[test]
fn exec_ends_with_the_rubber_that_was_asked() {
    let place = Place::new("exec-killed");
    place.say(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let mut command = Command::new(lab::RUBBER);
    command.arg("--root").arg(&place.root).args(["exec", "box", "sleep", "777"]);
    let mut rubber = quiet(command.stdin(Stdio::null())).spawn().unwrap();
    let runs = || place.say(&["exec", "box", "ps"]).contains("sleep 777");
    wait_until("the command", runs);
    rubber.kill().unwrap();
    rubber.wait().unwrap();
    wait_until("its end", || !runs());
}

/// A new container has to mount /proc among the processes it joins, with all of root's powers.
#[test]
fn run_does_not_join_processes_that_may_trace_it() {
    if !lab::is_root() {
        return lab::skip_this(
            "nobody may trace what an ordinary user hides: its program is not of their user namespace",
        );
    }
    let place = Place::new("run-traced");
    place.say(&["run", "-d", "--name", "traces", "--cap-add=sys_ptrace", "busybox", "sleep", "1000"]);
    place.say(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    place.say(&["run", "-d", "--name", "all", "--privileged", "busybox", "sleep", "1000"]);
    let told = place.fails(&["run", "--pid=container:traces", "busybox", "true"], 125);
    assert!(told.contains("may trace others") && told.lines().count() == 2, "{told}");
    place.say(&["run", "--pid=container:all", "busybox", "true"]);
    // The other way round is how one container looks into another.
    place.say(&["run", "--pid=container:box", "--cap-add=sys_ptrace", "busybox", "ls", "/proc/1/root/"]);
    place.say(&["exec", "-d", "--cap-add=sys_ptrace", "box", "sleep", "1000"]);
    assert!(
        place.fails(&["run", "--pid=container:box", "busybox", "true"], 125).contains("may trace others")
    );
}

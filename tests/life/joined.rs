//! `exec`: in the same container, and no way out of it.

use super::*;

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
        let output = place.run(&[
            "run",
            "-w",
            &there,
            "busybox",
            "ls",
            "/proc/self/cwd/etc/hostname",
            "/proc/self/cwd/root",
        ]);
        assert_ne!(code(&output), 0, "{there}: {output:?}");
    }
    let fds = place.say(&["exec", "box", "sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"]);
    assert_eq!(fds, "0 1 2 3", "3 is ls's own");
}

/// CVE-2016-9962: while `exec` comes in, nobody in there can look into it.
/// CVE-2019-5736: whoever gets hold of its program gets hold of a copy that cannot be written to.
#[test]
fn exec_cannot_be_seized_from_inside() {
    if !lab::is_root() {
        return lab::skip_this("who has the same user outside can do all this without a container");
    }
    let place = Place::new("exec-exe");
    place.say(&["run", "-d", "--privileged", "--name", "box", "busybox", "sleep", "1000"]);
    // The command is rubber itself, by the link that the kernel keeps to it.
    let there = place.say(&["exec", "box", "/proc/self/exe", "--version"]);
    assert!(there.starts_with("rubber "), "{there}");
    let before = std::fs::read(lab::RUBBER).unwrap();
    let script = "exec 9</proc/self/exe; exec /proc/self/exe facts --format json >/dev/null";
    place.run(&["exec", "box", "sh", "-c", script]);
    // A link in the image, started by exec: a running rubber is open to all in the container from here on.
    place.say(&["exec", "box", "ln", "-s", "/proc/self/exe", "/evil"]);
    let mut victim = place.rubber(&["exec", "-i", "box", "/evil", "learn", "probe"]);
    let mut victim = victim
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let script = "for dir in /proc/[0-9]*; do case $(readlink $dir/exe) in *rubber*) exec 9<$dir/exe; sleep 0.3; \
                  echo hacked > /proc/self/fd/9 && echo written; readlink /proc/self/fd/9;; esac; done";
    let said = place.run(&["exec", "--privileged", "box", "sh", "-c", script]);
    drop(victim.stdin.take());
    let _ = victim.kill();
    let _ = victim.wait();
    assert!(!text(&said.stdout).contains("written"), "{said:?}");
    assert!(std::fs::read(lab::RUBBER).unwrap() == before, "the program on the host was written to");
}

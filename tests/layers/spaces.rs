//! The namespaces of names: uts, pid, net, ipc.

use super::{
    Running,
    lab::{code, run, say, skip, text},
    lab_cannot_run,
};
use nix::sys::signal::Signal;
use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

/// Loudly true where nothing runs at all.
fn cannot(test: &str) -> bool {
    let why = lab_cannot_run();
    why.iter().for_each(|why| skip(test, why));
    why.is_some()
}

#[test]
fn uts_names_the_container_and_not_the_host() {
    if cannot("uts_names_the_container_and_not_the_host") {
        return;
    }
    let before = hostname();
    let id = say(&[], "hostname; echo $HOSTNAME");
    let id: Vec<_> = id.lines().collect();
    assert!(
        id[0] == id[1] && id[0].len() == 12 && id[0].bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{id:?}"
    );
    assert_eq!(say(&["-h", "box.example"], "hostname"), "box.example");
    assert_eq!(say(&["--cap-add", "SYS_ADMIN"], "hostname changed && hostname"), "changed");
    assert_eq!(say(&["--without", "uts", "-h", "box"], "hostname"), before);
    let long = "x".repeat(65);
    let output = run(&["-h", &long], "true");
    assert_eq!(code(&output), 125);
    assert!(text(&output.stderr).contains("a hostname has 1 to 64"), "{output:?}");
    assert_eq!(hostname(), before);
}

#[test]
fn pid_1_is_the_command_and_sees_only_its_own() {
    if cannot("pid_1_is_the_command_and_sees_only_its_own") {
        return;
    }
    // Somebody who would die of it, were it not for the namespace.
    let mut victim = Command::new("sleep").arg("600").spawn().unwrap();
    let script = format!(
        "echo $$; cat /proc/1/comm; ls /proc | grep -c '^[0-9]'; kill -9 {}; echo $?; echo $PPID",
        victim.id()
    );
    let output = run(&[], &script);
    let said = text(&output.stdout);
    let said: Vec<_> = said.lines().collect();
    assert_eq!((said[0], said[1]), ("1", "sh"), "{output:?}");
    // sh, ls, and grep.
    assert!(said[2].parse::<u32>().unwrap() <= 3, "{output:?}");
    assert_eq!((said[3], said[4]), ("1", "0"), "{output:?}");
    assert!(victim.try_wait().unwrap().is_none(), "the host's process was hit");
    let outside = say(&["--without", "pid"], &format!("echo $$; test -d /proc/{} && echo sees", victim.id()));
    assert_ne!(outside.lines().next(), Some("1"));
    assert!(outside.ends_with("sees"), "{outside}");
    victim.kill().unwrap();
    victim.wait().unwrap();
}

#[test]
fn pid_namespace_ends_with_its_first_process() {
    if cannot("pid_namespace_ends_with_its_first_process") {
        return;
    }
    // A mark among the host's command lines; the number is nobody else's sleep.
    let mark = format!("99{}", std::process::id());
    assert_eq!(say(&[], &format!("setsid sleep {mark} & echo started")), "started");
    let begin = Instant::now();
    let is_alive = || {
        let lines = fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .map(|dir| fs::read(dir.path().join("cmdline")).unwrap_or_default());
        lines.into_iter().any(|line| text(&line).contains(&mark))
    };
    while is_alive() {
        assert!(begin.elapsed() < Duration::from_secs(10), "it outlived its container");
    }
}

#[test]
fn init_collects_zombies_and_passes_on_signals_and_the_code() {
    if cannot("init_collects_zombies_and_passes_on_signals_and_the_code") {
        return;
    }
    // Children of a parent that is gone are init's: when the second one is there, the first is collected.
    let script =
        "echo $$; cat /proc/1/comm; (sleep 0 &); sleep 0.3; cat /proc/[0-9]*/stat | grep -c ' Z '; exit 42";
    let output = run(&["--init"], script);
    assert_eq!((code(&output), text(&output.stdout).as_str()), (42, "2\nrubber:pid 1\n0\n"), "{output:?}");
    assert_eq!(code(&run(&["--init"], "kill -USR1 $$")), 128 + 10);
    assert_eq!(code(&run(&["--init"], "kill -40 $$")), 128 + 40);
    // Nobody inside gets at rubber's own file.
    assert_ne!(code(&run(&["--init"], "cat /proc/1/exe >/dev/null")), 0);

    for init in [&[][..], &["--init"]] {
        let script = "trap 'echo got it; exit 9' TERM; echo up; while :; do sleep 0.05; done";
        let mut running = Running::start(init, script);
        running.kill(Signal::SIGTERM);
        let (code, said) = running.end();
        assert_eq!((code, said.trim()), (9, "got it"), "{init:?}");
    }
    // Without a handler: init dies of it as anybody would, pid 1 does not, and is told of.
    let mut running = Running::start(&["--init"], "echo up; exec sleep 600");
    running.kill(Signal::SIGTERM);
    assert_eq!(running.end().0, 143);
    let mut running = Running::start(&[], "echo up; exec sleep 600");
    while !is_sleeping(&running.child.id().to_string()) {}
    running.kill(Signal::SIGTERM);
    // Two of a kind at once would be one.
    std::thread::sleep(Duration::from_millis(300));
    running.kill(Signal::SIGTERM);
    let (code, said) = running.end();
    assert_eq!(code, 137, "{said}");
    assert!(said.contains("pid 1 without a handler for SIGTERM") && said.contains("--init"), "{said}");
}

/// Whether some child of `pid`, or a child of its own, has become `sleep`.
fn is_sleeping(pid: &str) -> bool {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let comm = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    children.split_whitespace().any(|child| comm(child).trim() == "sleep" || is_sleeping(child))
}

#[test]
fn net_has_a_loopback_that_works_and_nothing_else() {
    if cannot("net_has_a_loopback_that_works_and_nothing_else") {
        return;
    }
    let script = "ls /sys/class/net; cat /sys/class/net/lo/flags; grep -c . /proc/net/route; ping -c 1 -w 5 127.0.0.1 | grep -c 'bytes from'";
    // Up and loopback (and running, which operstate shows), no routes but the heading.
    let said = say(&["--privileged"], script);
    let said: Vec<_> = said.lines().collect();
    assert_eq!(said[0], "lo");
    assert_eq!(u32::from_str_radix(said[1].trim_start_matches("0x"), 16).unwrap() & 0x9, 0x9, "{said:?}");
    assert_eq!(said[2..], ["1", "1"], "{said:?}");
    let mut hosts: Vec<_> = fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|link| link.unwrap().file_name().into_string().unwrap())
        .collect();
    hosts.sort();
    assert_eq!(say(&["--without", "net"], "ls /sys/class/net").lines().collect::<Vec<_>>(), hosts);
}

#[test]
fn ipc_queues_and_segments_are_its_own() {
    if cannot("ipc_queues_and_segments_are_its_own") {
        return;
    }
    // A queue of the host's, by name: seen without the layer, and not with it.
    let script = "grep mqueue /proc/mounts | cut -d' ' -f2,3; ls /dev/mqueue 2>/dev/null | wc -l; readlink /proc/self/ns/ipc";
    let (on, off) = (say(&[], script), say(&["--without", "ipc"], script));
    let own = fs::read_link("/proc/self/ns/ipc").unwrap().display().to_string();
    assert!(on.starts_with("/dev/mqueue mqueue\n0\n") && !on.contains(&own), "{on}");
    assert_eq!(off, format!("0\n{own}"), "no mqueue of the host's: {off}");
    let made = Command::new("ipcmk").arg("-Q").stderr(Stdio::null()).output();
    let Some(made) = made.ok().filter(|made| made.status.success()) else {
        return skip("ipc_queues_and_segments_are_its_own", "no ipcmk here to make a queue with");
    };
    let made = text(&made.stdout);
    let id = made.split_whitespace().last().unwrap();
    let queues = |flags: &[&str]| say(flags, "tail -n +2 /proc/sysvipc/msg | wc -l").parse::<u32>().unwrap();
    let (inside, outside) = (queues(&[]), queues(&["--without", "ipc"]));
    Command::new("ipcrm").args(["-q", id]).status().unwrap();
    assert!(inside == 0 && outside > 0, "{inside} {outside}");
}

#[test]
fn ipc_hides_where_the_cgroup_is() {
    if cannot("ipc_hides_where_the_cgroup_is") {
        return;
    }
    let inside = say(&[], "cat /proc/self/cgroup");
    assert!(inside.lines().all(|line| line.ends_with(":/")), "{inside}");
    if super::limits::layers_with_groups().is_empty() {
        return skip("ipc_hides_where_the_cgroup_is", "no cgroup here that is ours to divide");
    }
    let outside = say(&["--without", "ipc"], "cat /proc/self/cgroup; echo $HOSTNAME");
    let id = outside.lines().last().unwrap();
    assert!(outside.contains(&format!("/rubber-{id}\n")), "{outside}");
}

//! Ends that leave nothing, whatever was made.

use super::*;

#[test]
fn an_end_however_sad_leaves_nothing_without_clean() {
    let _turn = alone();
    let before = lab::ledger();
    let ends: &[(&[&str], i32)] = &[
        (&["busybox", "true"], 0),
        (&["busybox", "false"], 1),
        (&["busybox", "nosuch"], 127),
        (&["busybox", "/etc"], 126),
        (&["busybox", "sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
        (&["busybox", "sh", "-c", "sleep 300 & sleep 300 & exit 3"], 3),
        (&["--user", "nosuch", "busybox", "true"], 125),
        (&["--user", "0:nosuch", "busybox", "true"], 125),
        (&["--workdir", "/etc/passwd", "busybox", "true"], 125),
        (
            &[
                "--hostname",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "busybox",
                "true",
            ],
            125,
        ),
        (&["--cpuset-cpus", "99999", "busybox", "true"], 125),
        (&["--rootfs", "/nosuch", "true"], 125),
        (&["--init", "busybox", "nosuch"], 127),
        (&["--without", "pid", "busybox", "nosuch"], 127),
        (&["--until", "chroot", "busybox", "nosuch"], 127),
        (&["--until", "pivot_root", "busybox", "nosuch"], 127),
        (&["--until", "process", "nosuch-program"], 125),
        (&["--dry-run", "busybox", "true"], 0),
    ];
    for (words, expected) in ends {
        let output = rubber(["run"].iter().chain(*words)).output().unwrap();
        // `--until process` has no image: its first word is one all the same, and so on; the code is checked in exit.rs.
        if !words.contains(&"process") {
            assert_eq!(code(&output), *expected, "{words:?}: {output:?}");
        }
        assert_nothing(&format!("{words:?}"));
    }
    let mut quit = run(&["--step"], "true");
    let mut quit = quit.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    quit.stdin.take().unwrap().write_all(b"\n\n\n\n\n\n\n\nq\n").unwrap();
    assert_eq!(quit.wait().unwrap().code(), Some(0));
    assert_nothing("q at a step");
    assert_balanced(&before);
}

#[test]
fn an_oom_kill_leaves_nothing() {
    let _turn = alone();
    if limits().is_empty() {
        return lab::skip("an_oom_kill_leaves_nothing", "no memory controller to be had");
    }
    // tail keeps what it reads until a newline comes, and none ever does.
    let output = run(&["-m", "12m", "--memory-swap", "12m"], "tail /dev/zero").output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(code(&output), 137, "{output:?}");
    assert!(said.contains("out of memory") && said.contains("12 MiB"), "{said}");
    assert_nothing("out of memory");
}

/// Shapes that are hard to remove, as their owner can make them.
const HARD: &[(&str, &str)] = &[
    ("5,000 deep", "d=d; i=0; while [ $i -lt 99 ]; do d=$d/d; i=$((i+1)); done
                    i=0; while [ $i -lt 50 ]; do mkdir -p $d && cd -P $d || exit 9; i=$((i+1)); done; touch bottom"),
    ("mode 000", "mkdir -p a/b/c; touch a/b/c/f; chmod 000 a/b/c a/b a"),
    ("read-only", "mkdir -p a/b/c; touch a/b/c/f; chmod 444 a/b/c/f; chmod 500 a/b/c a/b a"),
    ("10,000 files", "mkdir many; cd many; seq 10000 | xargs touch"),
    ("links", "ln -s / root; ln -s .. up; ln -s loop loop; mkfifo fifo; touch 'a b' ' ' -- -rf \"$(printf 'n\\nl')\""),
    ("deleted image", "rm -rf /bin/* /var; mkdir /var"),
    ("a name of 255 bytes", "n=$(printf %0255d 1); mkdir $n; touch $n/$n"),
    ("attributes", "touch f; busybox chattr +i f; busybox chattr +a f; true"),
];

#[test]
fn hard_to_remove_trees_are_removed() {
    let _turn = alone();
    for (name, script) in HARD {
        for flags in [&[][..], &["--until", "chroot"]] {
            let output = run(flags, &format!("cd /home && {script}")).output().unwrap();
            assert!(output.status.success(), "{name} {flags:?}: {output:?}");
            assert_nothing(&format!("{name} {flags:?}"));
        }
        let dead = dead_container(&format!("( cd /home && {script} )"));
        if *name != "deleted image" {
            assert_eq!(text(&clean().stdout), format!("removed container {dead}\n"), "{name}");
        }
        clean();
        assert_nothing(name);
    }
}

#[test]
fn files_of_another_user_inside_are_removed() {
    let _turn = alone();
    let script = "mkdir -m 700 /tmp/mine; mkdir -m 500 /tmp/mine/b; touch /tmp/mine/f; exit 4";
    let output = run(&["--user", "guest"], script).output().unwrap();
    if code(&output) == 125 && text(&output.stderr).contains("not mapped") {
        return lab::skip(
            "files_of_another_user_inside_are_removed",
            "one id only: there is no other user inside",
        );
    }
    assert_eq!(code(&output), 4, "{output:?}");
    assert_nothing("--user guest");
    let id = dead_container("su guest -s /bin/sh -c 'mkdir -m 700 /tmp/mine; touch /tmp/mine/f'");
    assert_eq!(text(&clean().stdout), format!("removed container {id}\n"));
    assert_nothing("what guest had made");
}

/// Groups that a container has made below its own, in trees it may write to: some with processes, some deeper than any
/// path is long.
#[test]
fn groups_made_inside_are_removed() {
    let _turn = alone();
    if limits().is_empty() || !is_root() {
        return lab::skip_this("it takes groups of its own, and root to write in them");
    }
    let before = lab::ledger();
    let wide = "for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do
            [ -f $tree/cgroup.procs ] && mkdir -p $tree/a/b/c $tree/a/d $tree/e && : >/made
        done
        [ -e /made ]";
    // Twice as far as one path goes.
    let long = "a_group/".repeat(480);
    let deep = format!(
        "cd /sys/fs/cgroup; [ -d pids ] && cd pids
        mkdir -p {long} && cd {long} && mkdir -p {long}"
    );
    let busy = "for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do
            [ -f $tree/cgroup.procs ] || continue
            mkdir -p $tree/a/b && { sleep 300 & } && echo $! >$tree/a/b/cgroup.procs && : >/made
        done
        [ -e /made ]";
    for (flags, script) in [
        (vec!["--privileged"], wide),
        (vec!["--privileged"], &deep),
        (vec!["--privileged"], busy),
        (vec!["--privileged", "--without", "pid"], busy),
    ] {
        let begin = Instant::now();
        let output = run(&flags, script).output().unwrap();
        assert!(output.status.success(), "{flags:?} {script}: {output:?}");
        assert_nothing(script);
        assert_balanced(&before);
        // What is in the way goes at once: it is not waited for.
        assert!(begin.elapsed() < Duration::from_secs(10), "{script}: {:?}", begin.elapsed());
    }
    // One whose rubber was killed is swept as well.
    let mut host = Host::start(&mut run(&["--privileged"], &format!("{wide} && exec sleep 300")));
    host.wait_for("sleep");
    host.0.kill().unwrap();
    host.0.wait().unwrap();
    assert_gone("a container that was killed");
    let swept = clean();
    assert!(swept.status.success(), "{swept:?}");
    assert_nothing("swept");
    assert_balanced(&before);
}

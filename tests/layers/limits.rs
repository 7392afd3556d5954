//! How much: cpu, memory, and how many processes, in whichever version of cgroups there is.

use super::{
    Running,
    lab::{code, is_root, run, say, skip, text},
    lab_cannot_run,
};
use nix::unistd::{AccessFlags, access};
use std::{
    fs,
    path::{Path, PathBuf},
};

const ROOT: &str = "/sys/fs/cgroup";

/// The layers for which this user gets a cgroup here, by what the host's trees look like.
pub fn layers_with_groups() -> &'static [&'static str] {
    let may_divide = |dir: &Path| {
        access(dir, AccessFlags::W_OK).is_ok() && access(&dir.join("cgroup.procs"), AccessFlags::W_OK).is_ok()
    };
    let is_ours = match is_v2() {
        true => {
            let own = fs::read_to_string("/proc/self/cgroup").unwrap();
            let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default().to_owned();
            may_divide(Path::new(ROOT)) || !own.is_empty() && may_divide(&Path::new(ROOT).join(own))
        }
        false => {
            ["cpu", "memory", "pids", "cpuset"].iter().all(|tree| may_divide(&Path::new(ROOT).join(tree)))
        }
    };
    if is_ours { &["cpu", "memory"] } else { &[] }
}

/// Loudly true where there is nothing to limit with.
fn cannot(test: &str) -> bool {
    match lab_cannot_run() {
        Some(why) => skip(test, &why),
        None if layers_with_groups().is_empty() => skip(test, "no cgroup here that is ours to divide"),
        None => return false,
    }
    true
}

pub fn is_v2() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// A file of the container's in the tree of `controller`; `cgroup` is its /proc/self/cgroup as the host sees it.
fn file(cgroup: &[String], controller: &str, name: &str) -> PathBuf {
    let path = cgroup.iter().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (names, path) = rest.split_once(':')?;
        (if is_v2() { names.is_empty() } else { names.split(',').any(|name| name == controller) })
            .then_some(path)
    });
    let tree = if is_v2() { PathBuf::from(ROOT) } else { Path::new(ROOT).join(controller) };
    tree.join(path.unwrap_or_else(|| panic!("no {controller} in {cgroup:?}")).trim_start_matches('/'))
        .join(name)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
}

#[test]
fn cpu_and_memory_files_hold_what_was_asked_for() {
    if cannot("cpu_and_memory_files_hold_what_was_asked_for") {
        return;
    }
    let flags = [
        "--without",
        "ipc",
        "-m",
        "64m",
        "--memory-swap",
        "96m",
        "--memory-reservation",
        "32M",
        "--cpus",
        "0.5",
        "-c",
        "512",
        "--cpuset-cpus",
        "0",
        "--pids-limit",
        "77",
    ];
    let mut running = Running::start(&flags, "cat /proc/self/cgroup; echo up; cat");
    let groups = running.said.clone();
    let expected: &[(&str, &str, &str)] = match is_v2() {
        false => &[
            ("memory", "memory.limit_in_bytes", "67108864"),
            ("memory", "memory.memsw.limit_in_bytes", "100663296"),
            ("memory", "memory.soft_limit_in_bytes", "33554432"),
            ("cpu", "cpu.cfs_quota_us", "50000"),
            ("cpu", "cpu.cfs_period_us", "100000"),
            ("cpu", "cpu.shares", "512"),
            ("cpuset", "cpuset.cpus", "0"),
            ("pids", "pids.max", "77"),
        ],
        true => &[
            ("memory", "memory.max", "67108864"),
            ("memory", "memory.swap.max", "33554432"),
            ("memory", "memory.low", "33554432"),
            ("cpu", "cpu.max", "50000 100000"),
            // 1 + (512 - 2) * 9999 / 262142
            ("cpu", "cpu.weight", "20"),
            ("cpuset", "cpuset.cpus", "0"),
            ("pids", "pids.max", "77"),
        ],
    };
    for (controller, name, value) in expected {
        let file = file(&groups, controller, name);
        // A kernel may count no swap: with a sum asked for, that was an error before we came here.
        assert_eq!(read(&file), *value, "{}", file.display());
    }
    // It, its cat, and no more are in there: rubber itself is not.
    let procs = read(&file(&groups, "memory", "cgroup.procs"));
    assert!((1..=2).contains(&procs.lines().count()), "{procs}");
    assert!(!procs.lines().any(|pid| pid == running.child.id().to_string()), "{procs}");
    let dir = file(&groups, "memory", "");
    assert_eq!(running.end().0, 0);
    assert!(!dir.exists(), "{} is left", dir.display());
}

/// To move there, the kernel would hold up every fork on the machine.
#[test]
fn memory_group_of_version_2_is_where_it_is_born() {
    const TEST: &str = "memory_group_of_version_2_is_where_it_is_born";
    if cannot(TEST) {
        return;
    }
    if !is_v2() {
        return skip(TEST, "nobody is born in a group of version 1: clone3(2) knows none");
    }
    let output = run(&["--explain", "--memory", "64m"], "cat /proc/self/cgroup");
    let (told, seen) = (text(&output.stderr), text(&output.stdout));
    assert!(told.contains("clone3({flags=CLONE_INTO_CGROUP"), "{told}");
    assert!(!told.contains("/cgroup.procs"), "{told}");
    // Of its own cgroup namespace, it is the root.
    assert_eq!((code(&output), seen.as_str()), (0, "0::/\n"), "{told}");
}

#[test]
fn memory_and_cpu_groups_are_joined_before_the_command_runs() {
    if cannot("memory_and_cpu_groups_are_joined_before_the_command_runs") {
        return;
    }
    // The first thing the command does is to look; there is no shell in between.
    let output = super::output_of(&mut super::lab::rubber([
        "run",
        "--without",
        "ipc",
        "busybox",
        "cat",
        "/proc/self/cgroup",
    ]));
    let said = text(&output.stdout);
    let ours = said.lines().filter(|line| line.contains("/rubber-")).count();
    // CPU, memory, processes and devices.
    assert_eq!(ours, if is_v2() { 1 } else { 4 }, "{said}");
}

#[test]
fn memory_that_is_not_there_ends_the_command_and_is_told() {
    if cannot("memory_that_is_not_there_ends_the_command_and_is_told") {
        return;
    }
    for init in [&["-m", "16m"][..], &["-m", "16m", "--init"]] {
        let output = run(init, "exec dd if=/dev/zero of=/dev/null bs=128M count=1");
        assert_eq!(code(&output), 137, "{output:?}");
        assert!(
            text(&output.stderr).contains("rubber: killed by the kernel: out of memory (limit 16 MiB)\n"),
            "{output:?}"
        );
    }
    // Who is killed by somebody else has not run out of memory.
    let output = run(&["-m", "16m", "--init"], "kill -9 $$");
    assert_eq!((code(&output), text(&output.stderr).as_str()), (137, ""));
    // What fits, fits.
    assert_eq!(code(&run(&["-m", "64m"], "exec dd if=/dev/zero of=/dev/null bs=16M count=1")), 0);
}

#[test]
fn memory_layer_limits_processes_too() {
    if cannot("memory_layer_limits_processes_too") {
        return;
    }
    // The beginning of a fork bomb, which would go on to 200.
    let script = "n=0; while [ $n -lt 200 ]; do sleep 60 & n=$((n+1)); echo $n; done";
    let output = run(&["--pids-limit", "20"], script);
    let most = text(&output.stdout).lines().last().unwrap_or("0").parse::<u32>().unwrap();
    assert!(most < 20 && text(&output.stderr).contains("can't fork"), "{output:?}");
    // With room for them all come to be, and go with the container.
    let output = run(&["--pids-limit", "-1"], &script.replace("200", "30"));
    assert_eq!(text(&output.stdout).lines().last(), Some("30"), "{output:?}");
}

#[test]
fn cpu_time_is_limited() {
    if cannot("cpu_time_is_limited") {
        return;
    }
    let mut running = Running::start(
        &["--without", "ipc", "--cpus", "0.1"],
        "cat /proc/self/cgroup; echo up; read line; while :; do :; done",
    );
    let stat = file(&running.said, "cpu", "cpu.stat");
    running.write("go\n");
    let throttled = || {
        let text = read(&stat);
        text.lines()
            .find_map(|line| line.strip_prefix("nr_throttled "))
            .unwrap_or("0")
            .parse::<u32>()
            .unwrap()
    };
    let begin = std::time::Instant::now();
    while throttled() < 2 {
        assert!(begin.elapsed().as_secs() < 30, "never throttled: {}", read(&stat));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    running.kill(nix::sys::signal::Signal::SIGKILL);
    running.end();
    // Kill -9 leaves the record and the groups for the next rubber to sweep.
    assert_eq!(say(&[], "echo swept"), "swept");
    assert!(!stat.exists(), "{}", stat.display());
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    for (flags, why) in [
        (&["-m", "1"][..], "at least 6m"),
        (&["-m", "5m"], "at least 6m"),
        (&["-m", "-5"], "not a size"),
        (&["-m", "12x"], "not a size"),
        (&["-m", ""], "not a size"),
        (&["-m", "99999999999999999999"], "not a size"),
        (&["-m", "9999999999g"], "more than any machine has"),
        (&["--memory-swap", "64m"], "needs --memory"),
        (&["-m", "64m", "--memory-swap", "32m"], "cannot be less"),
        (&["--memory-reservation", "x"], "--memory-reservation \"x\""),
        (&["--cpus", "0"], "out of range"),
        (&["--cpus", "-1"], "out of range"),
        (&["--cpus", "nan"], "not a number"),
        (&["--cpus", "1e2"], "not a number"),
        (&["-c", "1"], "2 to 262144"),
        (&["-c", "262145"], "2 to 262144"),
        (&["--cpuset-cpus", "2-1"], "not a list"),
        (&["--cpuset-cpus", "a"], "not a list"),
        (&["--pids-limit", "-2"], "1 to 4194304"),
        (&["--pids-limit", "lots"], "1 to 4194304"),
    ] {
        let output = run(flags, "true");
        let said = text(&output.stderr);
        assert_eq!(code(&output), 125, "{flags:?}: {said}");
        assert!(said.contains(why) && said.lines().count() == 1, "{flags:?}: {said}");
    }
    if !cannot("limits_that_make_no_sense_are_refused") {
        // Known only to the kernel.
        let output = run(&["--cpuset-cpus", "4000"], "true");
        assert!(code(&output) == 125 && text(&output.stderr).contains("cpuset"), "{output:?}");
    }
}

#[test]
fn limits_that_nobody_can_enforce_are_errors_that_name_the_controller() {
    let test = "limits_that_nobody_can_enforce_are_errors_that_name_the_controller";
    let asked = [
        (["-m", "64m"], "memory"),
        (["--cpus", "0.5"], "cpu"),
        (["--pids-limit", "9"], "pids"),
        (["--cpuset-cpus", "0"], "cpuset"),
    ];
    if lab_cannot_run().is_none() {
        for (flags, _) in asked {
            let layer = if flags[0].starts_with("--cpu") { "cpu" } else { "memory" };
            let output = run(&[&["--without", layer], &flags[..]].concat(), "true");
            let told = text(&output.stderr)
                .contains(&format!("the {layer} layer is off, so the {layer} limits do nothing here"));
            assert!(told && code(&output) == 0, "{output:?}");
        }
    }
    if is_root() || !layers_with_groups().is_empty() || lab_cannot_run().is_some() {
        return skip(test, "the controllers are ours here");
    }
    for (flags, controller) in asked {
        let output = run(&flags, "true");
        assert_eq!(code(&output), 125, "{output:?}");
        assert!(text(&output.stderr).contains(&format!("needs the {controller} controller")), "{output:?}");
    }
}

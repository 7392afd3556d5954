//! Each command by hand, and what becomes of a container whose client is killed.

use crate::{bundle::bundle, lab};
use serde_json::json;
use std::{
    fs,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

/// spec: runtime.md, State
/// spec: runtime.md, Lifecycle
/// spec: runtime.md, Query State
/// spec: runtime.md, Create
/// spec: runtime.md, Start
/// spec: runtime.md, Kill
/// spec: runtime.md, Delete
/// spec: config.md, Annotations
#[test]
fn a_container_lives_in_two_steps() {
    let bundle = bundle!();
    bundle.command("echo there >/witness; sleep 60");
    bundle.ok(&["create", "--pid-file", "pid", "c"]);
    let state = bundle.state("c");
    assert_eq!(state["status"], "created");
    assert_eq!(state["id"], "c");
    assert_eq!(state["bundle"], bundle.dir.to_str().unwrap());
    assert_eq!(state["annotations"], json!({ "a": "b" }));
    assert_eq!(fs::read_to_string(bundle.dir.join("pid")).unwrap(), state["pid"].to_string());
    assert!(!bundle.root().join("witness").exists(), "nothing runs before the start");

    bundle.ok(&["start", "c"]);
    bundle.wait_for("the command", || bundle.root().join("witness").exists());
    assert_eq!(bundle.state("c")["status"], "running");
    assert_eq!(bundle.fails(&["start", "c"]), "rubber-oci: cannot start an already running container");
    assert!(
        bundle.fails(&["delete", "c"]).contains("cannot delete container c that is not stopped: running")
    );
    assert!(bundle.fails(&["create", "c"]).contains("container with given ID already exists: c"));

    bundle.ok(&["kill", "c", "KILL"]);
    bundle.wait_for("its end", || bundle.state("c")["status"] == "stopped");
    assert_eq!(bundle.state("c")["pid"], 0);
    assert!(bundle.fails(&["kill", "c", "TERM"]).contains("container not running"));
    assert!(bundle.fails(&["start", "c"]).contains("cannot start a container that has stopped"));
    bundle.ok(&["delete", "c"]);
    assert!(bundle.fails(&["state", "c"]).contains("container does not exist: c"));
    bundle.ok(&["delete", "--force", "c"]);
}

#[test]
fn run_has_the_commands_exit_code_and_leaves_nothing() {
    let bundle = bundle!();
    bundle.command("echo out; echo err >&2; exit 7");
    let output = bundle.rubber(&["run", "c"]).output().unwrap();
    assert_eq!(lab::text(&output.stdout), "out\n");
    assert_eq!(lab::text(&output.stderr), "err\n");
    assert_eq!(lab::code(&output), 7);
    assert_eq!(bundle.ok(&["list", "--quiet"]), "");
}

#[test]
fn it_works_as_runc_from_anywhere_and_finds_programs_without_a_path() {
    let bundle = bundle!();
    bundle.edit(|config| config["process"]["env"] = json!(["A=b"]));
    bundle.command("echo $A; cat /proc/1/environ | tr '\\0' ' '");
    let runc = bundle.dir.join("runc");
    std::os::unix::fs::symlink(lab::RUBBER, &runc).unwrap();
    let mut command = std::process::Command::new(&runc);
    command.arg("--root").arg(bundle.dir.join("states")).args(["run", "c", "--bundle"]).arg(&bundle.dir);
    let output = command.current_dir("/").stdin(Stdio::null()).output().unwrap();
    assert_eq!(lab::text(&output.stdout).trim_end(), "b\nA=b HOME=/root", "{output:?}");
}

/// spec: config.md, POSIX process
#[test]
fn what_cannot_run_is_told_when_it_is_made() {
    let bundle = bundle!();
    bundle.edit(|config| config["process"]["args"] = json!(["nope"]));
    assert!(bundle.fails(&["create", "c"]).contains("executable file not found in $PATH"));
    bundle.edit(|config| config["process"]["args"] = json!(["/etc"]));
    assert!(bundle.fails(&["run", "c"]).contains("permission denied"));
    assert_eq!(bundle.ok(&["list", "--quiet"]), "", "what could not be made is gone");
}

/// spec: runtime.md, Errors
#[test]
fn errors_are_lines_in_the_log() {
    let bundle = bundle!();
    bundle.fails(&["--log", "log", "--log-format=json", "state", "nobody"]);
    let log = fs::read_to_string(bundle.dir.join("log")).unwrap();
    let line: serde_json::Value = serde_json::from_str(log.trim()).expect("one JSON object");
    assert_eq!(line["level"], "error");
    assert!(line["msg"].as_str().unwrap().starts_with("container does not exist: nobody"));
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
}

/// spec: config.md, Specification version
/// spec: config.md, Root
/// spec: config-linux.md, Intel RDT
/// spec: config-linux.md, Cgroups Path
#[test]
fn what_is_asked_for_and_not_known_is_refused() {
    let bundle = bundle!();
    for (pointer, value, told) in [
        ("/ociVersion", json!("2.0.0"), "versions 1.x are understood"),
        ("/process/cwd", json!("tmp"), "must start with a slash"),
        ("/process/args", json!([]), "nothing to run"),
        ("/root/path", json!("nowhere"), "root.path"),
        ("/root/path", json!("/"), "the host's own root"),
        ("/linux/namespaces", json!([]), "mount namespace of its own"),
        ("/linux/rootfsPropagation", json!("sideways"), "rootfsPropagation"),
        ("/linux/intelRdt", json!({ "closID": "x" }), "linux.intelRdt is not supported"),
        ("/linux/cgroupsPath", json!("/../up"), "\"..\""),
        ("/mounts", json!([{ "destination": "/x", "options": ["bind"] }]), "needs a source"),
    ] {
        let before = bundle.read();
        bundle.edit(|config| {
            let (above, name) = pointer.rsplit_once('/').unwrap();
            config.pointer_mut(above).unwrap()[name] = value;
        });
        let error = bundle.fails(&["create", "c"]);
        assert!(error.contains(told), "{pointer}: {error}");
        assert_eq!(bundle.ok(&["list", "--quiet"]), "", "{pointer}");
        bundle.write(&before);
    }
    assert!(bundle.fails(&["create", "../c"]).contains("is not an id"));
    fs::write(bundle.dir.join("config.json"), "{").unwrap();
    assert!(bundle.fails(&["create", "c"]).contains("is not JSON"));
}

/// CVE-2024-21626: what the caller passes on stays open until the command runs, and is no way out.
#[test]
fn a_working_directory_through_a_preserved_descriptor_is_refused() {
    use std::os::unix::process::CommandExt;
    let bundle = bundle!();
    bundle.edit(|config| config["process"]["cwd"] = json!("/proc/self/fd/3"));
    let mut command = bundle.rubber(&["run", "--preserve-fds", "1", "c"]);
    let outside = fs::File::open(&bundle.dir).unwrap();
    // SAFETY: system calls, with a descriptor that is open. (By a detour: a copy onto itself would be closed.)
    unsafe {
        command.pre_exec(move || {
            nix::libc::dup2(outside.as_raw_fd(), 9);
            nix::libc::dup2(9, 3);
            Ok(())
        });
    }
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    assert!(lab::text(&output.stderr).contains("is outside of the container"), "{output:?}");
}

#[test]
fn exec_is_another_process_in_it() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    bundle.edit(|config| {
        config["process"]["user"] = json!({ "uid": 0, "gid": 34, "additionalGids": [7] });
    });
    bundle.ok(&["run", "--detach", "c"]);
    let script = "echo $A; id -u; readlink /proc/self/ns/pid; exit 5";
    let output = bundle
        .rubber(&["exec", "--env", "A=b", "--user", "12:34", "c", "sh", "-c", script])
        .output()
        .unwrap();
    let first = fs::read_link(format!("/proc/{}/ns/pid", bundle.state("c")["pid"])).unwrap();
    assert_eq!(lab::text(&output.stdout), format!("b\n12\n{}\n", first.display()), "{output:?}");
    assert_eq!(lab::code(&output), 5);
    // As runc: what is not asked for is the container's.
    for (flags, is) in [
        (&["--user", "12"][..], "12 34 7"),
        (&["--user", "12:5"], "12 5 7"),
        (&["--user", "12", "--additional-gids", "9"], "12 34 7 9"),
    ] {
        let script =
            "sed -n 's/^[UG]id:\\t[0-9]*\\t\\([0-9]*\\).*/\\1/p; s/^Groups:\\t//p' /proc/self/status | xargs";
        let output =
            bundle.rubber(&[&["exec"], flags, &["c", "sh", "-c", script]].concat()).output().unwrap();
        assert_eq!(lab::text(&output.stdout).trim(), is, "{flags:?}: {output:?}");
    }
    let output = bundle.rubber(&["exec", "c", "nope"]).output().unwrap();
    assert_eq!(lab::code(&output), 255);
    assert!(lab::text(&output.stderr).contains("executable file not found in $PATH"), "{output:?}");
    bundle.ok(&["exec", "--detach", "--pid-file", "second", "c", "sleep", "60"]);
    let pid = fs::read_to_string(bundle.dir.join("second")).unwrap();
    assert!(bundle.ok(&["ps", "--format", "json", "c"]).contains(&pid));
}

/// And whoever waits for its end is not counted with it.
#[test]
fn exec_itself_stays_outside() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    bundle.ok(&["run", "--detach", "c"]);
    let mut exec = bundle.rubber(&["exec", "c", "sleep", "4321"]).spawn().unwrap();
    let pids = || -> Vec<u32> { serde_json::from_str(&bundle.ok(&["ps", "--format", "json", "c"])).unwrap() };
    let command = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bundle.wait_for("the command alone beside the first", || {
        let pids = pids();
        pids.len() == 2 && pids.iter().any(|pid| command(pid).contains("4321"))
    });
    let groups = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(!groups(exec.id()).contains(bundle.group()));
    for pid in pids() {
        assert!(groups(pid).contains(bundle.group()), "{pid}");
    }
    bundle.ok(&["kill", "--all", "c", "KILL"]);
    assert_eq!(exec.wait().unwrap().code(), Some(137));
}

/// spec: config.md, Linux Process
#[test]
fn exec_is_given_processors() {
    let bundle = bundle!();
    bundle.command("grep Cpus_allowed_list /proc/self/status >/first; sleep 60");
    let on = |affinity: serde_json::Value| {
        json!({ "args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"],
                "user": { "uid": 0, "gid": 0 }, "execCPUAffinity": affinity })
    };
    // It means nothing for the first.
    bundle.edit(|config| config["process"]["execCPUAffinity"] = json!({ "initial": "0", "final": "0" }));
    bundle.ok(&["run", "--detach", "c"]);
    let list = |text: &str| text.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let own = list(
        fs::read_to_string("/proc/self/status")
            .unwrap()
            .lines()
            .find(|line| line.starts_with("Cpus_allowed_list"))
            .unwrap(),
    );
    let first = || fs::read_to_string(bundle.root().join("first")).unwrap_or_default();
    bundle.wait_for("the first", || !first().is_empty());
    assert_eq!(list(&first()), own);
    let last = own.split(['-', ',']).next_back().unwrap().to_owned();
    let exec = |affinity| {
        fs::write(bundle.dir.join("process.json"), on(affinity).to_string()).unwrap();
        bundle.rubber(&["exec", "--process", "process.json", "c"]).output().unwrap()
    };
    let output = exec(json!({ "initial": "0", "final": last }));
    assert_eq!(list(&lab::text(&output.stdout)), last, "{output:?}");
    for wrong in ["", "x", "3-1", "0,,1", "99999"] {
        let output = exec(json!({ "final": wrong }));
        let told = lab::text(&output.stderr);
        assert!(
            lab::code(&output) == 255 && told.contains("execCPUAffinity") && !told.contains("panicked"),
            "{wrong}: {told}"
        );
    }
}

/// In version 2 a group beside ours: below ours, with us in it, it would take nobody in.
#[test]
fn without_a_cgroups_path_a_group_is_found() {
    let bundle = bundle!();
    bundle.edit(|config| {
        config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
        config["linux"]["resources"]["pids"] = json!({ "limit": 33 });
    });
    bundle.command("sleep 60");
    let id = format!("none-{}", bundle.group());
    bundle.ok(&["run", "--detach", &id]);
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", bundle.state(&id)["pid"])).unwrap();
    let group = groups.lines().find(|line| line.contains("pids") || line.starts_with("0::/")).unwrap();
    let group = group.rsplit(':').next().unwrap();
    assert!(group.ends_with(&format!("/rubber-oci-{id}")), "{groups}");
    let limit = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"]
        .map(|tree| fs::read_to_string(format!("{tree}{group}/pids.max")));
    assert!(limit.into_iter().flatten().any(|limit| limit == "33\n"), "{groups}");
    bundle.ok(&["delete", "--force", &id]);
    bundle.nothing_is_left(&id);
}

#[test]
fn a_paused_container_stands_still() {
    let bundle = bundle!();
    bundle.command("while :; do echo x >>/count; sleep 0.01; done");
    bundle.ok(&["run", "--detach", "c"]);
    let count = || fs::read(bundle.root().join("count")).map_or(0, |text| text.len());
    bundle.wait_for("a beginning", || count() > 0);
    bundle.ok(&["pause", "c"]);
    assert_eq!(bundle.state("c")["status"], "paused");
    let before = count();
    sleep(Duration::from_millis(200));
    assert_eq!(count(), before);
    assert!(bundle.fails(&["exec", "c", "true"]).contains("paused"));
    bundle.ok(&["resume", "c"]);
    bundle.wait_for("it to go on", || count() > before);
    bundle.ok(&["pause", "c"]);
    bundle.ok(&["delete", "--force", "c"]);
}

/// spec: runtime.md, Hooks
/// spec: config.md, POSIX-platform Hooks
#[test]
fn hooks_are_run_in_their_order_with_the_state_on_stdin() {
    let bundle = bundle!();
    bundle.command("true");
    let trace = bundle.dir.join("trace");
    let hook = |name: &str| {
        let script = format!("read -r state; echo {name} $state >>$TRACE");
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": [format!("TRACE={}", trace.display())] }])
    };
    bundle.edit(|config| {
        for name in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
            config["hooks"][name] = hook(name);
        }
        let inside =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", "read -r state; echo $state >/inside"] }]);
        config["hooks"]["startContainer"] = inside;
    });
    bundle.ok(&["run", "c"]);
    let told = fs::read_to_string(&trace).unwrap();
    let names: Vec<_> = told.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]);
    let status = |line: &str| {
        let state: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(state["id"], "c");
        state["status"].as_str().unwrap().to_owned()
    };
    let all: Vec<_> = told.lines().map(|line| status(line.split_once(' ').unwrap().1)).collect();
    assert_eq!(all, ["creating", "creating", "creating", "running", "stopped"]);
    assert_eq!(status(&fs::read_to_string(bundle.root().join("inside")).unwrap()), "created");
}

/// The program of a startContainer hook is the image's: it is a way in as the command is. And the others' are among
/// the container's processes while they run.
#[test]
fn hooks_have_nothing_of_the_callers_and_inside_they_are_as_confined_as_the_command() {
    let bundle = bundle!();
    bundle.command("true");
    let told = bundle.dir.join("told");
    let hook = |file: &Path| {
        let script = "read -r state; test -e /proc/$$/fd/77 && echo open >>$TOLD; \
                      grep -E 'NoNewPrivs|Seccomp:' /proc/self/status | xargs >>$TOLD";
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin", format!("TOLD={}", file.display())] }])
    };
    bundle.edit(|config| {
        let outside = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
        config["hooks"] = outside.into_iter().map(|name| (name.to_owned(), hook(&told))).collect();
        config["hooks"]["startContainer"] = hook(Path::new("/told"));
        config["process"]["noNewPrivileges"] = json!(true);
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["mount"], "action": "SCMP_ACT_ERRNO" }],
        });
    });
    let dir = fs::File::open("/").unwrap();
    let mut command = bundle.rubber(&["run", "c"]);
    // SAFETY: one system call, with what is ours.
    unsafe {
        command.pre_exec(move || match libc::dup2(dir.as_raw_fd(), 77) {
            77 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let outside = fs::read_to_string(told).unwrap();
    assert_eq!(outside.lines().count(), 5, "{outside}");
    assert!(!outside.contains("open"), "{outside}");
    assert_eq!(fs::read_to_string(bundle.root().join("told")).unwrap(), "NoNewPrivs: 1 Seccomp: 2\n");
}

#[test]
fn a_hook_that_fails_or_hangs_ends_it() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    bundle.edit(|config| config["hooks"]["createRuntime"] = json!([{ "path": "/bin/false" }]));
    assert!(bundle.fails(&["create", "c"]).contains("hook \"/bin/false\": it ended with exit status: 1"));
    let sleep = json!([{ "path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1 }]);
    bundle.edit(|config| config["hooks"]["createRuntime"] = sleep.clone());
    assert!(bundle.fails(&["create", "c"]).contains("it did not end in 1 s"));
    bundle.edit(|config| config["hooks"] = json!({ "poststart": sleep }));
    bundle.ok(&["create", "c"]);
    assert!(bundle.fails(&["start", "c"]).contains("it did not end in 1 s"));
    assert_eq!(bundle.state("c")["status"], "stopped");
    bundle.ok(&["delete", "c"]);
    assert_eq!(bundle.ok(&["list", "--quiet"]), "");
}

/// At any moment: what is left is not alive, or can be used; and delete --force removes all of it.
#[test]
fn a_killed_create_leaves_what_delete_removes() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    let begin = Instant::now();
    bundle.ok(&["create", "c"]);
    let whole = begin.elapsed();
    bundle.ok(&["delete", "--force", "c"]);
    let kills = std::env::var("RUBBER_TEST_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10_u32);
    for number in 0..kills {
        let mut create =
            bundle.rubber(&["create", "c"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(whole * number / kills);
        create.kill().unwrap();
        create.wait().unwrap();
        bundle.wait_for("the rest to notice", || {
            let output = bundle.rubber(&["state", "c"]).output().unwrap();
            !lab::text(&output.stdout).contains("creating")
        });
        bundle.ok(&["delete", "--force", "c"]);
        bundle.nothing_is_left("c");
    }
}

#[test]
fn one_that_is_killed_before_its_start_is_stopped() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    bundle.ok(&["create", "c"]);
    bundle.ok(&["kill", "c", "9"]);
    bundle.wait_for("its end", || bundle.state("c")["status"] == "stopped");
    assert!(bundle.fails(&["start", "c"]).contains("has stopped"));
    bundle.ok(&["delete", "c"]);
    bundle.nothing_is_left("c");
}

#[test]
fn the_bundle_may_go_when_it_is_made() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    bundle.ok(&["create", "c"]);
    fs::remove_file(bundle.dir.join("config.json")).unwrap();
    bundle.ok(&["start", "c"]);
    assert_eq!(bundle.ok(&["exec", "c", "echo", "in"]), "in\n");
    bundle.ok(&["delete", "--force", "c"]);
    bundle.nothing_is_left("c");
}

#[test]
fn a_name_in_the_root_leads_nowhere_outside() {
    let bundle = bundle!();
    let outside = bundle.dir.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::remove_dir(bundle.root().join("tmp")).unwrap();
    let up = format!("../../../../../../../../..{}", outside.display());
    std::os::unix::fs::symlink(up, bundle.root().join("tmp")).unwrap();
    bundle.edit(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({ "destination": "/tmp/in", "type": "tmpfs", "source": "tmpfs" }));
    });
    bundle.command("grep -c \" $PWD/outside/in \" /proc/self/mountinfo; true");
    bundle.ok(&["run", "c"]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "nothing is made outside");

    fs::remove_dir(bundle.root().join("proc")).unwrap();
    std::os::unix::fs::symlink("/etc", bundle.root().join("proc")).unwrap();
    assert!(bundle.fails(&["create", "c"]).contains("proc"));
}

/// spec: config.md, POSIX-platform User
#[test]
fn a_numbers_name_in_the_roots_passwd_is_nobodys() {
    let bundle = bundle!();
    fs::write(bundle.root().join("etc/passwd"), "1000:x:0:0::/root:/bin/sh\n").unwrap();
    bundle.edit(|config| config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    bundle.command("id -u; id -g");
    assert_eq!(bundle.ok(&["run", "c"]), "1000\n1000\n");
}

/// spec: config-linux.md, PIDs
/// With no pid namespace of its own a container's processes do not end with its first.
#[test]
fn kill_reaches_processes_in_groups_that_the_container_made() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    bundle.ok(&["run", "--detach", "host"]);
    let first = bundle.state("host")["pid"].clone();
    bundle.edit(|config| {
        config["linux"]["cgroupsPath"] = json!(format!("/{}/guest", bundle.group()));
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "pid" {
                namespace["path"] = json!(format!("/proc/{first}/ns/pid"));
            }
        }
        for mount in config["mounts"].as_array_mut().unwrap() {
            if mount["type"] == "cgroup" {
                mount["options"].as_array_mut().unwrap().retain(|option| option != "ro");
            }
        }
    });
    // The kernel's own name for the file is the same in both versions.
    bundle.command(
        "(for dir in $(find /sys/fs/cgroup -maxdepth 1 -type d); do mkdir -p $dir/below/deeper; \
         sh -c 'echo $PPID' >$dir/below/deeper/cgroup.procs; done; touch /hidden; exec sleep 61) & sleep 60",
    );
    bundle.ok(&["run", "--detach", "guest"]);
    bundle.wait_for("the one below", || bundle.root().join("hidden").exists());
    let all = bundle.ok(&["ps", "--format", "json", "guest"]);
    assert_eq!(all.matches(',').count(), 1, "two processes: {all}");
    bundle.ok(&["kill", "--all", "guest", "KILL"]);
    let is_there = || bundle.ok(&["exec", "host", "ps"]).contains("sleep 61");
    bundle.wait_for("the end of the one below", || !is_there());
    bundle.ok(&["delete", "--force", "guest"]);
    bundle.ok(&["delete", "--force", "host"]);
}

#[test]
fn limits_are_in_the_cgroup_and_can_be_changed() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    bundle.edit(|config| config["linux"]["resources"]["pids"] = json!({ "limit": 55 }));
    bundle.ok(&["run", "--detach", "c"]);
    let limit = || {
        let places = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
        let files = places.map(|tree| fs::read_to_string(format!("{tree}/{}/pids.max", bundle.group())));
        files.into_iter().flatten().next().unwrap().trim().to_owned()
    };
    assert_eq!(limit(), "55");
    bundle.ok(&["update", "--pids-limit", "66", "c"]);
    assert_eq!(limit(), "66");
    bundle.ok(&["delete", "--force", "c"]);
    bundle.nothing_is_left("c");
}

/// crun's word for it, and podman's with `--cgroups disabled`.
#[test]
fn without_cgroups_it_stays_in_those_of_its_maker() {
    let bundle = bundle!();
    bundle.command("cat /proc/1/cgroup");
    bundle.edit(|config| config["linux"]["resources"]["pids"] = json!({ "limit": 55 }));
    let told = bundle.ok(&["--cgroup-manager", "disabled", "run", "c"]);
    assert!(!told.is_empty() && !told.contains(bundle.group()), "{told}");
    bundle.ok(&["--cgroup-manager", "disabled", "create", "c"]);
    bundle.ok(&["delete", "--force", "c"]);
    bundle.nothing_is_left("c");
    let told = bundle.ok(&["--cgroup-manager", "cgroupfs", "run", "c"]);
    assert!(told.contains(bundle.group()), "{told}");
}

/// A pod's containers wait for each other's images.
#[test]
fn who_waits_to_be_started_takes_little_memory() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    bundle.ok(&["create", "c"]);
    let pid = bundle.state("c")["pid"].as_i64().unwrap() as i32;
    // How much comes back with the code that waits is the kernel's choice: see benches/oci for the figure. The most that
    // it ever had is told later, too, on a machine so slow that it has given back before it is looked at.
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most: u32 = most.trim().trim_end_matches(" kB").parse().unwrap();
    bundle.wait_for("the giving back", || lab::share_of_memory(pid) < most / 3);
    bundle.ok(&["start", "c"]);
    assert_eq!(bundle.state("c")["status"], "running");
    bundle.ok(&["delete", "--force", "c"]);
    bundle.nothing_is_left("c");
}

/// The program of a process, which has no name on the host.
fn held(pid: &str) -> OwnedFd {
    let exe = format!("/proc/{pid}/exe");
    assert_eq!(fs::metadata(&exe).unwrap().len(), fs::metadata(lab::RUBBER).unwrap().len());
    assert!(is_covered(pid));
    let held = nix::fcntl::open(&*exe, nix::fcntl::OFlag::O_PATH, nix::sys::stat::Mode::empty()).unwrap();
    if lab::is_root() {
        try_to_open_up(&held);
    }
    held
}

fn is_covered(pid: &str) -> bool {
    let name = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    // A mount that is nowhere; and what cannot have one makes a copy.
    name == Path::new("/") || name.to_str().unwrap().starts_with("/memfd:")
}

fn why_not(held: &OwnedFd) -> Option<i32> {
    let again = format!("/proc/self/fd/{}", held.as_raw_fd());
    fs::OpenOptions::new().write(true).open(&again).unwrap_err().raw_os_error()
}

/// What the machine's root could do to a mount that has a place: have it writable again, or take one that is.
fn try_to_open_up(held: &OwnedFd) {
    use nix::mount::MsFlags;
    let again = format!("/proc/self/fd/{}", held.as_raw_fd());
    let remount = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    nix::mount::mount(None::<&str>, &*again, None::<&str>, remount, None::<&str>).unwrap_err();
    // struct mount_attr of mount_setattr(2): nothing to set, MOUNT_ATTR_RDONLY to clear; OPEN_TREE_CLONE of open_tree(2).
    let (attr, name, fd) = ([0_u64, 1, 0, 0], c"".as_ptr(), held.as_raw_fd());
    // SAFETY: the kernel reads an empty path and four words.
    let done = unsafe {
        use nix::libc::{AT_EMPTY_PATH, SYS_mount_setattr, SYS_open_tree, syscall};
        [
            syscall(SYS_mount_setattr, fd, name, AT_EMPTY_PATH, &attr, size_of_val(&attr)),
            syscall(SYS_open_tree, fd, name, AT_EMPTY_PATH | 1),
        ]
    };
    assert_eq!(done, [-1, -1]);
}

/// CVE-2019-5736: whoever holds its file cannot write to the program on the host, also when nobody runs it any more.
#[test]
fn the_program_that_waits_is_not_the_hosts_to_write() {
    let bundle = bundle!();
    bundle.command("sleep 60");
    // A file of its own: which of two refusals comes is told by who else runs it, and every other test runs the usual one.
    let program = bundle.dir.join("rubber-oci");
    fs::remove_file(&program).unwrap();
    lab::copy_program(lab::RUBBER, &program);
    bundle.ok(&["create", "c"]);
    let waiting = held(&bundle.state("c")["pid"].to_string());
    bundle.ok(&["start", "c"]);
    let mut exec = bundle.rubber(&["exec", "c", "sleep", "60"]).spawn().unwrap();
    let pid = exec.id().to_string();
    bundle.wait_for("its program to be covered", || is_covered(&pid));
    let executing = held(&pid);
    let refused = [Some(nix::libc::EROFS), Some(nix::libc::ETXTBSY)];
    assert!(refused.contains(&why_not(&executing)));
    bundle.ok(&["delete", "--force", "c"]);
    exec.wait().unwrap();
    // Of a copy in memory the seals remain, and of the mount that nobody can change what is nowhere.
    for program in [waiting, executing] {
        assert_eq!(why_not(&program), Some(nix::libc::EROFS));
    }
    bundle.nothing_is_left("c");
}

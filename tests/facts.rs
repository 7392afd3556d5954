//! `rubber facts` against /proc, read here by other means.

mod lab;

use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

const RUBBER: &str = env!("CARGO_BIN_EXE_rubber");

fn rubber(args: &[&str]) -> Output {
    Command::new(RUBBER).args(args).stdin(Stdio::null()).output().unwrap()
}

fn facts(args: &[&str]) -> Value {
    json_of(&rubber(&[&["facts", "--format", "json"], args].concat()))
}

fn json_of(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// What `script` prints, or nothing and a loud line when this machine does not let us.
fn inside(unshare: &[&str], script: &str) -> Option<Output> {
    let run = |script: &str| Command::new("unshare").args(unshare).args(["sh", "-c", script]).output();
    match run("true") {
        Ok(tried) if tried.status.success() => Some(run(&script.replace("RUBBER", RUBBER)).unwrap()),
        tried => {
            lab::skip_this(&format!("unshare {unshare:?} is not possible here: {tried:?}"));
            None
        }
    }
}

/// A process of ours that ends with the test.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Process {
        Process(command.stdin(Stdio::null()).spawn().unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    fn wait_for(&self, what: impl Fn() -> bool) {
        let begin = Instant::now();
        while !what() {
            assert!(begin.elapsed() < Duration::from_secs(10), "process {} did not get there", self.pid());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn wait_for_program(&self, name: &str) {
        let comm = format!("/proc/{}/comm", self.pid());
        self.wait_for(|| fs::read_to_string(&comm).is_ok_and(|found| found.trim() == name));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn error_of(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn facts_of_another_process_are_those_in_proc() {
    let child = Process::start(
        Command::new("sleep")
            .arg("60")
            .current_dir("/usr")
            .env_clear()
            .env("ODD", "a=b\nc")
            .env("PATH", "/bin:/usr/bin"),
    );
    child.wait_for_program("sleep");
    let facts = facts(&[&child.pid()]);
    let proc = PathBuf::from(format!("/proc/{}", child.pid()));

    assert_eq!(facts["pid"].to_string(), child.pid());
    assert_eq!(facts["parent"], std::process::id());
    assert_eq!(facts["command"], json!(["sleep", "60"]));
    assert_eq!(facts["cwd"], "/usr");
    assert_eq!(facts["env"]["ODD"], "a=b\nc");
    assert_eq!(facts["exe"], fs::read_link(proc.join("exe")).unwrap().to_str().unwrap());
    for kind in ["mnt", "uts", "ipc", "pid", "net", "cgroup", "user", "time"] {
        // The inode of the file behind the link, not the link's text.
        let inode = fs::metadata(proc.join("ns").join(kind)).unwrap().ino();
        assert_eq!(facts["ns"][kind], inode, "{kind}");
    }
    assert_eq!(facts["root"]["inode"], fs::metadata("/").unwrap().ino());
    let mounts = fs::read_to_string(proc.join("mountinfo")).unwrap().lines().count();
    assert_eq!(facts["mounts"].as_array().unwrap().len(), mounts);
    assert_eq!(facts["count"]["fds"], fs::read_dir(proc.join("fd")).unwrap().count());
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(facts["hostname"], hostname.trim());
    let status = fs::read_to_string(proc.join("status")).unwrap();
    for (set, line) in [("effective", "CapEff"), ("bounding", "CapBnd"), ("ambient", "CapAmb")] {
        let raw = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(":\t")).unwrap();
        assert_eq!(facts["caps_raw"][set], raw);
        let count = u64::from_str_radix(raw, 16).unwrap().count_ones();
        assert_eq!(facts["caps"][set].as_array().unwrap().len(), count as usize);
    }
}

#[test]
fn facts_of_ourselves_have_all_their_names() {
    let facts = facts(&[]);
    for path in [
        "pid",
        "pids",
        "parent",
        "started",
        "name",
        "state",
        "exe",
        "command",
        "session",
        "tty",
        "ns/uts",
        "ns_host/time",
        "root/device",
        "cwd",
        "mounts/0/propagation",
        "hostname",
        "domainname",
        "interfaces",
        "cgroup/version",
        "limits",
        "cpus_allowed",
        "uid/effective",
        "gid/fs",
        "groups",
        "uid_map/0/count",
        "gid_map",
        "setgroups",
        "caps/bounding",
        "caps_raw/ambient",
        "seccomp",
        "no_new_privs",
        "fds/0",
        "env",
        "umask",
        "signals/blocked",
        "signals/ignored",
        "signals/caught",
        "rlimits/nofile/soft",
        "oom_score_adj",
        "count/processes",
        "count/mounts",
        "count/devices",
        "kernel",
        "unreadable",
    ] {
        assert!(facts.pointer(&format!("/{path}")).is_some(), "{path} is not in {facts:#}");
    }
    assert_eq!(facts["fds"]["0"], "/dev/null");
    let opened_by_looking =
        facts["fds"].as_object().unwrap().values().any(|to| to.as_str().unwrap().contains("/fd"));
    assert!(!opened_by_looking, "{}", facts["fds"]);
}

#[test]
fn facts_tell_own_namespaces_from_the_hosts() {
    let Some(output) = inside(&["-ruin"], "hostname inside && exec RUBBER facts --format json") else {
        return;
    };
    let (inside, outside) = (json_of(&output), facts(&[]));
    assert_eq!(inside["hostname"], "inside");
    assert_ne!(outside["hostname"], "inside");
    for kind in ["uts", "ipc", "net", "user"] {
        assert_ne!(inside["ns"][kind], outside["ns"][kind], "{kind}");
        assert_ne!(inside["ns_host"][kind], true, "{kind}");
    }
    assert_eq!(inside["ns_host"]["uts"], false);
    for kind in ["mnt", "pid", "cgroup", "time"] {
        assert_eq!(inside["ns"][kind], outside["ns"][kind], "{kind}");
        // Before Linux 6.18 only who may look at pid 1 knows whose mount namespace this is.
        if !inside["ns_host"][kind].is_null() {
            assert_eq!(inside["ns_host"][kind], outside["ns_host"][kind], "{kind}");
        }
    }
    let names: Vec<_> = inside["interfaces"].as_array().unwrap().iter().map(|found| &found["name"]).collect();
    assert_eq!(names, ["lo"]);
    assert_eq!(inside["uid_map"][0]["count"], 1);
}

#[test]
fn facts_from_outside_of_a_process_inside() {
    if inside(&["-runpf"], "true").is_none() {
        return;
    }
    let command = "hostname inside && exec sleep 60";
    let unshare =
        Process::start(Command::new("unshare").args(["-runpf", "--kill-child", "sh", "-c", command]));
    let children = format!("/proc/{0}/task/{0}/children", unshare.pid());
    let child = || fs::read_to_string(&children).unwrap_or_default().trim().to_owned();
    let comm = || fs::read_to_string(format!("/proc/{}/comm", child())).unwrap_or_default();
    unshare.wait_for(|| comm() == "sleep\n");
    let facts = facts(&[&child()]);
    assert_eq!(facts["pids"].as_array().unwrap().last().unwrap(), 1);
    assert_eq!(facts["hostname"], "inside", "{:#}", facts["unreadable"]);
    assert_eq!(facts["interfaces"], json!([{"name": "lo", "up": false, "addresses": []}]));
}

#[test]
fn facts_of_nobody_are_one_clear_line() {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let dead = child.id().to_string();
    for pid in [dead.as_str(), "999999999", "4294967296", "99999999999999999999999"] {
        assert_eq!(error_of(&rubber(&["facts", pid])), format!("rubber: no process {pid}\n"));
    }
    for pid in ["0", "-1", "00", "abc", "", "1 2", "self", "\u{1b}[2J"] {
        let error = error_of(&rubber(&["facts", pid]));
        assert!(error.starts_with(&format!("rubber: {pid:?} is not a process id")), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}

#[test]
fn facts_of_a_zombie_say_what_is_gone() {
    let child = Process::start(&mut Command::new("true"));
    let stat = format!("/proc/{}/stat", child.pid());
    child.wait_for(|| fs::read_to_string(&stat).unwrap().contains(") Z "));
    let facts = facts(&[&child.pid()]);
    assert_eq!(facts["state"], "zombie");
    assert_eq!(facts["exe"], Value::Null);
    assert!(facts["unreadable"]["exe"].as_str().unwrap().contains("zombie"));
    assert!(rubber(&["facts", &child.pid()]).status.success());
}

#[test]
fn facts_of_a_kernel_thread() {
    if fs::read_to_string("/proc/2/comm").is_ok_and(|name| name == "kthreadd\n") {
        let facts = facts(&["2"]);
        assert_eq!((&facts["exe"], &facts["command"]), (&Value::Null, &json!([])));
    } else {
        lab::skip_this("no kernel thread is visible here");
    }
}

#[test]
fn facts_without_proc_come_from_system_calls() {
    let script =
        "mount -t tmpfs none /proc && exec 7</dev/null && umask 027 && exec RUBBER facts --format json";
    let Some(output) = inside(&["-rm"], script) else { return };
    let facts = json_of(&output);
    assert_eq!(facts["mounts"], Value::Null);
    assert_eq!(facts["unreadable"]["mounts"], "/proc is not mounted");
    assert_eq!((&facts["uid"]["effective"], &facts["umask"]), (&json!(0), &json!("0027")));
    assert_eq!(facts["fds"]["7"], "character device");
    assert_eq!(facts["count"]["env"], facts["env"].as_object().unwrap().len());
    // Both ways of looking see the same, where both can.
    let with_proc = json_of(&inside(&["-rm"], "umask 027 && exec RUBBER facts --format json").unwrap());
    for field in [
        "hostname",
        "domainname",
        "interfaces",
        "uid",
        "gid",
        "groups",
        "caps",
        "caps_raw",
        "seccomp",
        "seccomp_filters",
        "no_new_privs",
        "umask",
        "signals",
        "rlimits",
        "cpus_allowed",
        "kernel",
        "cwd",
    ] {
        assert_eq!(facts[field], with_proc[field], "{field}");
    }
    assert_eq!(facts["root"]["inode"], with_proc["root"]["inode"]);
}

#[test]
fn facts_know_whether_sigpipe_was_ignored_at_the_start() {
    let ignored = |script: &str| {
        let script = script.replace("RUBBER", RUBBER);
        // Whatever is ignored where the tests were started from.
        let clean = ["--default-signal", "sh", "-c", &script];
        let facts = json_of(&Command::new("env").args(clean).output().unwrap());
        // The C library leaves its own two ignored in what it spawns, a shell the other two in the background.
        let ignored = facts["signals"]["ignored"].as_array().unwrap().clone();
        Value::from_iter(
            ignored
                .into_iter()
                .filter(|name| !["SIG32", "SIG33", "SIGINT", "SIGQUIT"].map(Value::from).contains(name)),
        )
    };
    assert_eq!(ignored("exec RUBBER facts --format json"), json!([]));
    let both = ignored("trap '' PIPE USR1 XFSZ; exec RUBBER facts --format json");
    assert_eq!(both, json!(["SIGUSR1", "SIGPIPE", "SIGXFSZ"]));
}

#[test]
fn facts_of_a_limited_cgroup() {
    let made = ["memory", "pids", ""].map(|tree| {
        let dir =
            Path::new("/sys/fs/cgroup").join(tree).join(format!("rubber-test-facts-{}", std::process::id()));
        (
            dir.clone(),
            is_root() && dir.parent().unwrap().join("cgroup.procs").exists() && fs::create_dir(&dir).is_ok(),
        )
    });
    let made: Vec<_> = made.into_iter().filter(|(_, made)| *made).map(|(dir, _)| dir).collect();
    let write = |file: &str, value: &str| {
        made.iter().filter(|dir| dir.join(file).exists()).any(|dir| fs::write(dir.join(file), value).is_ok())
    };
    let memory = write("memory.limit_in_bytes", "67108864") || write("memory.max", "67108864");
    let pids = write("pids.max", "123");
    let child = Process::start(Command::new("sleep").arg("60"));
    write("cgroup.procs", &child.pid());
    made.iter().for_each(|dir| fs::write(dir.join("cgroup.procs"), child.pid()).unwrap());
    let facts = facts(&[&child.pid()]);
    drop(child);
    made.iter().for_each(|dir| fs::remove_dir(dir).unwrap());

    if !memory && !pids {
        lab::skip_this("no cgroup can be made and limited here");
    }
    assert_eq!(memory.then_some(67108864), facts["limits"]["memory"].as_u64().filter(|_| memory));
    assert_eq!(pids.then_some(123), facts["limits"]["pids"].as_u64().filter(|_| pids));
}

#[test]
fn facts_an_ordinary_user_may_not_read_are_null_with_a_reason() {
    if !is_root() {
        lab::skip_this("needs root, to become another user than the process looked at");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = dir.path().join("rubber");
    lab::copy_program(RUBBER, &copy);
    let root_owned = Process::start(Command::new("sleep").arg("60"));
    root_owned.wait_for_program("sleep");
    let as_nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut command = Command::new("setpriv");
    command.args(as_nobody).arg(&copy).args(["facts", "--format", "json", &root_owned.pid()]);
    let facts = json_of(&command.output().unwrap());
    for (field, value) in [("ns.uts", &facts["ns"]["uts"]), ("env", &facts["env"]), ("fds", &facts["fds"])] {
        assert_eq!(value, &Value::Null);
        assert!(facts["unreadable"][field].as_str().unwrap().starts_with("permission denied"), "{field}");
    }
    assert_eq!(facts["uid"]["real"], 0);
}

#[test]
fn facts_table_is_80_columns_and_obeys_nothing_it_shows() {
    let mut command = Command::new(RUBBER);
    command.arg("facts").env("EVIL", "\u{1b}[31mred\r\n\u{202e}").env("WIDE", "漢字".repeat(60));
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(text.contains("EVIL=\\x1b[31mred\\x0d\\n\\u{202e}"), "{text}");
    assert_fits(&text);
}

#[test]
fn facts_into_a_closed_pipe_end_quietly() {
    let script = format!("{RUBBER} facts 2>&1 >/dev/full; {RUBBER} facts 2>&1 | true");
    let said = Command::new("sh").args(["-c", &script]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("rubber: cannot write to standard output: "), "{said}");
}

fn assert_fits(text: &str) {
    for line in text.lines() {
        let width = unicode_width::UnicodeWidthStr::width(line);
        assert!(width <= 80, "{width} columns: {line}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
}

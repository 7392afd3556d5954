//! Every field of a config.json missing, of another type, huge, deep, and with bytes that a terminal obeys: it is
//! refused in words or means nothing, it ends, and nothing is left.

use crate::{bundle::Bundle, bundle::bundle};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    process::{Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Part of them, or all with RUBBER_TEST_FIELDS=all.
#[test]
fn fields_that_are_wrong_are_told_in_words_and_leave_nothing() {
    let bundle = bundle!();
    let whole = whole(&bundle.read());
    let all = std::env::var_os("RUBBER_TEST_FIELDS").is_some_and(|value| value == "all");
    let mut problems = Vec::new();
    let mut tried = 0;
    for (number, (path, wrong)) in wrongs(&whole).into_iter().enumerate() {
        // Seven has no divisor in common with the number of ways: each way comes to some fields.
        // (A name that was too long once left a state that nothing removed.)
        if !all && number % 7 != 0 && path != "/linux/cgroupsPath" {
            continue;
        }
        tried += 1;
        let mut config = whole.clone();
        match wrong.clone() {
            Some(value) => *config.pointer_mut(&path).unwrap() = value,
            None => remove(&mut config, &path),
        }
        bundle.write(&config);
        let shown: String =
            wrong.map_or("removed".into(), |value| value.to_string()).chars().take(40).collect();
        problems.extend(attempt(&bundle).err().map(|problem| format!("{path} {shown}: {problem}")));
    }
    assert!(problems.is_empty(), "{} of {tried}:\n{}", problems.len(), problems.join("\n"));
    bundle.nothing_is_left("wrong");
}

/// What `rubber-oci spec` prints, and what it has no example of.
fn whole(spec: &Value) -> Value {
    let mut config = spec.clone();
    config["process"]["args"] = json!(["true"]);
    config["process"]["user"] = json!({ "uid": 0, "gid": 0, "umask": 18, "additionalGids": [5] });
    config["process"]["rlimits"] = json!([{ "type": "RLIMIT_CORE", "hard": 0, "soft": 0 }]);
    config["process"]["oomScoreAdj"] = json!(500);
    config["process"]["scheduler"] = json!({ "policy": "SCHED_BATCH", "nice": 1 });
    config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 4 });
    config["domainname"] = json!("domain");
    config["hooks"] =
        json!({ "poststop": [{ "path": "/bin/true", "args": ["true"], "env": ["A=1"], "timeout": 5 }] });
    let linux = &mut config["linux"];
    linux["sysctl"] = json!({ "kernel.shmmni": "4096" });
    linux["rootfsPropagation"] = json!("private");
    linux["personality"] = json!({ "domain": "LINUX", "flags": [] });
    linux["devices"] = json!([{ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 0, "gid": 0 }]);
    linux["resources"] = json!({
        "memory": { "limit": 67_108_864, "reservation": 33_554_432 },
        "cpu": { "shares": 512, "quota": 50_000, "period": 100_000, "cpus": "0" },
        "pids": { "limit": 100 },
        "devices": [{ "allow": false, "access": "rwm" }, { "allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw" }],
    });
    linux["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "flags": [],
        "syscalls": [{ "names": ["kexec_load"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                       "args": [{ "index": 0, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_EQ" }] }],
    });
    config
}

/// Each path of `config`, with each thing it should not be; None: it is not there.
fn wrongs(config: &Value) -> Vec<(String, Option<Value>)> {
    let deep = (0..200).fold(json!([]), |inner, _| json!([inner]));
    let ways = [
        None,
        Some(Value::Null),
        Some(json!(true)),
        Some(json!(-1)),
        Some(json!(u64::MAX)),
        Some(json!(1e300)),
        Some(json!("")),
        Some(json!("a\0b")),
        Some(json!("\u{1b}]0;owned\u{7}\r\n")),
        Some(json!("x".repeat(100_000))),
        Some(json!([])),
        Some(json!({})),
        Some(deep),
    ];
    let mut paths = Vec::new();
    walk(config, "", &mut paths);
    paths.into_iter().flat_map(|path| ways.clone().map(|way| (path.clone(), way))).collect()
}

fn walk(value: &Value, path: &str, paths: &mut Vec<String>) {
    if !path.is_empty() {
        paths.push(path.into());
    }
    let mut below = |name: &str, value| walk(value, &format!("{path}/{}", name.replace('/', "~1")), paths);
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| below(name, value)),
        // The first and the last of a list stand for those between.
        Value::Array(items) => {
            let ends = [0, items.len().saturating_sub(1)];
            let ends = &ends[..items.len().min(2)];
            ends.iter().for_each(|at| below(&at.to_string(), &items[*at]));
        }
        _ => {}
    }
}

fn remove(config: &mut Value, path: &str) {
    let (above, name) = path.rsplit_once('/').unwrap();
    match config.pointer_mut(above).unwrap() {
        Value::Array(items) => drop(items.remove(name.parse().unwrap())),
        Value::Object(fields) => drop(fields.remove(&name.replace("~1", "/"))),
        _ => unreachable!("{path} has nothing above it"),
    }
}

/// In namespaces of its own: a config without some of its namespaces means the caller's.
fn attempt(bundle: &Bundle) -> Result<(), String> {
    let file = |name: &str| bundle.dir.join(name);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--uts", "--ipc", "--net", "--propagation", "private", "--"]);
    command.arg(file("rubber-oci")).arg("--root").arg(file("states")).args(["run", "wrong"]);
    command.current_dir(&bundle.dir).stdin(Stdio::null()).process_group(0);
    command.stdout(File::create(file("out")).unwrap()).stderr(File::create(file("err")).unwrap());
    let status = ended(command)?;
    let said = String::from_utf8_lossy(&fs::read(file("err")).unwrap()).into_owned();
    let code = status.code().ok_or(format!("{status}: {said}"))?;
    let is_plain = said.chars().all(|c| !c.is_control() || c == '\n');
    let problem = match () {
        () if code == 101 || said.contains("panicked") => "it panicked",
        () if !is_plain => "control characters reach the terminal",
        () if said.len() > 4096 => "it says more than anybody reads",
        () if code != 0 && !said.starts_with("rubber-oci: ") => "it fails without a word",
        () if file("states").join("wrong").exists() => "its state is left",
        () => return Ok(()),
    };
    let _ = bundle.rubber(&["delete", "--force", "wrong"]).output();
    Err(format!("{problem} ({status}): {}", said.chars().take(300).collect::<String>().escape_debug()))
}

fn ended(mut command: Command) -> Result<ExitStatus, String> {
    let mut child = command.spawn().unwrap();
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Ok(status);
        }
        if begin.elapsed() > Duration::from_secs(60) {
            killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
            let _ = child.wait();
            return Err("it does not end".into());
        }
        sleep(Duration::from_millis(2));
    }
}

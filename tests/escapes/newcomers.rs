//! Who comes into a pid namespace where somebody waits: another container's (`--pid container:NAME`, `exec`), or the
//! host's (`--pid host`). Until it is the command, nothing of it may be had: see newcomer.c.

use crate::{bundle::Bundle, lab, pty::Terminal};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Mutex, MutexGuard},
};

/// What a newcomer's caller has in its environment.
const SECRET: (&str, &str) = ("the-callers-", "secret-3141");

/// How often each of them comes.
const TIMES: usize = 3;

struct Scene {
    /// Newcomers are known by its name, which is in their command lines.
    dir: PathBuf,
    bundle: Option<Bundle>,
    _temporary: Option<tempfile::TempDir>,
    _only_one: MutexGuard<'static, ()>,
}

impl Scene {
    /// None where there is no compiler.
    fn new() -> Option<Scene> {
        static ONLY_ONE: Mutex<()> = Mutex::new(());
        let only_one = ONLY_ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !lab::has("gcc") {
            lab::skip_this("there is no gcc to build the attack with");
            return None;
        }
        let bundle = Bundle::new();
        let temporary = match bundle {
            Some(_) => None,
            None => Some(tempfile::tempdir_in(lab::scratch()).unwrap()),
        };
        let dir = bundle.as_ref().map(|bundle| bundle.dir.clone());
        let dir = dir.unwrap_or_else(|| temporary.as_ref().unwrap().path().into());
        symlink(lab::RUBBER, dir.join("rubber")).unwrap();
        fs::create_dir(dir.join("shared")).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/escapes/newcomer.c");
        let mut gcc = Command::new("gcc");
        gcc.args(["-static", "-O1", "-o"]).arg(dir.join("shared/newcomer")).arg(source);
        assert!(gcc.status().unwrap().success(), "gcc {source}");
        lab::say(&[], "true");
        Some(Scene { dir, bundle, _temporary: temporary, _only_one: only_one })
    }

    fn store() -> PathBuf {
        lab::scratch().join("store")
    }

    /// The attacker's command.
    fn words(&self, program: &str) -> Vec<String> {
        let word = self.dir.file_name().unwrap().to_str().unwrap();
        let (start, end) = word.split_at(4);
        [program, start, end, SECRET.0, SECRET.1].map(str::to_owned).into()
    }

    /// A container whose command waits for newcomers.
    fn attacker(&self, flags: &[&str]) -> Attacker {
        let name = format!("waits-{}", std::process::id());
        let volume = format!("{}:/shared:ro", self.dir.join("shared").display());
        let mut command = Command::new(lab::RUBBER);
        command.arg("--root").arg(Self::store());
        command.args(["run", "--rm", "--name", &name, "-v", &volume]).args(flags).arg("busybox");
        command.args(self.words("/shared/newcomer"));
        Attacker::start(command, name)
    }

    /// rubber, as a newcomer's caller calls it.
    fn rubber(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.dir.join("rubber"));
        command.arg("--root").arg(Self::store()).args(words).stdin(Stdio::null());
        command.env("SECRET", SECRET.0.to_owned() + SECRET.1);
        command
    }

    fn come(&self, words: &[&str]) {
        for _ in 0..TIMES {
            let output = self.rubber(words).output().unwrap();
            assert!(output.status.success(), "{words:?}: {output:?}");
        }
    }

    /// At a terminal.
    fn come_at_terminal(&self, words: &[&str]) {
        for _ in 0..TIMES {
            let (code, said) = Terminal::start(&mut self.rubber(words)).end();
            assert_eq!(code, 0, "{words:?}: {said}");
        }
    }

    /// By rubber-oci: a container made in these namespaces, with hooks, and another process in it.
    fn come_by_bundle(&self, change: impl Fn(&mut Value)) {
        let Some(bundle) = &self.bundle else { return };
        let hook = json!([{ "path": "/bin/true", "env": [] }]);
        bundle.edit(|config| {
            config["hooks"] = json!({ "createContainer": hook, "startContainer": hook });
            change(config);
        });
        for n in 0..TIMES {
            let id = format!("c{n}");
            bundle.command("sleep 60");
            bundle.ok(&["run", "--detach", &id]);
            self.come_by_exec(bundle, &id);
            bundle.ok(&["delete", "--force", &id]);
        }
    }

    fn come_by_exec(&self, bundle: &Bundle, id: &str) {
        let mut exec = bundle.rubber(&["exec", id, "true"]);
        let output = exec.env("SECRET", SECRET.0.to_owned() + SECRET.1).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

struct Attacker {
    name: String,
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Attacker {
    fn start(mut command: Command, name: String) -> Attacker {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Attacker { name, child, out }
    }

    /// What it got, after its end.
    fn end(mut self, end: &mut Command) -> Vec<Got> {
        // It may be busy with one of them: what it has begun with it tells of.
        assert!(end.stdout(Stdio::null()).status().unwrap().success());
        let mut said = String::new();
        self.out.read_to_string(&mut said).unwrap();
        self.child.wait().unwrap();
        said.lines().filter_map(Got::parse).collect()
    }

    fn removed(self) -> Vec<Got> {
        let mut end = lab::rubber(["rm", "-f", &self.name.clone()]);
        self.end(&mut end)
    }

    /// The first process of its container, by the host's number.
    fn pid(&self) -> i32 {
        let output = lab::rubber(["inspect", &self.name]).output().unwrap();
        let about: Value = serde_json::from_slice(&output.stdout).unwrap();
        about[0]["kernel"]["pid"].as_i64().unwrap_or_else(|| panic!("{about}")) as i32
    }
}

/// Where a test fails before its end.
impl Drop for Attacker {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let quiet = || Stdio::null();
            let _ = lab::rubber(["rm", "-f", &self.name]).stdout(quiet()).stderr(quiet()).status();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A line of the attacker's.
#[derive(Debug)]
struct Got {
    process: String,
    thing: String,
}

impl Got {
    fn parse(line: &str) -> Option<Got> {
        let (process, thing) = line.split_once(": ")?;
        Some(Got { process: process.into(), thing: thing.into() })
    }
}

fn met(all: &[Got]) -> usize {
    all.iter().filter(|got| got.thing == "met").map(|got| &got.process).collect::<BTreeSet<_>>().len()
}

/// What no process may give away before it is the command. (How much it may do, everybody can see.)
fn breaches(all: &[Got]) -> Vec<&Got> {
    all.iter().filter(|got| got.thing != "met" && !got.thing.starts_with("power ")).collect()
}

#[test]
fn newcomers_in_another_containers_pid_namespace_give_nothing_away() {
    let Some(scene) = Scene::new() else { return };
    let attacker = scene.attacker(&[]);
    let target = attacker.name.clone();
    let joined = format!("--pid=container:{target}");
    for _ in 0..3 {
        scene.come(&["run", &joined, "busybox", "true"]);
    }
    scene.come(&["run", &joined, "--init", "busybox", "true"]);
    scene.come(&["run", &joined, "-d", "--rm", "busybox", "true"]);
    scene.come(&["run", &joined, "-u", "1", "--security-opt=no-new-privileges", "busybox", "true"]);
    scene.come_at_terminal(&["run", &joined, "-it", "busybox", "true"]);
    scene.come(&["exec", &target, "true"]);
    scene.come(&["exec", "-d", &target, "true"]);
    scene.come_at_terminal(&["exec", "-it", &target, "true"]);
    scene.come(&["cp", &format!("{target}:/etc/passwd"), "-"]);
    let pid = attacker.pid();
    scene.come_by_bundle(|config| join_pids(config, pid));
    let all = attacker.removed();
    assert!(met(&all) > 6 * TIMES, "too few were met to say anything: {all:#?}");
    assert!(breaches(&all).is_empty(), "{:#?}", breaches(&all));
}

#[test]
fn newcomers_on_a_host_whose_pids_a_container_sees_give_nothing_away() {
    let Some(scene) = Scene::new() else { return };
    let attacker = scene.attacker(&["--pid=host"]);
    let target = attacker.name.clone();
    for _ in 0..3 {
        scene.come(&["run", "busybox", "true"]);
    }
    scene.come(&["run", "--init", "busybox", "true"]);
    scene.come(&["run", "-d", "--rm", "busybox", "true"]);
    scene.come_at_terminal(&["run", "-it", "busybox", "true"]);
    scene.come(&["run", "--pid=host", "busybox", "true"]);
    scene.come(&["exec", &target, "true"]);
    scene.come(&["cp", &format!("{target}:/etc/passwd"), "-"]);
    scene.come_by_bundle(|_| {});
    let all = attacker.removed();
    assert!(met(&all) > 6 * TIMES, "too few were met to say anything: {all:#?}");
    assert!(breaches(&all).is_empty(), "{:#?}", breaches(&all));
}

/// Who may trace (CAP_SYS_PTRACE) sees even what hides: so who comes in has nothing of the host's by then, and may do no
/// more than who is there already.
#[test]
fn newcomers_among_processes_that_may_trace_have_nothing_of_the_hosts() {
    let Some(scene) = Scene::new() else { return };
    let attacker = scene.attacker(&["--cap-add=sys_ptrace"]);
    let target = attacker.name.clone();
    for _ in 0..3 {
        scene.come(&["exec", &target, "true"]);
    }
    scene.come(&["exec", "-d", &target, "true"]);
    scene.come(&["exec", "-u", "1", &target, "true"]);
    scene.come_at_terminal(&["exec", "-it", &target, "true"]);
    let all = attacker.removed();
    // They are there for no longer than it takes from a fork to its execve(2).
    assert!(met(&all) >= TIMES, "too few were met to say anything: {all:#?}");
    assert!(treasures(&all).is_empty(), "{:#?}", treasures(&all));

    let attacker = scene.attacker(&["--cap-add=sys_ptrace", "--security-opt=no-new-privileges"]);
    scene.come(&["exec", &attacker.name, "true"]);
    let all = attacker.removed();
    assert!(treasures(&all).is_empty(), "{:#?}", treasures(&all));
}

#[test]
fn newcomers_by_rubber_oci_exec_among_processes_that_may_trace_have_nothing_of_the_hosts() {
    let Some(scene) = Scene::new() else { return };
    let Some(bundle) = &scene.bundle else {
        return lab::skip_this("containers from bundles are root's so far");
    };
    fs::copy(scene.dir.join("shared/newcomer"), bundle.root().join("newcomer")).unwrap();
    bundle.edit(|config| {
        config["process"]["args"] = json!(scene.words("/newcomer"));
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_PTRACE"));
        }
    });
    let attacker = Attacker::start(bundle.rubber(&["run", "traces"]), "traces".into());
    for _ in 0..4 * TIMES {
        scene.come_by_exec(bundle, "traces");
    }
    let all = attacker.end(&mut bundle.rubber(&["kill", "traces", "KILL"]));
    assert!(met(&all) >= TIMES, "too few were met to say anything: {all:#?}");
    assert!(treasures(&all).is_empty(), "{:#?}", treasures(&all));
}

/// An init stays for as long as the container, and is seen by all of it.
#[test]
fn newcomers_do_not_matter_to_an_init_that_holds_nothing_of_the_hosts() {
    if !lab::is_root() {
        return lab::skip_this(
            "an ordinary user's init is out of reach: its program is not of their user namespace",
        );
    }
    let Some(scene) = Scene::new() else { return };
    let name = format!("init-{}", std::process::id());
    let volume = format!("{}:/shared:ro", scene.dir.join("shared").display());
    let flags = ["run", "--rm", "--name", &name, "-v", &volume, "--init", "--cap-add=sys_ptrace", "busybox"];
    let mut command = scene.rubber(&flags);
    command.args(scene.words("/shared/newcomer"));
    let attacker = Attacker::start(command, name.clone());
    // By then it has had a look at what is there already.
    scene.come(&["exec", &name, "true"]);
    let all = attacker.removed();
    let of_init: Vec<_> = all.into_iter().filter(|got| got.process.starts_with("1 ")).collect();
    assert!(of_init.iter().any(|got| got.thing.starts_with("fd ")), "it was not looked at: {of_init:#?}");
    assert!(treasures(&of_init).is_empty(), "{:#?}", treasures(&of_init));
}

/// What is more than the container has anyway: descriptors that are neither a stream, nor a pipe to who started it, nor
/// of a file of the image's; powers; and what the caller has in its environment.
fn treasures(all: &[Got]) -> Vec<&Got> {
    const POWERS: u64 = 0xa804_25fb | 1 << 19;
    let is_more = |got: &&Got| {
        let (kind, what) = got.thing.split_once(' ').unwrap_or((&got.thing, ""));
        match kind {
            "power" => u64::from_str_radix(what, 16).unwrap() & !POWERS != 0,
            "fd" => {
                let (number, place) = what.split_once(' ').unwrap();
                let is_harmless = ["pipe:", "socket:", "anon_inode:[signalfd]", "/dev/", "/null", "/etc/"];
                number.parse::<u32>().unwrap() > 2 && !is_harmless.iter().any(|kind| place.starts_with(kind))
            }
            "the" => true,
            _ => false,
        }
    };
    all.iter().filter(is_more).collect()
}

fn join_pids(config: &mut Value, pid: i32) {
    for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
        if namespace["type"] == "pid" {
            namespace["path"] = json!(format!("/proc/{pid}/ns/pid"));
        }
    }
}

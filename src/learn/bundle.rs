//! A chapter whose exercise is a config.json: the arena's own rubber makes a container from it, by the name of
//! rubber-oci, and while pid 1 waits for its start the kernel is asked what it is.
//!
//! Nothing in the file is believed: it only says which facts a wrong turn is told by (`config.process.terminal`).

use super::{
    Chapter, Checkout, Outcome,
    arena::{self, Attempt},
    asked, ground,
    verdict::{self, Stand},
    witness,
};
use crate::{container, facts, sys};
use anyhow::{Context, Result};
use nix::unistd::{getegid, geteuid};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt, symlink},
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

const BUNDLE: &str = "/tmp/bundle";
const RUNTIME: &str = "/tmp/rubber-oci";
const STATES: &str = "/tmp/states";
/// What it is called while it lives.
const NAME: &str = "by-hand";

/// Makes a container of the learner's config.json, and another by podman where there is one.
pub fn prove(checkout: &Checkout, chapter: &Chapter) -> Result<(Outcome, Value)> {
    let file = checkout.short(&chapter.exercise());
    let text = fs::read_to_string(chapter.exercise()).with_context(|| format!("cannot read {file}"))?;
    let config: Value = match serde_json::from_str(&text) {
        Ok(config) => config,
        Err(error) => {
            let text = format!("error: {error}\n --> {file}:{}:{}", error.line(), error.column());
            return Ok((Outcome::Compiler { text, step: None }, Value::Null));
        }
    };
    let facts = facts_of(text.clone())?;
    if let Some(cannot) = verdict::lacking(chapter, None, &facts)? {
        return Ok((cannot, facts));
    }
    let unwritten = unwritten(chapter, &config);
    if let Some(wrong) = verdict::judge_bundle(checkout, chapter, &facts, unwritten.unwrap_or(u8::MAX))? {
        return Ok((wrong, facts));
    }
    Ok((unwritten.map_or_else(|| passed(&facts), |step| not_yet(chapter, step, &text, &file)), facts))
}

/// What the kernel says of a container that is made of this config.json.
pub fn facts_of(config: String) -> Result<Value> {
    arena::run(&Attempt { bundle: Some(config), ..Attempt::default() })
}

/// An ordinary user maps their own ids, which no file can know.
pub fn with_own_ids(solution: &str) -> String {
    let (uid, gid) = (geteuid().to_string(), getegid().to_string());
    solution.replace(": UID,", &format!(": {uid},")).replace(": GID,", &format!(": {gid},"))
}

/// The first step that the learner has not put anything in the place of.
fn unwritten(chapter: &Chapter, config: &Value) -> Option<u8> {
    chapter.step.iter().map(|step| step.id).find(|id| config.get(format!("not_yet({id})")).is_some())
}

fn not_yet(chapter: &Chapter, step: u8, text: &str, file: &str) -> Outcome {
    let line = text.lines().position(|line| line.contains(&format!("not_yet({step})"))).unwrap_or(0) + 1;
    let does = chapter.step(step).map(|step| step.does.clone()).unwrap_or_default();
    Outcome::NotYet { step, does, place: format!("{file}:{line}") }
}

fn passed(facts: &Value) -> Outcome {
    let text = |name: &str| facts["podman"][name].as_str().map(str::to_owned);
    Outcome::Pass(Stand {
        stopped: text("did").into_iter().collect(),
        untold: text("untried").into_iter().collect(),
        ..Stand::default()
    })
}

// ---- in the arena --------------------------------------------------------------

pub fn watch(text: &str) -> Result<Value> {
    let (nonce, secret) = (container::new_id()?, container::new_id()?);
    sys::sethostname(format!("lab-{}", &nonce[4..6]).as_ref())?;
    let mut run = asked::run(&nonce, &secret);
    symlink(ground::LEARNERS, RUNTIME)?;
    fs::create_dir_all(BUNDLE)?;
    fs::write(Path::new(BUNDLE).join("config.json"), text)?;
    let root = Path::new(BUNDLE).join("rootfs");
    fs::rename(ground::IMAGE, &root)?;
    run["root_inode"] = fs::metadata(&root)?.ino().into();
    let config: Value = serde_json::from_str(text)?;
    let mut all = json!({"run": run, "config": config, "before": {"host": witness::host()}});
    let begin = Instant::now();
    let made = oci(&["create", "--bundle", BUNDLE, NAME])?;
    all["run"]["made"] = made.is_empty().into();
    all["run"]["error"] = made.clone().into();
    all["run"]["refusal"] = made.trim_start_matches("rubber-oci: ").lines().next().unwrap_or_default().into();
    if made.is_empty() {
        look(&mut all)?;
        let started = oci(&["start", NAME])?;
        all["run"]["error"] = started.into();
        while status()?["status"] != "stopped" && begin.elapsed() < witness::patience() {
            sleep(Duration::from_millis(5));
        }
        all["run"]["ended"] = (status()?["status"] == "stopped").into();
        all["run"]["output"] = fs::read_to_string("/tmp/said").unwrap_or_default().into();
    }
    all["host"] = witness::host();
    oci(&["delete", "--force", NAME])?;
    if all["run"]["ended"] == true {
        all["podman"] = by_podman(&root)?;
    }
    Ok(all)
}

/// What the kernel says of its first process, which waits to be started.
fn look(all: &mut Value) -> Result<()> {
    let pid = status()?["pid"].to_string();
    let found = serde_json::to_value(facts::of(&pid)?)?;
    if let (Value::Object(found), Value::Object(all)) = (found, &mut *all) {
        all.extend(found);
    }
    all["group"] = witness::groups(all);
    Ok(())
}

/// rubber-oci with these words: what it says on stderr if it fails, else nothing. What the container itself prints is
/// in a file, as nobody waits for it at a pipe.
fn oci(words: &[&str]) -> Result<String> {
    let (said, complained) = (File::create("/tmp/said.new")?, File::create("/tmp/complained")?);
    let mut command = Command::new(ground::LEARNERS);
    command.args(["oci", "--root", STATES]).args(words).env_clear().current_dir("/tmp");
    let ended = command.stdin(Stdio::null()).stdout(said).stderr(complained).status()?;
    if words[0] == "create" {
        fs::rename("/tmp/said.new", "/tmp/said")?;
    }
    Ok(if ended.success() { String::new() } else { fs::read_to_string("/tmp/complained")? })
}

fn status() -> Result<Value> {
    let mut command = Command::new(ground::LEARNERS);
    let output = command.args(["oci", "--root", STATES, "state", NAME]).stderr(Stdio::null()).output()?;
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// podman writes a config.json of its own, and has rubber-oci start it. It is its own affair whether it gets that far:
/// what it says is told, and nothing is counted against the learner.
fn by_podman(root: &Path) -> Result<Value> {
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    if !std::env::split_paths(path).any(|dir| dir.join("podman").is_file()) {
        return Ok(json!({"untried": "podman is not here, and was not tried: apt install podman"}));
    }
    // Where it keeps locks and pipes; the rest of the machine is read-only in here.
    if geteuid().is_root() {
        for dir in
            ["/run", "/var/lib/containers", "/dev/shm"].map(Path::new).into_iter().filter(|dir| dir.exists())
        {
            sys::mount(Some(Path::new("tmpfs")), dir, Some("tmpfs"), nix::mount::MsFlags::empty(), None)?;
        }
    }
    for dir in ["/tmp/home", "/tmp/run"] {
        fs::create_dir_all(dir)?;
    }
    // Not all of the trees are ours to divide in here, so it is to do without.
    let runtimes = "[\"rubber-oci\"]";
    fs::write(
        "/tmp/containers.conf",
        format!(
            "[engine]\nruntime_supports_nocgroup = {runtimes}\nruntime_supports_nocgroups = {runtimes}\n"
        ),
    )?;
    let mut podman = Command::new("podman");
    podman
        .env_clear()
        .env("CONTAINERS_CONF", "/tmp/containers.conf")
        .env("PATH", path)
        .env("HOME", "/tmp/home")
        .env("XDG_RUNTIME_DIR", "/tmp/run");
    podman.args([
        "--runtime",
        RUNTIME,
        "--root",
        "/tmp/podman",
        "--runroot",
        "/tmp/run/p",
        "--tmpdir",
        "/tmp/run/t",
    ]);
    podman.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
    podman.args([
        "run",
        "--rm",
        "--network",
        "none",
        "--cgroups",
        "disabled",
        "--hostname",
        "by-podman",
        "--rootfs",
    ]);
    podman
        .arg(root)
        .args(["/bin/rubber", "facts", "--format", "json"])
        .current_dir("/tmp")
        .stdin(Stdio::null());
    let output = podman.output()?;
    let inside: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(match inside["hostname"] == "by-podman" && inside["pids"] == json!([1]) {
        true => json!({"did": "podman had rubber-oci start a container, too", "inside": inside}),
        false => {
            let why = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no word").to_owned();
            json!({"untried": format!("podman does not get that far here: {why}"), "said": said})
        }
    })
}

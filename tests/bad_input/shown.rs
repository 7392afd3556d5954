//! What an image or a container says of itself is shown as letters: nothing in it that a terminal obeys, and nothing
//! that is not seen for what it is. Over every command that there is, so that none is forgotten.

use super::{
    layout::{self, busybox, files, write},
    *,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// ESC and C1's way to say the same, a title, marks that turn the direction of what follows, ends of lines that are none,
/// and characters of no width, or of no ink.
const HOSTILE: &str = "a\u{9b}31m\u{1b}]0;t\u{7}\u{7f}\u{202e}b\u{2066}\u{200f}\u{61c}\u{2028}\u{2029}\u{200b}\u{feff}\u{ad}\u{3164}\u{e0041}z";

/// What a terminal should not get, whatever the command prints of its own.
fn is_hidden(c: char) -> bool {
    (c.is_control() && !"\n\t".contains(c)) || (HOSTILE.contains(c) && !c.is_ascii_graphic())
}

fn assert_shown(output: &Output, what: &str) -> String {
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let text = text(bytes);
        let hidden: BTreeSet<_> = text.chars().filter(|c| is_hidden(*c)).collect();
        assert!(hidden.is_empty(), "{what}: {hidden:?} on {name}: {text:?}");
    }
    text(&output.stdout)
}

/// Whether the very text is somewhere in it, as a name, a value, or the end of a path.
fn has(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(HOSTILE),
        Value::Array(all) => all.iter().any(has),
        Value::Object(all) => all.iter().any(|(key, value)| key.contains(HOSTILE) || has(value)),
        _ => false,
    }
}

/// Where the hostile text must be found by who parses the JSON that is printed.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Text,
    Json,
    /// With the text in it.
    Whole,
}

use Form::*;

type Call = (&'static [&'static str], Form);

/// Each command of rubber's, and how it is called here. `IMAGE` and `BOX` are hostile, `DEAD` has ended, `HERE` is a
/// directory with a hostile name in it. Those without a call print what is the container's own, as it is, or nothing.
#[rustfmt::skip]
const COMMANDS: &[(&str, &[Call])] = &[
    ("run", &[(&["run", "--explain", "IMAGE", "true"], Text), (&["run", "--explain=json", "IMAGE", "true"], Text),
        (&["run", "--dry-run", "IMAGE"], Text), (&["run", "--dry-run", "--format", "oci", "IMAGE"], Whole),
        (&["run", "-w", "HOSTILE", "IMAGE"], Text), (&["run", "IMAGE", "HOSTILE"], Text),
        (&["run", "-u", "HOSTILE", "IMAGE", "true"], Text), (&["run", "-v", "HOSTILE:/x", "IMAGE", "true"], Text)]),
    ("exec", &[(&["exec", "BOX", "HOSTILE"], Text), (&["exec", "-u", "HOSTILE", "BOX", "true"], Text)]),
    ("ps", &[(&["ps", "-a"], Text), (&["ps", "-a", "--format", "json"], Whole)]),
    ("logs", &[]),
    ("attach", &[(&["attach", "HOSTILE"], Text)]),
    ("stop", &[(&["stop", "HOSTILE"], Text)]),
    ("kill", &[(&["kill", "-s", "HOSTILE", "BOX"], Text)]),
    ("wait", &[(&["wait", "HOSTILE"], Text)]),
    ("rm", &[(&["rm", "HOSTILE"], Text)]),
    ("cp", &[(&["cp", "BOX:/HOSTILE/none", "HERE"], Text), (&["cp", "BOX:/tmp", "HERE/HOSTILE/x"], Text),
        (&["cp", "BOX:/tmp", "HERE"], Text)]),
    ("diff", &[(&["diff", "BOX"], Text), (&["diff", "--format", "json", "BOX"], Whole)]),
    ("commit", &[(&["commit", "BOX", "HOSTILE"], Text)]),
    ("export", &[(&["export", "HOSTILE"], Text)]),
    ("pause", &[(&["pause", "HOSTILE"], Text)]),
    ("unpause", &[(&["unpause", "HOSTILE"], Text)]),
    ("rename", &[(&["rename", "BOX", "HOSTILE"], Text)]),
    ("top", &[(&["top", "BOX"], Text), (&["top", "--format", "json", "BOX"], Whole)]),
    ("stats", &[(&["stats", "--no-stream", "BOX"], Text), (&["stats", "--no-stream", "--format", "json"], Json)]),
    ("inspect", &[(&["inspect", "BOX"], Whole), (&["inspect", "DEAD"], Whole), (&["inspect", "--type", "image", "IMAGE"], Whole),
        (&["inspect", "oci:LAYOUT"], Whole), (&["inspect", "HOSTILE"], Text)]),
    ("images", &[(&["images"], Text), (&["images", "--format", "json"], Whole)]),
    ("import", &[(&["import", "HERE/HOSTILE", "x"], Text), (&["import", "LAYOUT", "HOSTILE"], Text), (&["import", "BAD"], Text)]),
    ("save", &[(&["save", "HOSTILE"], Text)]),
    ("tag", &[(&["tag", "IMAGE", "HOSTILE"], Text)]),
    ("history", &[(&["history", "IMAGE"], Text), (&["history", "--no-trunc", "IMAGE"], Text)]),
    ("pull", &[(&["pull", "HOSTILE"], Text)]),
    ("rmi", &[(&["rmi", "HOSTILE"], Text)]),
    ("image", &[(&["image", "ls", "--format", "json"], Whole), (&["image", "inspect", "IMAGE"], Whole), (&["image", "history", "IMAGE"], Text)]),
    ("volume", &[(&["volume", "ls"], Text), (&["volume", "ls", "--format", "json"], Json), (&["volume", "inspect", "HOSTILE"], Text)]),
    ("layers", &[(&["layers"], Text), (&["layers", "--format", "json"], Json)]),
    ("facts", &[(&["facts", "PID"], Text), (&["facts", "--format", "json", "PID"], Whole)]),
    ("doctor", &[(&["doctor", "--store"], Text), (&["doctor", "--format", "json"], Json)]),
    ("learn", &[(&["learn", "check", "HOSTILE"], Text)]),
    ("demo", &[(&["demo", "HOSTILE"], Text)]),
    ("clean", &[(&["clean"], Text)]),
    ("completions", &[]),
    ("man", &[]),
];

/// And each of rubber-oci's, of a bundle whose every text is hostile.
#[rustfmt::skip]
const OCI: &[(&str, &[Call])] = &[
    ("create", &[(&["--log", "LOG", "--log-format", "json", "create", "--bundle", "BAD", "x"], Text), (&["create", "HOSTILE"], Text)]),
    ("start", &[(&["start", "HOSTILE"], Text)]),
    ("run", &[(&["run", "--bundle", "BAD", "x"], Text)]),
    ("state", &[(&["state", "BOX"], Whole)]),
    ("kill", &[(&["kill", "BOX", "HOSTILE"], Text)]),
    ("delete", &[(&["delete", "HOSTILE"], Text)]),
    ("exec", &[(&["exec", "BOX", "HOSTILE"], Text)]),
    ("list", &[(&["list"], Text), (&["list", "--format", "json"], Whole)]),
    ("ps", &[(&["ps", "BOX"], Text), (&["ps", "--format", "json", "BOX"], Json)]),
    ("pause", &[(&["pause", "HOSTILE"], Text)]),
    ("resume", &[(&["resume", "HOSTILE"], Text)]),
    ("update", &[(&["update", "--cpuset-cpus", "HOSTILE", "BOX"], Text)]),
    ("events", &[(&["events", "--stats", "BOX"], Json)]),
    ("features", &[(&["features"], Json)]),
    ("spec", &[(&["spec", "--bundle", "HERE/HOSTILE/none"], Text)]),
    ("help", &[]),
];

/// The commands that the program has, as its help lists them.
fn listed(program: &Path) -> BTreeSet<String> {
    let help = text(&Command::new(program).arg("--help").output().unwrap().stdout);
    let lines =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    lines.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

fn try_each(program: &Path, root: &Path, commands: &[(&str, &[Call])], words: &BTreeMap<&str, String>) {
    let names: BTreeSet<_> = commands.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(
        listed(program),
        names,
        "each command is called here, or is said to print nothing of a container's"
    );
    for (call, form) in commands.iter().flat_map(|(_, calls)| calls.iter()) {
        let filled = |word: &&str| {
            let words = words.iter().fold((*word).to_owned(), |word, (name, is)| word.replace(name, is));
            words.replace("HOSTILE", HOSTILE)
        };
        let mut command = Command::new(program);
        command.arg("--root").arg(root).args(call.iter().map(filled)).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = assert_shown(&output, &format!("{call:?}"));
        if *form == Text {
            continue;
        }
        assert_eq!(code(&output), 0, "{call:?}: {output:?}");
        let json: Value =
            serde_json::from_str(&said).unwrap_or_else(|error| panic!("{call:?}: {error}: {said}"));
        assert!(*form == Json || has(&json), "{call:?}: not the same data: {said}");
    }
}

/// Also where the test fails.
struct AtEnd(Command);

impl AtEnd {
    fn of(program: &Path, root: &Path, words: &[&str]) -> AtEnd {
        let mut command = Command::new(program);
        command.arg("--root").arg(root).args(words);
        AtEnd(command)
    }
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        let _ = self.0.output();
    }
}

fn hostile_config() -> Value {
    json!({
        "Labels": {HOSTILE: HOSTILE},
        "Env": [format!("PATH=/bin"), format!("E{HOSTILE}={HOSTILE}")],
        "Volumes": {format!("/v/{HOSTILE}"): {}},
        "WorkingDir": format!("/w/{HOSTILE}"),
        "Cmd": ["sleep", "60", HOSTILE],
    })
}

/// An image whose every text is hostile, with a history, and of a time that is none.
fn write_hostile(layout: &Path, name: &str) {
    let layer = files(&[(&format!("f/{HOSTILE}"), "x")]);
    write(layout, &format!("{name}:1"), &[busybox(), layer], hostile_config());
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let read = |digest: &str| -> Value {
        serde_json::from_slice(&fs::read(layout.join("blobs").join(digest.replace(':', "/"))).unwrap())
            .unwrap()
    };
    let mut manifest = read(index["manifests"][0]["digest"].as_str().unwrap());
    let mut config = read(manifest["config"]["digest"].as_str().unwrap());
    config["created"] = HOSTILE.into();
    config["author"] = HOSTILE.into();
    config["history"] =
        json!([{"created": HOSTILE, "created_by": HOSTILE}, {"comment": HOSTILE, "created_by": HOSTILE}]);
    let put = |value: &Value, from: &Value| {
        let bytes = value.to_string().into_bytes();
        let digest = layout::digest(&bytes);
        fs::write(layout.join("blobs").join(digest.replace(':', "/")), &bytes).unwrap();
        let mut entry = from.clone();
        (entry["digest"], entry["size"]) = (digest.into(), bytes.len().into());
        entry
    };
    manifest["config"] = put(&config, &manifest["config"]);
    let entry = put(&manifest, &index["manifests"][0]);
    fs::write(layout.join("index.json"), json!({"schemaVersion": 2, "manifests": [entry]}).to_string())
        .unwrap();
}

#[test]
fn nothing_of_an_image_or_a_container_reaches_the_terminal_as_a_command() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("store");
    let at = |name: &str| place.path().join(name).display().to_string();
    write_hostile(&place.path().join("layout"), "hostile");
    fs::create_dir_all(place.path().join("here").join(HOSTILE)).unwrap();
    write(&place.path().join("bad"), HOSTILE, &[b"no tar".to_vec()], json!({}));
    let ours = |words: &[&str]| {
        let mut command = Command::new(RUBBER);
        let output = command.arg("--root").arg(&root).args(words).stdin(Stdio::null()).output().unwrap();
        assert_shown(&output, &format!("{words:?}"));
        assert_eq!(code(&output), 0, "{words:?}: {output:?}");
        text(&output.stdout).trim().to_owned()
    };
    ours(&["import", &at("layout")]);
    let script =
        format!("touch '/tmp/{HOSTILE}'; rm -rf '/f/{HOSTILE}'; touch /up; while sleep 1; do :; done");
    let _gone = AtEnd::of(Path::new(RUBBER), &root, &["rm", "-f", "box", "dead"]);
    let label = format!("l={HOSTILE}");
    ours(&["run", "-d", "--name", "box", "-l", &label, "hostile:1", "sh", "-c", &script, HOSTILE]);
    ours(&["run", "-d", "--name", "dead", "hostile:1", "true", HOSTILE]);
    ours(&["wait", "dead"]);
    let about: Value = serde_json::from_str(&ours(&["inspect", "box"])).unwrap();
    let pid = about[0]["state"]["pid"].to_string();
    let begin = std::time::Instant::now();
    while !Path::new(&format!("/proc/{pid}/root/up")).exists() {
        assert!(begin.elapsed().as_secs() < 20);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let words = [
        ("IMAGE", "hostile:1".to_owned()),
        ("BOX", "box".to_owned()),
        ("DEAD", "dead".to_owned()),
        ("PID", pid),
        ("HERE", at("here")),
        ("LAYOUT", at("layout")),
        ("BAD", at("bad")),
    ];
    try_each(Path::new(RUBBER), &root, COMMANDS, &words.into());
}

#[test]
fn nothing_of_a_bundle_reaches_the_terminal_as_a_command() {
    if !is_root() {
        return lab::skip_this("an ordinary user's rubber-oci has no cgroup of its own here");
    }
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name).display().to_string();
    let program = place.path().join("rubber-oci");
    symlink(RUBBER, &program).unwrap();
    let printed = rubber(["run", "--dry-run", "--format", "oci", "busybox", "sleep", "60"]).output().unwrap();
    let mut config: Value = serde_json::from_slice(&printed.stdout).unwrap();
    config["annotations"] = json!({HOSTILE: HOSTILE});
    config["process"]["args"] = json!(["/bin/sh", "-c", "while busybox sleep 1; do :; done", HOSTILE]);
    config["process"]["terminal"] = json!(false);
    config["process"]["env"] = json!([format!("A={HOSTILE}")]);
    let root = small_root("shown-oci");
    config["root"]["path"] = json!(root);
    let bundle = place.path().join(format!("bundle{HOSTILE}"));
    fs::create_dir(&bundle).unwrap();
    fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    fs::create_dir(place.path().join("bad")).unwrap();
    config["process"]["args"] = json!([HOSTILE]);
    config["process"]["cwd"] = json!(format!("/{HOSTILE}"));
    config["mounts"] =
        json!([{"destination": format!("/{HOSTILE}"), "type": "bind", "source": format!("/{HOSTILE}")}]);
    fs::write(place.path().join("bad/config.json"), config.to_string()).unwrap();
    let states = place.path().join("states");
    let ours = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("--root").arg(&states).args(words).stdin(Stdio::null()).stdout(Stdio::null());
        let ended = command.stderr(Stdio::null()).status().unwrap();
        assert!(ended.success(), "{words:?}");
    };
    let id = format!("shown-{}", std::process::id());
    let _gone = AtEnd::of(&program, &states, &["delete", "--force", &id]);
    ours(&["run", "--detach", "--bundle", bundle.to_str().unwrap(), &id]);
    let log = at("log");
    let words = [("BOX", id.clone()), ("BAD", at("bad")), ("HERE", at("here")), ("LOG", log.clone())];
    try_each(&program, &states, OCI, &words.into());
    let log = fs::read_to_string(log).unwrap();
    assert!(!log.is_empty() && !log.chars().any(is_hidden), "{log:?}");
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
    fs::remove_dir_all(root).unwrap();
}

/// There is one place that writes JSON for people: what is written elsewhere is not looked through.
#[test]
fn json_that_is_printed_is_written_in_one_place() {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut wrong = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (n, line) in code.lines().enumerate() {
            let (formats, makes) = (line.find("format!"), line.find("json!("));
            let writes = line.contains("serde_json::to_string") || formats.is_some() && formats < makes;
            if writes && !path.ends_with("show/json.rs") {
                wrong.push(format!("{}:{}: {}", path.display(), n + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "show::json writes it:\n{}", wrong.join("\n"));
}

//! The chapter that builds no layer: its solution passes, its bare file stops at the first step, and each wrong turn, a
//! merge patch (RFC 7396) over the solution, gets the diagnosis that names it.

use crate::{chapters::*, lab};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Mutex, MutexGuard},
};

struct Bench {
    root: PathBuf,
    toml: toml::Table,
    _only_one: MutexGuard<'static, ()>,
}

impl Bench {
    fn new() -> Bench {
        static ONLY_ONE: Mutex<()> = Mutex::new(());
        let only_one = ONLY_ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let root = lab::scratch().join("bundles");
        copy_sources(&root, &["workshop", "src", "Cargo.toml"]);
        let toml = fs::read_to_string(sources().join("workshop/20_oci/chapter.toml")).unwrap();
        Bench { root, toml: toml.parse().unwrap(), _only_one: only_one }
    }

    fn dir(&self) -> PathBuf {
        self.root.join("workshop/20_oci")
    }

    /// As `rubber learn solution` prints it.
    fn solution(&self) -> Value {
        let output = self.learn(&["solution", "20", "--give-up"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    fn learn(&self, words: &[&str]) -> std::process::Output {
        let mut command = std::process::Command::new(lab::RUBBER);
        command.arg("learn").args(words).current_dir(&self.root).stdin(Stdio::null()).output().unwrap()
    }

    fn check(&self, config: &str) -> Value {
        fs::write(self.dir().join("config.json"), config).unwrap();
        let output = self.learn(&["check", "20", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }

    /// Each wrong turn that can be taken by who runs the tests, and its diagnosis.
    fn mistakes(&self) -> Vec<(String, String)> {
        let caller = if lab::is_root() { "root" } else { "user" };
        let all = self.toml["diagnosis"].as_array().unwrap().iter();
        let here = all.filter(|one| one.get("only").is_none_or(|only| only.as_str() == Some(caller)));
        let each = |one: &toml::Value| {
            let id = one["id"].as_str().unwrap().to_owned();
            let files = one["mistakes"].as_array().unwrap().clone();
            files.into_iter().map(move |file| (file.as_str().unwrap().to_owned(), id.clone()))
        };
        here.flat_map(each).collect()
    }
}

/// A patch's list of namespaces is root's: an ordinary user's has one more, to which the mappings belong.
fn keep_user(config: &mut Value) {
    let user = json!({ "type": "user" });
    if config["linux"]["uidMappings"].is_array()
        && let Some(list) = config["linux"]["namespaces"].as_array_mut()
        && !list.contains(&user)
    {
        list.push(user);
    }
}

fn merge(into: &mut Value, patch: &Value) {
    let (Value::Object(fields), Value::Object(changes)) = (&mut *into, patch) else {
        *into = patch.clone();
        return;
    };
    for (name, change) in changes {
        match change {
            Value::Null => _ = fields.remove(name),
            change => merge(fields.entry(name.clone()).or_insert(Value::Null), change),
        }
    }
}

/// Where a user namespace is not to be had, that is said, and nothing can be told.
fn is_told(found: &Value) -> bool {
    let cannot = found["result"]["outcome"] == "cannot";
    if cannot {
        lab::skip_this(&found["result"]["why"].to_string());
    }
    !cannot
}

#[test]
fn bundle_of_the_solution_passes() {
    let bench = Bench::new();
    let before = ledger();
    let found = bench.check(&bench.solution().to_string());
    if !is_told(&found) {
        return;
    }
    assert_eq!(found["result"]["outcome"], "pass", "{found}");
    let podman = found["facts"]["podman"].clone();
    match podman["did"].is_string() {
        true => assert_eq!(podman["inside"]["hostname"], "by-podman"),
        // As it says to the learner.
        false => lab::note(&format!("podman was not tried: {}", podman["untried"])),
    }
    if lab::is_root() && lab::has("podman") {
        assert!(podman["did"].is_string(), "{podman}");
    }
    assert_balanced(&before);
}

#[test]
fn bundle_as_it_comes_stops_at_its_first_step() {
    let bench = Bench::new();
    let bare = fs::read_to_string(sources().join("workshop/20_oci/config.json")).unwrap();
    let found = bench.check(&bare);
    if !is_told(&found) {
        return;
    }
    assert_eq!(
        (&found["result"]["outcome"], &found["result"]["step"]),
        (&"not_yet".into(), &1.into()),
        "{found}"
    );
    // And further, with each step that is written.
    let mut half: Value = serde_json::from_str(&bare).unwrap();
    half.as_object_mut().unwrap().remove("not_yet(1)");
    let found = bench.check(&half.to_string());
    assert_eq!(found["result"]["diagnosis"], "oci.no_version", "{found}");
    half["ociVersion"] = "1.2.0".into();
    let found = bench.check(&half.to_string());
    assert_eq!(found["result"]["step"], 2, "{found}");
    assert_eq!(bench.check("{")["result"]["outcome"], "compiler");
}

#[test]
fn bundle_mistakes_are_told_from_each_other() {
    let bench = Bench::new();
    let before = ledger();
    let solution = bench.solution();
    let mut wrong = Vec::new();
    for (file, diagnosis) in bench.mistakes() {
        let mut config = solution.clone();
        merge(&mut config, &read(&bench.dir().join("mistakes").join(&file)));
        keep_user(&mut config);
        // Nobody but root mounts the proc of a namespace that is not theirs: this is seen before there are mounts.
        if file == "no-pid-namespace.json" && !lab::is_root() {
            config["mounts"] = json!([]);
        }
        let found = bench.check(&config.to_string());
        if !is_told(&found) {
            return;
        }
        if found["result"]["diagnosis"] != *diagnosis {
            wrong.push(format!("{file}: not {diagnosis}, but {}", found["result"]));
        }
        let screen = found["screen"].as_str().unwrap();
        if screen.lines().count() > 12 || screen.lines().any(|line| line.chars().count() > 80) {
            wrong.push(format!("{file}: too long:\n{screen}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_balanced(&before);
}

fn read(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn bundle_has_a_mistake_for_every_diagnosis_and_no_mistake_without() {
    let bench = Bench::new();
    let all = bench.toml["diagnosis"].as_array().unwrap();
    let named =
        all.iter().flat_map(|one| one["mistakes"].as_array().unwrap()).map(|file| file.as_str().unwrap());
    let named: BTreeSet<_> = named.map(str::to_owned).collect();
    let files = fs::read_dir(sources().join("workshop/20_oci/mistakes")).unwrap().flatten();
    assert_eq!(named, files.map(|entry| entry.file_name().into_string().unwrap()).collect());
    assert!(all.len() >= 8 && all.iter().all(|one| !one["mistakes"].as_array().unwrap().is_empty()));
}

/// It comes back as it came, and what was written is kept; and it has no layer to be compared.
#[test]
fn bundle_is_reset_with_a_backup_and_compared_with_no_layer() {
    let bench = Bench::new();
    fs::write(bench.dir().join("config.json"), "{}").unwrap();
    let output = bench.learn(&["reset", "20"]);
    assert!(output.status.success(), "{output:?}");
    let text = |name: &str| fs::read_to_string(bench.dir().join(name)).unwrap();
    assert_eq!(
        text("config.json"),
        fs::read_to_string(sources().join("workshop/20_oci/config.json")).unwrap()
    );
    assert_eq!(text("config.json.1"), "{}");
    fs::remove_file(bench.dir().join("config.json.1")).unwrap();
    for (words, told) in [
        (&["diff", "14", "20"][..], "rubber learn diff 20 compares yours with ours"),
        (&["diff", "05"], "rubber learn diff 04 05"),
    ] {
        let output = bench.learn(words);
        assert_eq!(lab::code(&output), 2, "{output:?}");
        assert!(lab::text(&output.stderr).contains(told), "{output:?}");
    }
    assert!(lab::text(&bench.learn(&["hint", "20"]).stdout).contains("hint 1 of 3"));
}

/// Line by line, then by what the kernel says of both; and what ours has in it is not told before its time.
#[test]
fn bundle_is_compared_with_ours() {
    let bench = Bench::new();
    let before = ledger();
    let mut config = bench.solution();
    if !is_told(&bench.check(&config.to_string())) {
        return;
    }
    let forget = || fs::remove_file(bench.root.join(".rubber-learn")).unwrap();
    let diff = |config: &str, code: i32| {
        fs::write(bench.dir().join("config.json"), config).unwrap();
        let output = bench.learn(&["diff", "20"]);
        assert_eq!(lab::code(&output), code, "{output:?}");
        lab::text(&output.stdout) + &lab::text(&output.stderr)
    };
    let same = diff(&config.to_string(), 0);
    assert!(same.ends_with("(+)\n  nothing\n\nfacts\n  nothing\n"), "{same}");
    config["process"]["cwd"] = "/bin".into();
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|one| one["type"] != "network");
    // The order of most lists means nothing.
    config["linux"]["namespaces"].as_array_mut().unwrap().reverse();
    forget();
    let lines = "(+)
  + linux.namespaces
  - process.cwd                      \"/bin\"
  + process.cwd
  what ours has there: rubber learn solution 20, after a pass

facts
  cwd               \"/bin\" -> \"/\"
  ns.net            the host's -> its own
";
    let untold = diff(&config.to_string(), 0);
    assert!(untold.ends_with(lines), "{untold}");
    bench.solution();
    let told = diff(&config.to_string(), 0);
    assert!(told.contains("  + linux.namespaces                 {\"type\":\"network\"}\n"), "{told}");
    assert!(told.contains("  + process.cwd                      \"/\"\n\nfacts\n"), "{told}");
    config["process"]["args"] = json!(["portrait", "rubber"]);
    let refused = diff(&config.to_string(), 0);
    assert!(
        refused.contains("  - process.args                     [\"portrait\",\"rubber\"]\n"),
        "{refused}"
    );
    assert!(refused.contains("\nwhat becomes of yours\n  rubber-oci: "), "{refused}");
    assert!(diff("{", 1).contains("workshop/20_oci/config.json: EOF"));
    assert_balanced(&before);
}

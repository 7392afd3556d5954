//! `rubber layers`, `--until` and `--without`: names, numbers, and nonsense.

use super::lab::{code, is_root, rubber, text};
use serde_json::Value;
use std::{collections::BTreeSet, fs, path::Path};

fn rows() -> Vec<Value> {
    let output = rubber(["layers", "--format", "json"]).output().unwrap();
    serde_json::from_slice::<Vec<Value>>(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn table_is_the_one_in_run_rs() {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/run.rs")).unwrap();
    let table = |name: &str| {
        let start = source.split(&format!("pub const {name}: &[Step] = &[")).nth(1).unwrap();
        let rows =
            start.split("];").next().unwrap().lines().filter(|line| line.trim_start().starts_with("row("));
        rows.map(|row| row.split('"').nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let tables = [("host", "HOST"), ("pid 1", "PID_1"), ("host", "AFTERWARDS")];
    let expected: Vec<_> =
        tables.iter().flat_map(|(who, name)| table(name).into_iter().map(move |does| (*who, does))).collect();
    let rows = rows();
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row["who"].as_str().unwrap(), row["does"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(told, expected);
    assert!(rows.iter().enumerate().all(|(n, row)| row["step"] == n + 1), "{rows:?}");

    let output = rubber(["layers"]).output().unwrap();
    let table = text(&output.stdout);
    let lines: Vec<_> = table.lines().skip(1).collect();
    for (row, line) in rows.iter().zip(lines) {
        let number = format!("{:02}", row["chapter"].as_u64().unwrap());
        let words: Vec<_> = line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
        let step = row["step"].to_string();
        assert_eq!(
            words[..4],
            [&step, row["who"].as_str().unwrap(), &number, row["layer"].as_str().unwrap()],
            "{line}"
        );
        assert!(line.contains(row["does"].as_str().unwrap()), "{line}");
        let unless = row["unless"].as_str().map(|better| format!("(unless {better})"));
        let asked = (row["if_asked_for"] == true).then(|| "(if asked for)".to_owned());
        let condition = unless.or(asked);
        assert_eq!(line.ends_with(')'), condition.is_some(), "{line}");
        assert!(condition.is_none_or(|words| line.ends_with(&words)), "{line}");
    }
}

/// One name, five places: each layer has a file of its name.
#[test]
fn table_names_each_layer_as_its_file() {
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/layers")).unwrap();
    let mut files: BTreeSet<_> =
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
    // What the cgroup layers have in common, whose each namespace is, what is each process's own, and the list itself.
    let others = ["cgroup", "confinement", "idmap", "lower", "masks", "namespaces", "rlimits", "mod"];
    assert!(others.iter().all(|file| files.remove(*file)));
    let layers: BTreeSet<_> = rows().iter().map(|row| row["layer"].as_str().unwrap().to_owned()).collect();
    assert_eq!(layers, files);
}

/// The narration's layers, up to where `flags` cut them.
fn announced(flags: &[&str], words: &[&str]) -> BTreeSet<String> {
    // Nobody gets devices without asking.
    let asked = ["run", "--dry-run", "--explain=json", "--device", "/dev/null:/dev/nowhere"];
    let words = asked.iter().chain(flags).chain(words);
    let output = rubber(words).output().unwrap();
    assert!(output.status.success(), "{flags:?}: {output:?}");
    let lines = text(&output.stderr);
    let objects = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    objects.filter_map(|object| Some(object["layer"].as_str()?.to_owned())).collect()
}

#[test]
fn table_numbers_and_names_mean_the_same_and_add_up() {
    let mut layers: Vec<_> = rows()
        .iter()
        .map(|row| (row["chapter"].as_u64().unwrap(), row["layer"].as_str().unwrap().to_owned()))
        .collect();
    layers.sort();
    layers.dedup();
    let mut before = BTreeSet::new();
    super::lab::run(&[], "true");
    for (number, name) in layers {
        let words: &[&str] = if number == 0 { &["/bin/true"] } else { &["busybox", "/bin/true"] };
        let now = announced(&["--until", &name], words);
        assert_eq!(announced(&["--until", &number.to_string()], words), now, "{name}");
        assert_eq!(announced(&["--until", &format!("{number:02}")], words), now, "{name}");
        before.insert(name.clone());
        // A layer may take the place of an earlier one, and userns is an ordinary user's.
        let expected: BTreeSet<_> =
            before.iter().filter(|name| is_root() || *name != "userns").cloned().collect();
        let is_on = |name: &&String| *name != "chroot" || !before.contains("overlay");
        let mut expected: BTreeSet<_> = expected.iter().filter(is_on).cloned().collect();
        match (is_root(), number) {
            (true, _) => expected.remove("userns"),
            (false, 0) => false,
            (false, _) => expected.insert("userns".into()),
        };
        assert_eq!(now, expected, "--until {name}");
    }
}

#[test]
fn table_refuses_nonsense_and_says_what_would_work() {
    let refused = |flags: &[&str]| {
        let output = rubber(["run"].iter().chain(flags).chain(&["busybox", "true"])).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(code(&output), 125, "{flags:?}: {said}");
        assert!(said.starts_with("rubber: ") && said.lines().count() <= 2, "{flags:?}: {said}");
        said
    };
    for word in ["nosuch", "17", "99", "-1", "", "Uts", "uts,pid"] {
        assert!(refused(&["--until", word]).contains("there are process, chroot, mount"), "{word:?}");
    }
    assert!(refused(&["--without", "uts,nosuch"]).contains("no layer \"nosuch\""));
    assert!(refused(&["--without", "process"]).contains("needs process"));
    assert!(refused(&["--without", "process,pid,uts"]).contains("needs process"));
    assert!(refused(&["--without", "mount"]).contains("pivot_root needs mount"));
    assert!(refused(&["--without", "chroot,pivot_root"]).contains("needs chroot or pivot_root"));
    // The advice is followed, and works.
    for flags in [&["--without", "mount"][..], &["--without", "chroot,pivot_root"]] {
        let said = refused(flags);
        let advice = said.lines().nth(1).unwrap().split("--without ").nth(1).unwrap();
        announced(&["--without", advice], &["busybox", "/bin/true"]);
    }
}

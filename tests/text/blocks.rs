//! The `console` blocks: each command is run, and must print what stands below it.
//!
//! `[..]` in a line stands for anything, and a line of `...` for any lines. The words behind `console` say
//! where a block can run: `root`, `user`, and `v1` or `v2` where it wants cgroups of that version.
//! `refresh`: with RUBBER_REFRESH=1 what was printed is written into the text.

use crate::{lab, sources, texts};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

struct Block<'a> {
    words: Vec<&'a str>,
    /// Where its lines begin and end in the text.
    lines: std::ops::Range<usize>,
    /// Each command and what it is to print.
    commands: Vec<(String, String)>,
}

#[test]
fn text_shows_what_happens() {
    let place = tempfile::tempdir().unwrap();
    let path = rubber_in_path(place.path());
    let refresh = std::env::var_os("RUBBER_REFRESH").is_some();
    let only = std::env::var("RUBBER_TEXT").unwrap_or_default();
    let (mut wrong, mut shown, mut left) = (Vec::new(), 0, 0);
    for (name, text) in texts().into_iter().filter(|(name, _)| name.contains(&only)) {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        // From the end, so that what is rewritten moves nothing that is still to come.
        for (number, block) in blocks(&text).iter().enumerate().rev() {
            // A slow machine runs what it is there for, and a sample of the rest.
            if lab::few() && number > 0 && block.words.iter().all(|word| *word == "refresh") {
                continue;
            }
            if !block.words.iter().all(|word| holds(word, &path)) {
                left += 1;
                continue;
            }
            let found = run(block, &path);
            if refresh && block.words.contains(&"refresh") {
                lines.splice(block.lines.clone(), found.iter().flat_map(told));
            } else {
                wrong.extend(found.iter().filter_map(|ran| differs(&name, ran)));
            }
            shown += block.commands.len();
        }
        if refresh {
            fs::write(sources().join(&name), lines.join("\n") + "\n").unwrap();
        }
    }
    lab::note(&format!("{shown} commands of the text were run; {left} blocks are for another place"));
    assert!(wrong.is_empty(), "{} commands:\n{}", wrong.len(), wrong.join("\n"));
    assert!(shown > 0);
}

/// The binary under test as `rubber`, with the tests' store.
fn rubber_in_path(place: &Path) -> String {
    let script = format!("#!/bin/sh\nexec {} --root {} \"$@\"\n", lab::RUBBER, lab::store().display());
    let rubber = place.join("rubber");
    fs::write(&rubber, script).unwrap();
    fs::set_permissions(&rubber, fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(lab::RUBBER, place.join("rubber-oci")).unwrap();
    // So that no block meets the lines that tell of its making.
    lab::say(&[], "true");
    format!("{}:{}", place.display(), std::env::var("PATH").unwrap())
}

fn holds(word: &str, path: &str) -> bool {
    let is_v2 = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let limited = || sh("rubber run -m 64m --cpus 1 busybox true", path).status.success();
    match word {
        "refresh" => true,
        "root" => lab::is_root(),
        // An image on an overlay cannot be shown with other owners.
        "maps" => lab::is_root() && !lab::on_overlay(),
        "user" => !lab::is_root(),
        "v1" => !is_v2 && limited(),
        "v2" => is_v2 && limited(),
        _ => panic!("no such word behind console: {word}"),
    }
}

fn sh(command: &str, path: &str) -> Output {
    let mut shell = Command::new("timeout");
    shell.args(["60", "sh", "-c", command]).env("PATH", path).env_remove("RUBBER_REFRESH");
    shell.current_dir(sources()).stdin(Stdio::null()).output().unwrap()
}

/// A command, what it was to print, and what came.
struct Ran<'a> {
    command: &'a str,
    wanted: &'a str,
    output: Output,
}

fn run<'a>(block: &'a Block, path: &str) -> Vec<Ran<'a>> {
    let ran = |(command, wanted): &'a (String, String)| Ran { command, wanted, output: sh(command, path) };
    block.commands.iter().map(ran).collect()
}

fn differs(name: &str, ran: &Ran) -> Option<String> {
    let printed = lab::text(&ran.output.stdout);
    let (wanted, got): (Vec<_>, Vec<_>) =
        (ran.wanted.trim_end().lines().collect(), printed.trim_end().lines().collect());
    let error = lab::text(&ran.output.stderr);
    (!same(&wanted, &got))
        .then(|| format!("{name}: $ {}\n--- wanted\n{}\n--- got\n{printed}{error}", ran.command, ran.wanted))
}

fn same(wanted: &[&str], got: &[&str]) -> bool {
    match (wanted, got) {
        ([], got) => got.is_empty(),
        (["...", rest @ ..], got) => (0..=got.len()).any(|n| same(rest, &got[n..])),
        ([line, rest @ ..], [first, others @ ..]) => alike(line, first) && same(rest, others),
        (_, []) => false,
    }
}

fn alike(wanted: &str, got: &str) -> bool {
    let mut parts = wanted.trim_end().split("[..]");
    let first = parts.next().unwrap_or_default();
    let parts: Vec<_> = parts.collect();
    let got = got.trim_end();
    let Some(mut rest) = got.strip_prefix(first) else { return false };
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The command and what it printed, as the text shows it.
fn told(ran: &Ran) -> Vec<String> {
    let command = ran.command.split('\n').enumerate();
    let command = command.map(|(n, line)| format!("{} {line}", if n == 0 { "$" } else { ">" }));
    let printed = lab::text(&ran.output.stdout);
    // What does not differ but for the masks may stay as its author wrote it.
    let lines: Vec<_> = printed.trim_end().lines().collect();
    let wanted: Vec<_> = ran.wanted.trim_end().lines().collect();
    let printed: Vec<_> = match same(&wanted, &lines) {
        true => wanted.into_iter().map(str::to_owned).collect(),
        false => lines.into_iter().map(masked).collect(),
    };
    command.chain(printed).collect()
}

/// What is another one each time: ids, places of the store, numbers of namespaces and processes.
fn masked(line: &str) -> String {
    let line = line.replace(&*lab::store().to_string_lossy(), "[..]");
    let is_random = |word: &str| {
        let hex = word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex || word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut masked = String::new();
    let mut word = String::new();
    for c in line.chars().chain(['\n']) {
        if c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        masked += if is_random(&word) { "[..]" } else { &word };
        word.clear();
        masked.push(c);
    }
    masked.trim_end().to_owned()
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        if let Some(info) = line.strip_prefix("```") {
            inside = !inside && info.split(' ').next() == Some("console");
            if inside {
                let words = info.split(' ').skip(1).collect();
                blocks.push(Block { words, lines: number + 1..number + 1, commands: Vec::new() });
            }
            continue;
        }
        let Some(block) = blocks.last_mut().filter(|_| inside) else { continue };
        block.lines.end = number + 1;
        match (line.strip_prefix("$ "), line.strip_prefix("> "), block.commands.last_mut()) {
            (Some(command), ..) => block.commands.push((command.to_owned(), String::new())),
            (None, Some(more), Some((command, wanted))) if wanted.is_empty() => {
                *command += &format!("\n{more}");
            }
            (None, _, Some((_, wanted))) => *wanted += &format!("{line}\n"),
            (None, _, None) => panic!("a console block begins without a command: {line}"),
        }
    }
    blocks
}

#[test]
fn text_is_compared_line_by_line() {
    assert!(same(&["a [..] c", "...", "z"], &["a b c", "x", "y", "z"]));
    assert!(same(&["..."], &[]) && same(&["[..]b"], &["aab"]));
    assert!(!same(&["a [..] c"], &["a b d"]) && !same(&["a"], &["a", "b"]) && !same(&["a", "b"], &["a"]));
    assert_eq!(masked("uts:[4026531838] of 0123456789ab, 7"), "uts:[[..]] of [..], 7");
}

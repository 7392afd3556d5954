//! Manual pages and completions: made of the command line itself, and well-formed.

#[path = "lab/mod.rs"]
mod lab;

use std::{fs, process::Command};

#[test]
fn every_command_has_a_manual_page() {
    let place = tempfile::tempdir().unwrap();
    let ended = Command::new(lab::RUBBER).arg("man").arg(place.path()).status().unwrap();
    assert!(ended.success());
    let help = Command::new(lab::RUBBER).arg("--help").output().unwrap();
    let help = lab::text(&help.stdout);
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut count = 0;
    for command in commands.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()) {
        if command.is_empty() {
            continue;
        }
        let page = fs::read_to_string(place.path().join(format!("rubber-{command}.1"))).unwrap();
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{command}");
        count += 1;
    }
    assert!(count > 15, "only {count}");
}

#[test]
fn shells_take_the_completions() {
    let script = Command::new(lab::RUBBER).args(["completions", "bash"]).output().unwrap();
    assert!(script.status.success());
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("rubber.bash");
    fs::write(&file, &script.stdout).unwrap();
    let complete = format!(
        "source {}; COMP_WORDS=(rubber run --pri); COMP_CWORD=2; COMP_LINE='rubber run --pri'; \
         _rubber rubber --pri run; echo ${{COMPREPLY[*]}}",
        file.display()
    );
    let completed = Command::new("bash").args(["-c", &complete]).output().unwrap();
    assert_eq!(lab::text(&completed.stdout).trim(), "--privileged", "{completed:?}");
}

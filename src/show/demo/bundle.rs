//! The chapter without a layer: what its sides differ in is how far a container has come that rubber-oci makes of a
//! config.json, or a few lines of that file.
//!
//! The file is the solution of the chapter's exercise, and its program one that stays to be looked at.

use super::{Ground, beats::Beat, stand_in::STORE};
use crate::image;
use anyhow::{Context, Result};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

pub const CHAPTER: (u8, &str) = (20, "oci");
pub const DEMO: &str = include_str!("../../../workshop/20_oci/demo.toml");
const FOR_ROOT: &str = include_str!("../../../workshop/20_oci/solution.json");
const FOR_USER: &str = include_str!("../../../workshop/20_oci/solution-user.json");
/// What the solution runs, and what stays instead.
const PORTRAIT: &str = r#"["rubber", "portrait"]"#;
const SLEEP: &str = r#"["sleep", "60"]"#;
/// A shell wants a terminal, and that a mount of its own.
const SHELL: &str = r#"["sh"], "terminal": true"#;
const PROC: &str = r#""source": "proc" }"#;
const PROC_AND_PTS: &str = r#""source": "proc" },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["ptmxmode=0666"] }"#;

const DIR: &str = "/root/bundle";
const NAME: &str = "by-hand";
/// A container's life in the words of rubber-oci. Pid 1 of a namespace minds no other signal that it has no handler for.
const LIFE: [(&str, &str); 4] = [
    ("create", "rubber-oci create --pid-file pid by-hand"),
    ("start", "rubber-oci start by-hand"),
    (
        "kill",
        "rubber-oci kill by-hand KILL; until rubber-oci state by-hand | grep -q stopped; do sleep 0.1; done",
    ),
    ("delete", "rubber-oci delete by-hand"),
];
/// How much of it a beat about a line of the file takes: the container runs.
const RUNNING: usize = 2;

/// How much of `LIFE` has passed, and of which file.
#[derive(Clone, Copy)]
pub struct Moment {
    said: usize,
    lacks_lines: bool,
}

/// Whether the beat is of this chapter.
pub fn is_beside(beat: &Beat) -> bool {
    beat.step.is_some() || !beat.lines.is_empty()
}

/// Both sides of a beat: one command less, or else a few lines less.
pub fn moments(beat: &Beat) -> [Moment; 2] {
    let step = beat.step.as_ref().and_then(|step| LIFE.iter().position(|(name, _)| name == step));
    match step {
        Some(step) => [step, step + 1].map(|said| Moment { said, lacks_lines: false }),
        None => [true, false].map(|lacks_lines| Moment { said: RUNNING, lacks_lines }),
    }
}

/// What a side is called.
pub fn heading(beat: &Beat, moment: Moment) -> String {
    match (beat.step.is_some(), moment) {
        (true, Moment { said: 0, .. }) => "config.json and rootfs, no container".into(),
        (true, Moment { said, .. }) => format!("after rubber-oci {} {NAME}", LIFE[said - 1].0),
        (false, Moment { lacks_lines: true, .. }) => format!("config.json lacks {}", count(beat)),
        (false, _) => format!("config.json has {}", count(beat)),
    }
}

fn count(beat: &Beat) -> &'static str {
    if beat.lines.len() == 1 { "the line" } else { "the lines" }
}

/// The file for who shows it.
fn config(ground: &Ground, args: &str) -> String {
    with_args(if ground.is_roots { FOR_ROOT } else { FOR_USER }, args)
}

/// The solution with another program. Within the stand-in host everybody is root.
fn with_args(text: &str, args: &str) -> String {
    text.replace(PORTRAIT, args).replace(": UID,", ": 0,").replace(": GID,", ": 0,")
}

/// Puts a bundle into the stand-in host, and returns what a shell has to do first to get to the moment.
pub fn lay_out(ground: &Ground, beat: &Beat, moment: Moment) -> Result<String> {
    let is_lacking = |line: &str| moment.lacks_lines && beat.lines.iter().any(|own| own == line.trim());
    let text = config(ground, SLEEP);
    let lines = text.lines().filter(|line| !is_lacking(line));
    write(ground, &lines.collect::<Vec<_>>().join("\n"))?;
    let said = LIFE[..moment.said].iter().map(|(_, command)| format!("{command} </dev/null\n"));
    Ok(format!("cd {DIR}\n") + &said.collect::<String>())
}

/// The same with a shell in the place of its program, and the words for rubber that start it.
pub fn lay_out_for_shell(ground: &Ground) -> Result<[&'static str; 5]> {
    write(ground, &config(ground, SHELL).replace(PROC, PROC_AND_PTS))?;
    Ok(["oci", "run", "--bundle", DIR, NAME])
}

fn write(ground: &Ground, config: &str) -> Result<()> {
    let root = Path::new(DIR).join("rootfs");
    fs::create_dir_all(&root)?;
    let seen = |layer: &PathBuf| Some(Path::new(STORE).join("layers").join(layer.file_name()?));
    image::copy(&ground.image.layers.iter().filter_map(seen).collect::<Vec<_>>(), &root)?;
    fs::write(Path::new(DIR).join("config.json"), config)?;
    // The stand-in host's first process is we.
    symlink("/proc/1/exe", "/bin/rubber-oci").context("cannot give rubber its other name")
}

/// The container's, while there is one.
pub fn first_process() -> Option<i32> {
    let pid = fs::read_to_string(Path::new(DIR).join("pid")).ok()?.trim().parse().ok()?;
    Path::new("/proc").join(format!("{pid}")).exists().then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::demo::beats;

    #[test]
    fn what_the_beats_name_is_there() {
        let chapters = beats::all().unwrap();
        let beats = &chapters.iter().find(|chapter| chapter.layer.is_none()).unwrap().beats;
        for beat in beats {
            assert!(is_beside(beat), "{}", beat.does);
            let known = |step| LIFE.iter().any(|(name, _)| name == step);
            assert!(beat.step.as_ref().is_none_or(known), "{}", beat.does);
            for text in [FOR_ROOT, FOR_USER] {
                let has = |line: &String| with_args(text, SLEEP).lines().any(|own| own.trim() == line);
                let is_whole = beat.lines.iter().all(has);
                assert_eq!(is_whole, text == FOR_ROOT || beat.root_only.is_none(), "{}", beat.does);
            }
        }
        let told: Vec<_> = beats.iter().filter_map(|beat| beat.step.as_deref()).collect();
        assert_eq!(told, LIFE.map(|(name, _)| name));
    }
}

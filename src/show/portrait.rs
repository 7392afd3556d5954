//! The portrait: a container drawn from inside, the host's value beside its own.
//!
//! Each row belongs to the layer that makes the difference. A row that is the same as the
//! host's names what to type to change that.

mod rows;

use super::columns::{WIDTH, bytes, cell, fit, width};
use crate::facts::Facts;
use anstyle::{AnsiColor, Style};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use std::{
    env,
    io::{IsTerminal, Read, stdin, stdout},
    os::fd::AsFd,
};

/// What a container cannot see for itself, told to it on stdin as JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Outside {
    pub host: Option<Facts>,
    pub asked: Option<Asked>,
}

/// The limits asked for on the command line, for where no cgroup filesystem is mounted.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes, of memory and swap together.
    pub memory_swap: Option<u64>,
    pub cpus: Option<f64>,
    pub pids: Option<u64>,
}

/// Reads `Outside`, or plain facts, from stdin. Stdin may be anybody's: when it is a terminal,
/// silent or not JSON, the portrait does without.
pub fn read_outside() -> Outside {
    const PATIENCE_MS: u16 = 300;
    const LARGEST: u64 = 16 << 20;
    let mut input = stdin().lock();
    let mut waiting = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    if stdin().is_terminal() || !matches!(poll(&mut waiting, PollTimeout::from(PATIENCE_MS)), Ok(1..)) {
        return Outside::default();
    }
    // One value and no more: whoever writes need not close the pipe.
    let told = serde_json::Deserializer::from_reader(input.by_ref().take(LARGEST));
    let Some(Ok(told)) = told.into_iter::<serde_json::Value>().next() else { return Outside::default() };
    match told.get("host") {
        Some(_) => serde_json::from_value(told).unwrap_or_default(),
        None => Outside { host: serde_json::from_value(told).ok(), asked: None },
    }
}

/// Draws for the terminal stdout is, or plainly for a pipe.
pub fn draw(here: &Facts, outside: &Outside) -> String {
    let terminal = stdout().is_terminal() && env::var_os("TERM").is_some_and(|term| term != "dumb");
    let marks = if terminal { &DRAWN } else { &PLAIN };
    let rows = rows::compare(here, outside);

    let mut lines = vec![rule(marks, "rubber", "a container, seen from inside"), heading(outside)];
    lines.extend(rows.iter().flat_map(|row| draw_row(row, marks)));
    lines.push(rule(marks, "", ""));
    lines.push(tally(&rows, marks));
    lines.extend(
        NEXT.iter()
            .map(|(command, why)| format!(" {COMMAND}{}{COMMAND:#}{DIM}{why}{DIM:#}", cell(command, 31))),
    );
    lines.join("\n") + "\n"
}

const NEXT: &[(&str, &str)] = &[
    ("rubber run -it busybox sh", "a shell in a container"),
    ("rubber run --explain", "every step and system call that makes one"),
    ("rubber layers", "all layers, in the order they are applied"),
];

struct Marks {
    rule: &'static str,
    own: &'static str,
    shared: &'static str,
}

const DRAWN: Marks = Marks { rule: "─", own: "●", shared: "○" };
const PLAIN: Marks = Marks { rule: "-", own: "+", shared: "=" };

const TITLE: Style = AnsiColor::Cyan.on_default().bold();
const OWN: Style = AnsiColor::Green.on_default().bold();
const COMMAND: Style = AnsiColor::Yellow.on_default();
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

/// Whose a thing is that a row shows.
#[derive(Clone, Copy, PartialEq)]
enum Whose {
    Own,
    Host,
    Unknown,
}

struct Row {
    layer: &'static str,
    what: &'static str,
    here: String,
    host: Option<String>,
    whose: Whose,
    /// What to type to make it the container's own.
    flag: &'static str,
    /// A second line, where one is not enough.
    more: Option<String>,
}

/// Columns: a mark of 3, then these four; 80 in all.
const LAYER: usize = 16;
const WHAT: usize = 16;
const HERE: usize = 22;
const HOST: usize = WIDTH - 3 - LAYER - WHAT - HERE;

fn heading(outside: &Outside) -> String {
    let host = if outside.host.is_some() { "ON THE HOST" } else { "" };
    let columns = [cell("LAYER", LAYER), cell("WHAT", WHAT), cell("IN HERE", HERE), host.to_owned()];
    format!("   {DIM}{}{DIM:#}", columns.concat().trim_end())
}

fn draw_row(row: &Row, marks: &Marks) -> Vec<String> {
    let Row { layer, what, here, host, whose, flag, more } = row;
    // One column less than there is, so that a cut value does not touch the next.
    let here = cell(&fit(here, HERE - 1), HERE);
    let (layer, what) = (cell(layer, LAYER), cell(what, WHAT));
    let host = fit(host.as_deref().unwrap_or_default(), HOST);
    let line = match whose {
        Whose::Own => {
            format!(" {OWN}{}{OWN:#} {layer}{what}{BOLD}{here}{BOLD:#}{DIM}{host}{DIM:#}", marks.own)
        }
        Whose::Host => {
            let gap = if flag.is_empty() { "" } else { " " };
            let flag = fit(&format!("{gap}{flag}"), HOST - "= same".len());
            format!(" {DIM}{} {layer}{what}{here}= same{DIM:#}{COMMAND}{flag}{COMMAND:#}", marks.shared)
        }
        Whose::Unknown => format!(" {DIM}? {layer}{what}{here}{host}{DIM:#}"),
    };
    let more = more.as_ref().map(|more| {
        let indent = 3 + LAYER;
        format!("{:indent$}{DIM}{}{DIM:#}", "", fit(more, WIDTH - indent))
    });
    std::iter::once(line).chain(more).collect()
}

fn rule(marks: &Marks, left: &str, right: &str) -> String {
    let end = marks.rule.repeat(2);
    match left {
        "" => format!("{DIM}{}{DIM:#}", marks.rule.repeat(WIDTH)),
        left => {
            let middle = WIDTH - width(left) - width(right) - 8;
            let line = marks.rule.repeat(middle);
            format!("{DIM}{end}{DIM:#} {TITLE}{left}{TITLE:#} {DIM}{line}{DIM:#} {right} {DIM}{end}{DIM:#}")
        }
    }
}

fn tally(rows: &[Row], marks: &Marks) -> String {
    let count = |whose: Whose| rows.iter().filter(|row| row.whose == whose).count();
    let own = format!(" {OWN}{}{OWN:#} {} of {} are its own", marks.own, count(Whose::Own), rows.len());
    let shared = format!("{} {} are the host's", marks.shared, count(Whose::Host));
    let rest = match (count(Whose::Unknown), count(Whose::Host)) {
        (0, 0) => String::new(),
        (0, _) => format!("{shared}: beside each stands what to type"),
        (unknown, _) => format!("{shared}   ? {unknown} cannot be told from in here"),
    };
    format!("{own}   {DIM}{rest}{DIM:#}")
}

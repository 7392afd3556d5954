//! `rubber doctor`: what this machine can run.

use crate::{
    doctor::{Check, Images, Report, State, examine},
    show::json,
};
use anstyle::{AnsiColor, Style};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use std::{
    fmt::Write as _,
    io::{ErrorKind, IsTerminal, Write, stdout},
    path::Path,
};

/// Examine this machine: what works, what does not, and the fix
///
/// Exits with 0 when `rubber run` works for you here, and with 1 when it cannot. The images in the store are examined,
/// too: whether their layers are there, and their blobs are what they were. With --store every file of every layer is
/// compared with the archive it came in: then a damaged image is an exit code of 1 as well, and getting it again (rubber
/// pull or rubber import) makes anew what is damaged.
#[derive(Args)]
pub struct Doctor {
    /// A table to read, or JSON for programs
    #[arg(long, value_enum, default_value = "table", value_name = "FORMAT")]
    format: Format,
    /// Compare every file of the store's images with the archives they came in
    #[arg(long)]
    store: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

impl Doctor {
    pub fn main(&self, root: Option<&Path>) -> Result<u8> {
        let images = if self.store { Images::Files } else { Images::Blobs };
        let report = examine(root, images);
        let text = match self.format {
            Format::Table => table(&report, width()),
            Format::Json => json::pretty(&report)?,
        };
        let mut out = anstream::stdout();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {} // `rubber doctor | head` has read enough
            result => result.context("cannot write the report")?,
        }
        let is_damaged = self.store && report.is_store_damaged();
        Ok((is_damaged || report.obstacle().is_some()).into())
    }
}

/// Wide enough to read on a terminal; a pipe gets each finding on one line, for grep.
fn width() -> usize {
    if !stdout().is_terminal() {
        return usize::MAX;
    }
    // SAFETY: the kernel fills in the structure that is passed to it.
    let (result, size) = unsafe {
        let mut size: nix::libc::winsize = std::mem::zeroed();
        (nix::libc::ioctl(1, nix::libc::TIOCGWINSZ, &mut size), size)
    };
    if result == 0 && size.ws_col >= 40 { usize::from(size.ws_col).min(80) } else { 80 }
}

/// The report: the verdict, who and where, the checks, the chapters.
fn table(report: &Report, width: usize) -> String {
    let (mut text, fixes) = (String::new(), fixes(report));
    verdict(&mut text, report, width);
    for (what, found) in &report.host {
        row(&mut text, &format!("  {what:<8}"), &words(found), width, "");
    }
    text.push('\n');
    for check in &report.checks {
        let label = format!("  {}  {:<19}", painted(check.state, state(check.state)), check.title);
        let (n, first) = (number(&fixes, check.fix.as_deref()), first_with_fix(report, check));
        let again = n.filter(|_| !first).map(|n| format!("; fix {n}")).unwrap_or_default();
        row(&mut text, &label, &words(&format!("{}{again}", check.found)), width, "");
        if let Some(n) = n.filter(|_| first) {
            row(
                &mut text,
                &format!("           {:<19}", format!("fix {n}")),
                &command(&fixes[n - 1]),
                width,
                " \\",
            );
        }
    }
    text.push_str("\n  chapters\n");
    for chapter in &report.chapters {
        let (state, answer) = if chapter.runs { (State::Ok, "yes") } else { (State::No, "no ") };
        let fix = number(&fixes, chapter.fix.as_deref()).map(|n| format!("; fix {n}")).unwrap_or_default();
        let label = format!("  {} {:<12}  {}  ", chapter.chapter, chapter.name, painted(state, answer));
        row(&mut text, &label, &words(&format!("{}{fix}", chapter.why)), width, "");
    }
    text
}

fn verdict(text: &mut String, report: &Report, width: usize) {
    let Some(check) = report.obstacle() else {
        row(text, "", &words("rubber run works here"), width, "");
        text.push('\n');
        return;
    };
    row(text, "", &words(&format!("rubber run cannot work here: {}", check.short())), width, "");
    row(text, "fix: ", &command(check.fix.as_deref().unwrap_or_default()), width, " \\");
    text.push('\n');
}

/// Every fix once, in the order of the checks: their places are their numbers.
fn fixes(report: &Report) -> Vec<String> {
    let mut fixes: Vec<String> = vec![];
    for fix in report.checks.iter().filter_map(|check| check.fix.clone()) {
        if !fixes.contains(&fix) {
            fixes.push(fix);
        }
    }
    fixes
}

fn number(fixes: &[String], fix: Option<&str>) -> Option<usize> {
    fixes.iter().position(|known| Some(known.as_str()) == fix).map(|at| at + 1)
}

fn first_with_fix(report: &Report, check: &Check) -> bool {
    report.checks.iter().find(|other| other.fix == check.fix).is_some_and(|first| first.id == check.id)
}

fn state(state: State) -> &'static str {
    match state {
        State::Ok => "ok     ",
        State::Limited => "limited",
        State::No => "no     ",
    }
}

fn painted(state: State, text: &str) -> String {
    let color = match state {
        State::Ok => AnsiColor::Green,
        State::Limited => AnsiColor::Yellow,
        State::No => AnsiColor::Red,
    };
    let style = Style::new().fg_color(Some(color.into()));
    format!("{style}{text}{style:#}")
}

fn words(text: &str) -> Vec<&str> {
    text.split(' ').filter(|word| !word.is_empty()).collect()
}

/// The words of a command: what is quoted is one of them, and so is the comment, because a line
/// must not be broken there.
fn command(text: &str) -> Vec<&str> {
    let (mut words, mut start, mut quote) = (vec![], 0, None);
    for (at, c) in text.char_indices() {
        match (c, quote) {
            ('#', None) if at == start => break,
            (' ', None) => {
                words.push(&text[start..at]);
                start = at + 1;
            }
            ('\'' | '"', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            _ => {}
        }
    }
    words.push(&text[start..]);
    words.into_iter().filter(|word| !word.is_empty()).collect()
}

/// Writes the words behind the label, and on as many more lines as it takes, below each other; a
/// line that is not the last ends in `joint` (a backslash lets a command be pasted as it stands).
fn row(text: &mut String, label: &str, words: &[&str], width: usize, joint: &str) {
    let indent = columns(label);
    let room = width.saturating_sub(indent + joint.len()).max(1);
    let mut lines = vec![String::new()];
    for word in words.iter().flat_map(|word| pieces(word, room)) {
        let last = lines.last_mut().expect("never empty");
        if last.is_empty() {
            *last = word;
        } else if columns(last) + 1 + columns(&word) <= room {
            let _ = write!(last, " {word}");
        } else {
            lines.push(word);
        }
    }
    let lines = lines.join(&format!("{joint}\n{:indent$}", ""));
    let _ = writeln!(text, "{}", format!("{label}{lines}").trim_end());
}

/// A word in pieces that fit.
fn pieces(word: &str, room: usize) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    letters.chunks(room.min(letters.len().max(1))).map(|piece| piece.iter().collect()).collect()
}

/// How many columns the text takes, colour aside.
fn columns(text: &str) -> usize {
    anstream::adapter::strip_str(text).map(|part| part.chars().count()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_words_and_commands_stay_pasteable() {
        let mut text = String::new();
        row(&mut text, "fix  ", &command("printf '%s x' \"a b\" | tee f  # why not"), 20, " \\");
        assert_eq!(text, "fix  printf '%s x' \\\n     \"a b\" | tee f \\\n     # why not\n");
    }

    #[test]
    fn a_word_longer_than_the_line_is_cut() {
        let mut text = String::new();
        row(&mut text, "", &words("abcdefgh ij"), 5, "");
        assert_eq!(text, "abcde\nfgh\nij\n");
    }
}

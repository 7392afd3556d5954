//! The screen: what the beat is on top, both stages side by side, what the kernel sees beneath.

use super::{
    beats::{Beat, Chapter, Stage},
    bundle,
    compare::{HOST, Row, lines, rows},
    plain::{BOLD, DIM, MARKED, TITLE, typed},
    side::Side,
    stand_in, terminal,
};
use crate::show::columns::{cell, fit, wrap};
use anstyle::Style;

const BAR: Style = Style::new().invert().bold();
/// Of the facts' names.
const NAME: usize = 18;

pub struct View<'a> {
    pub chapter: &'a Chapter,
    pub number: usize,
    pub image: &'a str,
    pub state: State<'a>,
    pub notes: bool,
    pub help: bool,
    pub is_last: bool,
}

pub enum State<'a> {
    /// Not run yet.
    Asked,
    Running,
    /// This machine cannot, and why.
    Skipped(&'a str),
    Shown(&'a [Side; 2]),
}

/// The whole screen for a terminal of this size.
pub fn frame(view: &View, columns: usize, rows: usize) -> String {
    let mut text = String::from("\x1b[H");
    for line in all_lines(view, columns, rows) {
        text += &line;
        text += "\x1b[K\r\n";
    }
    // A newline after the last row would scroll.
    text.truncate(text.len() - 2);
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    text += "\x1b[J";
    if is_plain { without_style(&text) } else { text }
}

/// Without what ends in m of the escape sequences; the others place the text.
fn without_style(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
        match part.as_bytes().get(end) {
            Some(b'm') => plain += &part[end + 1..],
            _ => plain = plain + "\x1b[" + part,
        }
    }
    plain
}

fn all_lines(view: &View, columns: usize, rows: usize) -> Vec<String> {
    if columns < terminal::COLUMNS || rows < terminal::ROWS {
        let (wide, high) = (terminal::COLUMNS, terminal::ROWS);
        let say = fit(&format!("{columns} by {rows} is too small: {wide} by {high} at least"), columns);
        return std::iter::once(say).chain(vec![String::new(); rows.saturating_sub(1)]).collect();
    }
    let top = top(view, columns);
    let bottom = bottom(view, columns);
    let room = rows.saturating_sub(top.len() + bottom.len());
    let mut middle = match view.help {
        true => help(),
        false => panes(view, columns, room),
    };
    middle.resize(room, String::new());
    let mut all = [top, middle, bottom].concat();
    all.truncate(rows);
    all
}

fn top(view: &View, columns: usize) -> Vec<String> {
    let beat = view.beat();
    let place = format!("{} of {} ", view.number + 1, view.chapter.beats.len());
    let title = format!(" {}   {}", view.chapter.name(), view.chapter.title);
    let mut lines = vec![format!("{BAR}{}{place}{BAR:#}", cell(&title, columns - place.len()))];
    lines.extend(styled(BOLD, &beat.does, columns));
    let ask = beat.ask.iter().map(|ask| format!("? {ask}"));
    let style = if matches!(view.state, State::Shown(_)) { DIM } else { MARKED };
    lines.extend(ask.flat_map(|ask| styled(style, &ask, columns)));
    lines.push(String::new());
    if !bundle::is_beside(beat) {
        let flags: String = beat.flags.iter().map(|flag| format!(" {flag}")).collect();
        lines.extend(styled(DIM, &format!("rubber run --until ..{flags} {} sh -c", view.image), columns));
    }
    lines.extend(typed(beat, columns - 2).iter().map(|line| format!(" {BOLD}{line}{BOLD:#}")));
    lines
}

fn styled(style: Style, text: &str, columns: usize) -> Vec<String> {
    wrap(text, columns - 2).into_iter().map(|line| format!(" {style}{line}{style:#}")).collect()
}

fn bottom(view: &View, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    if let State::Shown([before, after]) = &view.state {
        lines.push(rule("what the kernel sees", "┼", columns));
        lines.extend(rows(view.beat(), before, after).iter().map(|row| fact(row, columns)));
    }
    if view.notes {
        lines.push(rule("notes", "─", columns));
        lines.extend(styled(TITLE, &view.beat().notes, columns));
    }
    let keys = match (&view.state, view.is_last) {
        (State::Asked, _) => "Space run it",
        (State::Running, _) => "running ...",
        (_, true) => "that was the last one",
        _ => "Space next",
    };
    let keys = format!(" {keys}  b back  t shell  n notes  ? keys  q quit");
    let place = format!("{}: a stand-in host ", stand_in::NAME);
    lines.push(format!("{DIM}{}{place}{DIM:#}", cell(&keys, columns - place.len())));
    lines
}

/// Each value under its side.
fn fact(row: &Row, columns: usize) -> String {
    let (mark, style) = if row.differs { ('*', MARKED) } else { (' ', DIM) };
    let (left, right) = (columns / 2, columns - columns / 2 - 2);
    let before = cell(&row.before, left - NAME - 2);
    let (name, after) = (cell(row.name, NAME), fit(&row.after, right));
    format!("{style}{mark} {name}{before}{style:#}{DIM}│{DIM:#} {style}{after}{style:#}")
}

fn help() -> Vec<String> {
    let keys = [
        ("Space, Enter", "run the beat, then the next one (PageDown and Right, too)"),
        ("b", "back (PageUp and Left, too)"),
        ("r", "run it again"),
        ("t", "a shell in a container at this stage; exit comes back"),
        ("n", "notes on and off"),
        ("?", "this list"),
        ("q, Ctrl-C", "quit"),
    ];
    let line = |(key, does): (&str, &str)| format!("   {BOLD}{}{BOLD:#}{does}", cell(key, 16));
    std::iter::once(String::new()).chain(keys.map(line)).collect()
}

/// A line across, with a name in it and a crossing where the panes meet.
fn rule(name: &str, crossing: &str, columns: usize) -> String {
    let name = if name.is_empty() { String::new() } else { format!("── {name} ") };
    let middle = columns / 2;
    let used = name.chars().count();
    let (left, right) = (middle.saturating_sub(used), columns - middle - 1);
    let after = columns - used;
    match left {
        0 => format!("{DIM}{name}{}{DIM:#}", "─".repeat(after)),
        left => format!("{DIM}{name}{}{crossing}{}{DIM:#}", "─".repeat(left), "─".repeat(right)),
    }
}

/// Both sides in `rows` rows.
fn panes(view: &View, columns: usize, rows: usize) -> Vec<String> {
    let (left, right) = (columns / 2, columns - columns / 2 - 1);
    let [before, after] = headings(view);
    let heading = |name: &str, width: usize| format!("{TITLE}{}{TITLE:#}", cell(&format!(" {name}"), width));
    let mut text = vec![
        rule("", "┬", columns),
        format!("{}{DIM}│{DIM:#}{}", heading(&before, left), heading(&after, right)),
    ];
    let room = rows.saturating_sub(text.len());
    let [left_lines, right_lines] = match &view.state {
        State::Shown(sides) => [(0, left), (1, right)].map(|(side, width)| pane(&sides[side], width, room)),
        State::Running => [vec![" ...".into()], vec![" ...".into()]],
        State::Skipped(why) => [wrap(&format!("skipped: {why}"), left - 2), vec![]],
        State::Asked => [vec![], vec![]],
    };
    let line = |lines: &[String], number: usize| lines.get(number).cloned().unwrap_or_default();
    for number in 0..room {
        text.push(format!(
            "{}{DIM}│{DIM:#}{}",
            painted(&cell(&line(&left_lines, number), left)),
            painted(&fit(&line(&right_lines, number), right))
        ));
    }
    text
}

/// What both sides are.
fn headings(view: &View) -> [String; 2] {
    let name = |has: &str, stage| match (stage, view.chapter.layer) {
        (Stage::Until(layer), Some(own)) => format!("{has} {}: --until {}", own.name(), layer.name()),
        (Stage::Bundle(moment), _) => bundle::heading(view.beat(), moment),
        _ => "without rubber".into(),
    };
    let [before, after] = view.chapter.stages(view.beat());
    [name("without", before), name("with", after)]
}

/// What one side shows, in at most `room` lines: where that is not enough, the middle is left out.
fn pane(side: &Side, width: usize, room: usize) -> Vec<String> {
    let wrapped =
        |line: &String| wrap(line, width - 2).into_iter().map(|line| format!(" {line}")).collect::<Vec<_>>();
    let all: Vec<String> = lines(side).iter().flat_map(wrapped).collect();
    if all.len() <= room {
        return all;
    }
    let head = room / 2;
    let tail = room.saturating_sub(head + 1);
    let left_out = format!(" .. {} lines", all.len() - head - tail);
    [&all[..head], &[left_out], &all[all.len() - tail..]].concat()
}

/// What was typed on the host is not what the container said.
fn painted(line: &str) -> String {
    match line.trim() == HOST {
        true => format!("{BOLD}{line}{BOLD:#}"),
        false => line.to_owned(),
    }
}

impl View<'_> {
    pub fn beat(&self) -> &Beat {
        &self.chapter.beats[self.number]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::{columns::width, demo::beats};
    use serde_json::json;

    #[test]
    fn every_screen_fits() {
        let said = "a line that is far too long for half of a screen, and then some more of it\n".repeat(40);
        let side = || Side { said: said.clone(), code: Some(0), facts: json!({}), ..Side::default() };
        let sides = [side(), side()];
        for chapter in &beats::all().unwrap() {
            for (number, notes, help) in
                (0..chapter.beats.len()).flat_map(|n| [(n, true, false), (n, false, true)])
            {
                for (columns, rows) in [(80, 24), (80, 20), (200, 50), (40, 5)] {
                    let state = State::Shown(&sides);
                    let view = View { chapter, number, image: "busybox", state, notes, help, is_last: false };
                    let lines = all_lines(&view, columns, rows);
                    assert_eq!(lines.len(), rows, "{}", chapter.name());
                    for line in lines {
                        assert!(width(&without_style(&line)) <= columns, "{line:?}");
                    }
                }
            }
        }
    }
}

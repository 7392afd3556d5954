//! Text in columns of a terminal: nothing printed here is trusted, or wider than asked.

use anyhow::{Context, Result};
use std::{fmt::Write as _, io, io::Write as _};
use unicode_width::UnicodeWidthChar;

pub const WIDTH: usize = 80;

/// Prints once and whole, without colour where none is wanted (a pipe, NO_COLOR).
/// A reader who leaves early, as `head` does, is no error.
pub fn print(text: &str) -> Result<()> {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Whether a terminal obeys it, or does not show that it is there: controls (also those of C1, U+009B is as good as
/// ESC [), marks that turn the direction of what follows, ends of lines and paragraphs, and what is ignorable by default
/// in Unicode.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text with everything a terminal would obey, or not show, written out.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            '\0'..='\x1f' | '\x7f' => write!(safe, "\\x{:02x}", c as u32).unwrap_or_default(),
            // Of no width, or not seen for what it is.
            c if c.width().unwrap_or(0) == 0 || is_hidden(c) => {
                write!(safe, "\\u{{{:x}}}", c as u32).unwrap_or_default()
            }
            c => safe.push(c),
        }
    }
    safe
}

/// Columns taken by text that was escaped.
pub fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// Escaped, and cut so that it takes at most `columns`.
pub fn fit(text: &str, columns: usize) -> String {
    let safe = escape(text);
    if width(&safe) <= columns {
        return safe;
    }
    let (mut kept, mut used) = (String::new(), 0);
    for c in safe.chars() {
        used += c.width().unwrap_or(0);
        if used > columns.saturating_sub(2) {
            break;
        }
        kept.push(c);
    }
    kept + &".."[..columns.min(2)]
}

/// `fit`, and filled up with spaces to exactly `columns`.
pub fn cell(text: &str, columns: usize) -> String {
    let mut cell = fit(text, columns);
    cell.extend(std::iter::repeat_n(' ', columns - width(&cell)));
    cell
}

/// Escaped, in lines of at most `columns`, broken at spaces where there are some.
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in escape(text).split(' ') {
        let gap = usize::from(!line.is_empty());
        if width(&line) + gap + width(word) > columns && gap == 1 {
            lines.push(std::mem::take(&mut line));
        } else if gap == 1 {
            line.push(' ');
        }
        let (mut head, mut rest) = split_at_width(word, columns);
        while !rest.is_empty() {
            lines.push(head.to_owned());
            (head, rest) = split_at_width(rest, columns);
        }
        line.push_str(head);
    }
    lines.push(line);
    lines
}

fn split_at_width(text: &str, columns: usize) -> (&str, &str) {
    let mut used = 0;
    let end = text.char_indices().find(|(at, c)| {
        used += c.width().unwrap_or(0);
        used > columns && *at > 0
    });
    text.split_at(end.map_or(text.len(), |(at, _)| at))
}

/// A number of bytes as people write it, when that is exact enough.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (count as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    match value.fract() < 0.05 {
        true => format!("{value:.0} {}", UNITS[unit]),
        false => format!("{value:.1} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_exactly_as_wide_as_asked() {
        for text in
            ["", "short", "far too long for this", "\u{1b}[31mred\n", "漢字漢字漢字漢字", "e\u{301}\u{202e}"]
        {
            assert_eq!(width(&cell(text, 11)), 11, "{text:?}");
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(escape("a\u{1b}[2J\u{202e}\u{9b}"), "a\\x1b[2J\\u{202e}\\u{9b}");
    }

    #[test]
    fn wrapping_loses_nothing() {
        let text = format!("one {} two three", "x".repeat(30));
        let lines = wrap(&text, 10);
        assert!(lines.iter().all(|line| width(line) <= 10), "{lines:?}");
        assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
    }
}

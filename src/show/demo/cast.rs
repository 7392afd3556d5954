//! A recording of the beats for asciinema: one line of JSON for what it is, then one for each piece of output.

use super::{Ground, beats::Chapter, plain};
use crate::show::columns::WIDTH;
use anyhow::{Context, Result};
use serde_json::json;
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

const ROWS: usize = 24;
/// Seconds to look at the heading, before each of the four other parts comes, and at the end.
const PAUSES: [f64; 6] = [2.0, 1.0, 2.0, 2.0, 2.0, 5.0];
/// Seconds between two keys.
const KEY: f64 = 0.04;

/// Writes the beats of the chapters to `path`, in the format that asciinema calls version 2.
pub fn record(ground: &Ground, chapters: &[Chapter], path: &Path) -> Result<u8> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut cast = Cast { out: BufWriter::new(file), seconds: 0.0 };
    let title = chapters.iter().map(Chapter::name).collect::<Vec<_>>().join(", ");
    let header =
        json!({"version": 2, "width": WIDTH, "height": ROWS, "title": format!("rubber demo: {title}")});
    writeln!(cast.out, "{header}")?;
    for chapter in chapters {
        for number in 0..chapter.beats.len() {
            cast.beat(&plain::beat(ground, chapter, number, WIDTH)?)?;
        }
    }
    cast.out.flush()?;
    Ok(0)
}

struct Cast {
    out: BufWriter<File>,
    seconds: f64,
}

impl Cast {
    fn beat(&mut self, parts: &[String; 6]) -> Result<()> {
        let [heading, script, shown @ ..] = parts;
        self.print(heading)?;
        self.seconds += PAUSES[0];
        for key in script.chars() {
            self.print(key.encode_utf8(&mut [0; 4]))?;
            self.seconds += KEY;
        }
        for (part, pause) in shown.iter().zip(&PAUSES[1..]) {
            self.seconds += pause;
            self.print(part)?;
        }
        self.seconds += PAUSES[5];
        Ok(())
    }

    /// What a terminal would get: a new line begins at its left edge.
    fn print(&mut self, text: &str) -> Result<()> {
        let seconds = (self.seconds * 1000.0).round() / 1000.0;
        if !text.is_empty() {
            writeln!(self.out, "{}", json!([seconds, "o", text.replace('\n', "\r\n")]))?;
        }
        Ok(())
    }
}

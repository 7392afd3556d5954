//! The demos told line by line, where there is no terminal to lay them out on; and the rehearsal.

use super::{
    Ground,
    beats::{Beat, Chapter},
    compare::{broken, lines, rows},
    side::{self, Side},
};
use crate::{
    layers::Layer,
    show::columns::{WIDTH, cell, escape, fit, print, wrap},
};
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use std::io::Read;

pub const TITLE: Style = AnsiColor::Cyan.on_default().bold();
pub const MARKED: Style = AnsiColor::Yellow.on_default().bold();
pub const BOLD: Style = Style::new().bold();
pub const DIM: Style = Style::new().dimmed();

/// Prints every beat of the chapters, one after another.
pub fn tell(ground: &Ground, chapters: &[Chapter]) -> Result<u8> {
    for chapter in chapters {
        for number in 0..chapter.beats.len() {
            print(&beat(ground, chapter, number)?)?;
        }
    }
    Ok(0)
}

/// Runs both sides of a beat to their end.
pub fn both(ground: &Ground, chapter: &Chapter, beat: &Beat) -> Result<[Side; 2]> {
    let take = |stage| -> Result<Side> {
        let mut stand_in = side::start(ground, beat, stage)?;
        let mut told = Vec::new();
        stand_in.out.read_to_end(&mut told)?;
        stand_in.end();
        Ok(Side::parse(&told))
    };
    Ok([take(chapter.stage_before())?, take(Some(chapter.layer))?])
}

/// A whole beat as text of at most 80 columns.
pub fn beat(ground: &Ground, chapter: &Chapter, number: usize) -> Result<String> {
    let beat = &chapter.beats[number];
    let mut text = heading(chapter, number);
    if let Some(why) = ground.why_not(chapter.layer) {
        return Ok(text + &format!("\nskipped: {why}\n\n"));
    }
    let [before, after] = both(ground, chapter, beat)?;
    for (stage, side) in [(chapter.stage_before(), &before), (Some(chapter.layer), &after)] {
        text += &format!("\n{BOLD}{}{BOLD:#}\n", fit(&stage_name(beat, stage), WIDTH));
        for line in lines(beat, side) {
            wrap(&line, WIDTH - 2).iter().for_each(|line| text += &format!("  {line}\n"));
        }
    }
    text += &format!("\n{DIM}what the kernel sees{DIM:#}\n");
    for row in rows(beat, &before, &after) {
        let (mark, style) = if row.differs { ("*", MARKED) } else { (" ", Style::new()) };
        let (name, before, after) = (cell(row.name, 18), cell(&row.before, 28), fit(&row.after, 28));
        text += &format!("{style}{mark} {name} {before} {after}{style:#}\n");
    }
    // Where nobody stands beside it to say so.
    text += "\n";
    wrap(&beat.notes, WIDTH).iter().for_each(|line| text += &format!("{line}\n"));
    Ok(text + "\n")
}

/// What the beat is about, its question and the command.
pub fn heading(chapter: &Chapter, number: usize) -> String {
    let beat = &chapter.beats[number];
    let place = format!("{}   {}   {} of {}", chapter.name(), chapter.title, number + 1, chapter.beats.len());
    let mut text = format!("{TITLE}{place}{TITLE:#}\n");
    wrap(&beat.does, WIDTH).iter().for_each(|line| text += &format!("{BOLD}{line}{BOLD:#}\n"));
    for line in beat.ask.iter().flat_map(|ask| wrap(&format!("? {ask}"), WIDTH)) {
        text += &format!("{line}\n");
    }
    for line in beat.run.lines() {
        wrap(line, WIDTH - 2).iter().for_each(|line| text += &format!("$ {line}\n"));
    }
    text
}

/// What a side was run with.
pub fn stage_name(beat: &Beat, stage: Option<Layer>) -> String {
    match stage {
        None => "without rubber".into(),
        Some(layer) => {
            escape(&["rubber run --until", layer.name(), &beat.flags.join(" ")].join(" ")).trim_end().into()
        }
    }
}

/// Runs every beat, and tells of each whether it is as promised. The exit code is 1 if one is not.
pub fn check(ground: &Ground, chapters: &[Chapter]) -> Result<u8> {
    let mut code = 0;
    for chapter in chapters {
        for (number, beat) in chapter.beats.iter().enumerate() {
            let name = format!("{} beat {}: {}", chapter.name(), number + 1, beat.does);
            if let Some(why) = ground.why_not(chapter.layer) {
                print(&format!("skipped: {name}: {why}\n"))?;
                continue;
            }
            let [before, after] = both(ground, chapter, beat)?;
            let broken = broken(beat, &before, &after);
            print(&match broken.first() {
                None => format!("as promised: {name}\n"),
                Some(what) => format!("NOT AS PROMISED: {name}: {}\n", escape(what)),
            })?;
            code = if broken.is_empty() { code } else { 1 };
        }
    }
    Ok(code)
}

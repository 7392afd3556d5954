//! The demos told line by line, where there is no terminal to lay them out on; and the rehearsal.

use super::{
    Ground,
    beats::{Beat, Chapter, Stage},
    bundle,
    compare::{Row, broken, lines, rows},
    side::{self, Side},
    terminal,
};
use crate::show::columns::{WIDTH, cell, escape, fit, print, wrap};
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use std::io::Read;

/// Narrower than this is not catered for.
const LEAST: usize = 40;

pub const TITLE: Style = AnsiColor::Cyan.on_default().bold();
pub const MARKED: Style = AnsiColor::Yellow.on_default().bold();
pub const BOLD: Style = Style::new().bold();
pub const DIM: Style = Style::new().dimmed();

/// Prints every beat of the chapters, one after another.
pub fn tell(ground: &Ground, chapters: &[Chapter]) -> Result<u8> {
    let width = match terminal::size() {
        (0, _) => WIDTH,
        (columns, _) => columns.clamp(LEAST, WIDTH),
    };
    for chapter in chapters {
        for number in 0..chapter.beats.len() {
            print(&beat(ground, chapter, number, width)?.concat())?;
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
    let [before, after] = chapter.stages(beat);
    Ok([take(before)?, take(after)?])
}

/// A whole beat as text of at most `width` columns: what it is about, the command, both sides, the facts, the notes.
pub fn beat(ground: &Ground, chapter: &Chapter, number: usize, width: usize) -> Result<[String; 6]> {
    let beat = &chapter.beats[number];
    let (heading, script) = (heading(chapter, number, width), script(beat, width));
    if let Some(why) = ground.why_not(chapter, number) {
        let skipped = paragraph(&format!("skipped: {why}"), width);
        return Ok([heading, script, "\n".to_owned() + &skipped, String::new(), String::new(), "\n".into()]);
    }
    let [before, after] = both(ground, chapter, beat)?;
    let facts = facts(&rows(beat, &before, &after), width);
    let stages = chapter.stages(beat);
    let before = shown(beat, stages[0], &before, width);
    let after = shown(beat, stages[1], &after, width);
    // Where nobody stands beside it to say so.
    let notes = format!("\n{}\n", paragraph(&beat.notes, width));
    Ok([heading, script, before, after, facts, notes])
}

fn heading(chapter: &Chapter, number: usize, width: usize) -> String {
    let beat = &chapter.beats[number];
    let place = format!("{}   {}   {} of {}", chapter.name(), chapter.title, number + 1, chapter.beats.len());
    let mut text = format!("{TITLE}{}{TITLE:#}\n", fit(&place, width));
    wrap(&beat.does, width).iter().for_each(|line| text += &format!("{BOLD}{line}{BOLD:#}\n"));
    let ask = beat.ask.iter().map(|ask| paragraph(&format!("? {ask}"), width));
    text + &ask.collect::<String>()
}

fn script(beat: &Beat, width: usize) -> String {
    typed(beat, width).iter().map(|line| format!("{line}\n")).collect()
}

/// What is typed: in the container, and on the host when that is done. Beside a bundle: what is in its file, and what
/// is typed there.
pub fn typed(beat: &Beat, width: usize) -> Vec<String> {
    let prompt = if bundle::is_beside(beat) { "host$ " } else { "$ " };
    let file = beat.lines.iter().map(|line| ("config.json: ", line.as_str()));
    let inside = beat.run.lines().map(|line| (prompt, line));
    let outside = beat.host.iter().map(|line| ("host$ ", line.as_str()));
    let with_prompt = |(prompt, line): (&str, &str)| {
        let lines = wrap(line, width - prompt.len()).into_iter().enumerate();
        let blank = " ".repeat(prompt.len());
        lines
            .map(|(n, line)| if n == 0 { format!("{prompt}{line}") } else { format!("{blank}{line}") })
            .collect::<Vec<_>>()
    };
    file.chain(inside).chain(outside).flat_map(with_prompt).collect()
}

fn shown(beat: &Beat, stage: Stage, side: &Side, width: usize) -> String {
    let name = stage_name(beat, stage);
    let lines = lines(side).into_iter().flat_map(|line| wrap(&line, width - 2));
    let lines: String = lines.map(|line| format!("  {line}\n")).collect();
    format!("\n{BOLD}{}{BOLD:#}\n{lines}", fit(&name, width))
}

fn facts(rows: &[Row], width: usize) -> String {
    let mut text = format!("\n{DIM}what the kernel sees{DIM:#}\n");
    let column = (width - 22) / 2;
    for row in rows {
        let (mark, style) = if row.differs { ('*', MARKED) } else { (' ', Style::new()) };
        let (before, after) = (cell(&row.before, column), fit(&row.after, column));
        text += &format!("{style}{mark} {} {before} {after}{style:#}\n", cell(row.name, 18));
    }
    text
}

fn paragraph(text: &str, width: usize) -> String {
    wrap(text, width).iter().map(|line| format!("{line}\n")).collect()
}

/// What a side was run with.
fn stage_name(beat: &Beat, stage: Stage) -> String {
    match stage {
        Stage::Host => "without rubber".into(),
        Stage::Until(layer) => {
            escape(&["rubber run --until", layer.name(), &beat.flags.join(" ")].join(" ")).trim_end().into()
        }
        Stage::Bundle(moment) => bundle::heading(beat, moment),
    }
}

/// Runs every beat, and tells of each whether it is as promised. The exit code is 1 if one is not.
pub fn check(ground: &Ground, chapters: &[Chapter]) -> Result<u8> {
    let mut code = 0;
    for chapter in chapters {
        for (number, beat) in chapter.beats.iter().enumerate() {
            let name = format!("{} beat {}: {}", chapter.name(), number + 1, beat.does);
            if let Some(why) = ground.why_not(chapter, number) {
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

//! The instructor's keys: which beat is on the screen, and what is done with it.

use super::{
    Ground,
    beats::{Chapter, Stage},
    screen::{State, View, frame},
    side::{self, Side},
    stand_in::StandIn,
    terminal::{self, Event, Key, Terminal},
};
use crate::Exit;
use anyhow::{Result, bail};
use std::{collections::HashMap, io::Read, os::fd::AsFd};

struct Show<'a> {
    ground: &'a Ground,
    chapters: &'a [Chapter],
    terminal: Terminal,
    /// Chapter and beat.
    at: (usize, usize),
    shown: HashMap<(usize, usize), [Side; 2]>,
    notes: bool,
    help: bool,
}

/// Shows the beats from chapter `first` on, until the instructor quits.
pub fn present(ground: &Ground, chapters: &[Chapter], first: usize) -> Result<u8> {
    let terminal = Terminal::take()?;
    let shown = HashMap::new();
    let mut show = Show { ground, chapters, terminal, at: (first, 0), shown, notes: false, help: false };
    loop {
        show.draw(false)?;
        let key = match show.terminal.wait(true, None)? {
            Event::Key(key) => key,
            Event::Signal(signal) => return Ok(128 + signal as u8),
            Event::Resized | Event::Ready => continue,
        };
        if key == Key::Quit {
            return Ok(0);
        }
        show.press(key)?;
    }
}

impl Show<'_> {
    fn press(&mut self, key: Key) -> Result<()> {
        self.help = key == Key::Help && !self.help;
        match key {
            Key::Next if self.shown.contains_key(&self.at) || self.why_not().is_some() => self.step(1),
            Key::Next => self.run()?,
            Key::Again if self.why_not().is_none() => self.run()?,
            Key::Back => self.step(-1),
            Key::Notes => self.notes = !self.notes,
            Key::Shell => self.shell()?,
            _ => {}
        }
        Ok(())
    }

    fn why_not(&self) -> Option<String> {
        let (chapter, beat) = self.at;
        self.ground.why_not(&self.chapters[chapter], beat)
    }

    /// To the next beat or the one before, in the chapter beside this one if need be.
    fn step(&mut self, by: isize) {
        let beats = |chapter: usize| self.chapters[chapter].beats.len();
        let all: Vec<_> = (0..self.chapters.len())
            .flat_map(|chapter| (0..beats(chapter)).map(move |beat| (chapter, beat)))
            .collect();
        let place = all.iter().position(|at| *at == self.at).unwrap_or(0);
        self.at = all[place.saturating_add_signed(by).min(all.len() - 1)];
    }

    fn is_last(&self) -> bool {
        let (chapter, beat) = self.at;
        chapter + 1 == self.chapters.len() && beat + 1 == self.chapters[chapter].beats.len()
    }

    fn draw(&self, running: bool) -> Result<()> {
        let why = self.why_not();
        let state = match (&why, self.shown.get(&self.at)) {
            (Some(why), _) => State::Skipped(why),
            _ if running => State::Running,
            (None, Some(sides)) => State::Shown(sides),
            (None, None) => State::Asked,
        };
        let (notes, help, is_last) = (self.notes, self.help, self.is_last());
        let (chapter, image) = (&self.chapters[self.at.0], &self.ground.image.name);
        let view = View { chapter, number: self.at.1, image, state, notes, help, is_last };
        let (columns, rows) = terminal::size();
        self.terminal.draw(&frame(&view, columns, rows))
    }

    fn run(&mut self) -> Result<()> {
        self.draw(true)?;
        let chapter = &self.chapters[self.at.0];
        let [before, after] = chapter.stages(&chapter.beats[self.at.1]);
        let sides = [self.side(before)?, self.side(after)?];
        self.shown.insert(self.at, sides);
        Ok(())
    }

    fn side(&self, stage: Stage) -> Result<Side> {
        let beat = &self.chapters[self.at.0].beats[self.at.1];
        let told = self.until_told(side::start(self.ground, beat, stage)?, true)?;
        Ok(Side::parse(&told))
    }

    /// All that the stand-in host says until its end, unless the instructor or somebody else ends us before.
    fn until_told(&self, mut stand_in: StandIn, keys: bool) -> Result<Vec<u8>> {
        let (mut told, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match self.terminal.wait(keys, Some(stand_in.out.as_fd()))? {
                Event::Signal(signal) => bail!(Exit(128 + signal as u8, String::new())),
                Event::Key(Key::Quit) => bail!(Exit(0, String::new())),
                Event::Resized if keys => self.draw(true)?,
                // A second Space while the first one works is none.
                Event::Key(_) | Event::Resized => {}
                Event::Ready => match stand_in.out.read(&mut buffer)? {
                    0 => break,
                    length => told.extend_from_slice(&buffer[..length]),
                },
            }
        }
        stand_in.end();
        Ok(told)
    }

    fn shell(&mut self) -> Result<()> {
        let chapter = &self.chapters[self.at.0];
        if self.why_not().is_some() {
            return Ok(());
        }
        let beat = &chapter.beats[self.at.1];
        let [_, stage] = chapter.stages(beat);
        terminal::give_back();
        println!("a shell in a container at stage {}; exit comes back to the demo", chapter.name());
        let shell = side::start_shell(self.ground, beat, stage)?;
        self.until_told(shell, false)?;
        self.terminal.take_again()
    }
}

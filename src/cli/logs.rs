//! `rubber logs`: what a container has printed.

use crate::{
    container::{
        find::{self, State},
        log::{Entry, Reader, Stream},
    },
    image::Store,
};
use anyhow::{Context, Result, bail};
use std::{
    collections::VecDeque,
    io::{ErrorKind, Write, stderr, stdout},
    thread::sleep,
    time::{Duration, SystemTime},
};

/// Print what a container has printed, on stdout and stderr as it did
#[derive(clap::Args)]
pub struct Logs {
    /// Its name, its id, or the beginning of its id
    container: String,
    /// Go on as it prints more, until it ends
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(long, value_name = "N")]
    tail: Option<usize>,
    /// Each line's time in front
    #[arg(short, long)]
    timestamps: bool,
    /// From a time on, as in 2026-01-31T12:00:00Z, or for a while, as in 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

/// How often a container that is followed is asked for more.
const PERIOD: Duration = Duration::from_millis(100);

impl Logs {
    pub fn main(self, store: &Store) -> Result<()> {
        let container = find::find(store, &self.container)?;
        if !container.file("log").exists() {
            bail!("container {} has no log: it printed to where it was run from", container.name);
        }
        let since = self.since.as_deref().map(time).transpose()?;
        let is_new = |entry: &Entry| since.as_ref().is_none_or(|since| entry.time >= *since);
        let mut reader = Reader::open(&container.file("log"));
        let mut lines = VecDeque::new();
        while let Some(entry) = reader.next()? {
            if is_new(&entry) {
                lines.push_back(entry);
            }
            while let Some(tail) = self.tail.filter(|_| lines.len() > 64) {
                if ends(&lines) <= tail + 1 {
                    break;
                } else {
                    lines.pop_front();
                }
            }
        }
        let skip = self.tail.map_or(0, |tail| first_of_last(&lines, tail));
        let mut at_start = true;
        let mut told = lines.iter().skip(skip).try_for_each(|entry| self.tell(entry, &mut at_start));
        while self.follow && told.is_ok() {
            match reader.next()? {
                Some(entry) => told = self.tell(&entry, &mut at_start),
                None if !runs(store, &container.id) => break,
                None => sleep(PERIOD),
            }
        }
        match told {
            // Whoever reads along has had enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            told => Ok(told?),
        }
    }

    fn tell(&self, entry: &Entry, at_start: &mut bool) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        if self.timestamps && *at_start {
            bytes.extend(format!("{} ", entry.time).bytes());
        }
        bytes.extend_from_slice(&entry.bytes);
        *at_start = entry.bytes.ends_with(b"\n");
        match entry.stream {
            Stream::Stdout => {
                let mut out = stdout();
                out.write_all(&bytes).and_then(|()| out.flush())
            }
            Stream::Stderr => stderr().write_all(&bytes),
        }
    }
}

fn ends(lines: &VecDeque<Entry>) -> usize {
    lines.iter().filter(|entry| entry.bytes.ends_with(b"\n")).count()
}

/// Where the last `count` lines begin; one that has not ended is a line, too.
fn first_of_last(lines: &VecDeque<Entry>, count: usize) -> usize {
    let begins = |at: &usize| *at == 0 || lines[at - 1].bytes.ends_with(b"\n");
    let starts: Vec<_> = (0..lines.len()).filter(begins).collect();
    starts.len().checked_sub(count).map_or(0, |skip| starts.get(skip).copied().unwrap_or(lines.len()))
}

fn runs(store: &Store, id: &str) -> bool {
    find::find(store, id).is_ok_and(|container| !matches!(container.state, State::Ended(_)))
}

/// RFC 3339, which sorts as text does.
fn time(word: &str) -> Result<String> {
    let before = |ago: Duration| SystemTime::now().checked_sub(ago);
    let time = humantime::parse_rfc3339_weak(word).ok();
    let time = time.or_else(|| before(humantime::parse_duration(word).ok()?));
    let time = time.with_context(|| {
        format!("--since {word:?} is no time: as in 2026-01-31T12:00:00Z, or 10m for the last ten minutes")
    })?;
    Ok(humantime::format_rfc3339_millis(time).to_string())
}

//! `rubber demo`: the same command without and with a layer, for an instructor and a projector.

use crate::{
    image::Store,
    show::demo::{self, Ground},
};
use anyhow::Result;
use std::path::PathBuf;

/// Show what each layer changes: the same command without it and with it, side by side
///
/// Chapter 20 has a config.json instead: what each command of rubber-oci and each line in it does.
/// Everything runs on a stand-in host, where attacks may succeed. Space shows the next beat, ? lists the keys.
/// Without a terminal of at least 80 columns the beats are printed one after another.
#[derive(clap::Args)]
pub struct Demo {
    /// Chapter to begin with, such as 05 or uts [default: the first]
    chapter: Option<String>,
    /// All chapters
    #[arg(long, conflicts_with = "chapter")]
    all: bool,
    /// Run every beat, and compare what it shows with what it promises
    #[arg(long)]
    test: bool,
    /// Write a recording of the beats for asciinema
    #[arg(long, value_name = "FILE", conflicts_with = "test")]
    cast: Option<PathBuf>,
}

impl Demo {
    pub fn main(&self, store: Store) -> Result<u8> {
        let chapters = demo::all()?;
        let first = self.chapter.as_ref().map(|word| demo::find(&chapters, word)).transpose()?;
        let chosen = match first {
            Some(place) => &chapters[place..=place],
            None => &chapters[..],
        };
        let is_screen = demo::is_fit();
        let ground = Ground::prepare(store)?;
        match &self.cast {
            Some(file) => demo::record(&ground, chosen, file),
            None if self.test => demo::check(&ground, chosen),
            None if is_screen => demo::present(&ground, &chapters, first.unwrap_or(0)),
            None => demo::tell(&ground, chosen),
        }
    }
}

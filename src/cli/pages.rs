//! `rubber completions` and `rubber man`: what shells and man(1) read, made of the command line itself.

use crate::show::columns::print;
use anyhow::{Context, Result};
use clap::CommandFactory;
use std::path::PathBuf;

/// Print a script that completes rubber's commands and flags in your shell
///
/// As in: rubber completions bash >~/.local/share/bash-completion/completions/rubber
#[derive(clap::Args)]
pub struct Completions {
    shell: clap_complete::Shell,
}

/// Write manual pages, one for each command, into a directory
///
/// As in: rubber man /usr/local/share/man/man1
#[derive(clap::Args)]
pub struct Man {
    directory: PathBuf,
}

impl Completions {
    pub fn main(self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Cli::command(), "rubber", &mut script);
        print(&String::from_utf8(script)?)
    }
}

impl Man {
    pub fn main(self) -> Result<()> {
        let directory = &self.directory;
        std::fs::create_dir_all(directory)
            .and_then(|()| clap_mangen::generate_to(super::Cli::command(), directory))
            .with_context(|| format!("cannot write manual pages into {}", directory.display()))
    }
}

//! The command line of the learner's rubber: `run` and nothing else, so that it is built in a moment.

mod ends;
mod environment;
mod limits;
mod mounts;
mod names;
mod namespaces;
mod portrait;
mod privileges;
mod run;
mod security;
mod sysctls;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

#[derive(Parser)]
#[command(version, disable_help_subcommand = true)]
struct Cli {
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a command in a new container, with your layers
    Run(Box<run::Run>),
    #[command(hide = true)]
    Portrait(portrait::Args),
}

pub fn main() -> Result<u8> {
    let Cli { root, command } = Cli::parse();
    match command {
        Command::Run(run) => run.main(root),
        Command::Portrait(args) => portrait::main(&args),
    }
}

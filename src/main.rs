//! Stands in for the real main until the image part is merged.

mod cli;
#[allow(dead_code, unused_imports)] // the run path, which uses the rest, is elsewhere
mod image;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::main(cli::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rubber: {error:#}");
            ExitCode::from(125)
        }
    }
}

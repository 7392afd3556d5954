//! `rubber facts [PID]`: what a process sees and what the kernel says of it.

use crate::{facts, show};
use anyhow::Result;
use clap::ValueEnum;

/// Show what a process sees, and what the kernel says of it
#[derive(clap::Args)]
pub struct Args {
    /// Process to look at [default: rubber itself]
    #[arg(allow_negative_numbers = true)]
    pid: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Json,
    Table,
}

pub fn main(args: &Args) -> Result<u8> {
    let facts = match &args.pid {
        Some(pid) => facts::of(pid)?,
        None => facts::own(),
    };
    show::columns::print(&match args.format {
        Format::Json => show::json::pretty(&facts)?,
        Format::Table => show::facts::table(&facts),
    })?;
    Ok(0)
}

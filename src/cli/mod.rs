pub mod images;
pub mod import;
pub mod rmi;

use crate::image::Store;
use std::path::PathBuf;

#[derive(clap::Parser)]
#[command(version)]
pub struct Arguments {
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Images(images::Images),
    Import(import::Import),
    Rmi(rmi::Rmi),
}

pub fn main(arguments: Arguments) -> anyhow::Result<()> {
    let store = Store::open(arguments.root)?;
    match arguments.command {
        Command::Images(images) => images.main(&store),
        Command::Import(import) => import.main(&store),
        Command::Rmi(rmi) => rmi.main(&store),
    }
}

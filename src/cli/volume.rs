//! `rubber volume`: named volumes.

use super::end::each;
use crate::{
    container::volume::{self, Volume as Found},
    image::Store,
    show::{columns::print, json},
};
use anyhow::Result;

/// List, make and remove named volumes: directories that outlive the containers that share them
#[derive(clap::Args)]
pub struct Volume {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List them
    Ls {
        /// How to print them
        #[arg(long, value_enum, default_value = "table", value_name = "FORMAT")]
        format: Format,
        /// Print the names only
        #[arg(short, long)]
        quiet: bool,
    },
    /// Make them; one that is there already stays as it is
    Create {
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove them with all that is in them
    Rm {
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Print all that is known of them, as JSON
    Inspect {
        #[arg(required = true)]
        names: Vec<String>,
    },
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

impl Volume {
    pub fn main(self, store: &Store) -> Result<()> {
        match self.command {
            Command::Ls { quiet: true, .. } => print(
                &volume::all(store)?.iter().map(|volume| format!("{}\n", volume.name)).collect::<String>(),
            ),
            Command::Ls { format: Format::Table, .. } => print(&table(&volume::all(store)?)),
            Command::Ls { format: Format::Json, .. } => json(&volume::all(store)?),
            Command::Create { names } => names.iter().try_for_each(|name| {
                volume::make(store, name)?;
                print(&format!("{name}\n"))
            }),
            Command::Rm { names } => each(&names, |name| {
                volume::remove(store, name)?;
                print(&format!("{name}\n"))
            }),
            Command::Inspect { names } => {
                json(&names.iter().map(|name| volume::find(store, name)).collect::<Result<Vec<_>>>()?)
            }
        }
    }
}

fn json(volumes: &[Found]) -> Result<()> {
    print(&json::pretty(volumes)?)
}

fn table(volumes: &[Found]) -> String {
    let width = volumes.iter().map(|volume| volume.name.len()).max().unwrap_or(0).max("NAME".len());
    let mut text = format!("{:width$}  CONTAINERS\n", "NAME");
    for volume in volumes {
        text += format!("{:width$}  {}", volume.name, volume.containers.join(", ")).trim_end();
        text += "\n";
    }
    text
}

//! `rubber diff`: what a container has changed.

use super::Format;
use crate::{
    container::{
        changes::{self, Change, Kind},
        find,
        inside::{Purpose, Visit, both},
    },
    image::Store,
    show::{
        columns::{escape, print},
        json,
    },
};
use anyhow::{Context, Result};
use serde_json::json;

/// List what a container has changed in its root: A added, C changed, D deleted
#[derive(clap::Args)]
pub struct Diff {
    /// Its name, its id, or the beginning of its id
    container: String,
    /// How to print it
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

impl Diff {
    pub fn main(self, store: &Store) -> Result<()> {
        let container = find::find(store, &self.container)?;
        let _visit = Visit::prepare(&container, Purpose::Read)?;
        let inside = || {
            let changes =
                changes::of(&container).with_context(|| format!("cannot compare {}", container.name))?;
            print(&match self.format {
                Format::Table => changes.iter().map(line).collect(),
                Format::Json => {
                    let all: Vec<_> = changes
                        .iter()
                        .map(|change| json!({"kind": change.kind, "path": change.path.to_string_lossy()}))
                        .collect();
                    json::pretty(&all)?
                }
            })?;
            Ok(0)
        };
        both(inside, || Ok(()))
    }
}

fn line(change: &Change) -> String {
    let letter = match change.kind {
        Kind::Added => 'A',
        Kind::Changed => 'C',
        Kind::Deleted => 'D',
    };
    format!("{letter} {}\n", escape(&change.path.to_string_lossy()))
}

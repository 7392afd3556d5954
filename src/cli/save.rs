//! `rubber save`: images as an archive that others read.

use crate::image::{
    Store, find, holes,
    save::{self, Format},
};
use anyhow::{Context, Result, bail};
use std::{
    io::{IsTerminal, stdout},
    path::{Path, PathBuf},
};

/// Write images as an archive that podman, skopeo, docker and rubber import read
#[derive(clap::Args)]
pub struct Save {
    /// Names as `rubber images` shows them, or ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Write it to a file [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// OCI's layout in a tar, or what docker save writes
    #[arg(long, value_enum, default_value = "oci-archive", value_name = "FORMAT")]
    format: Format,
}

impl Save {
    pub fn main(self, store: &Store) -> Result<()> {
        let names = self.names.iter().map(|name| find::find(store, name)).collect::<Result<Vec<_>>>()?;
        let Some(file) = self.output else {
            if stdout().is_terminal() {
                bail!("stdout is a terminal: name a file with -o, or send it to a pipe");
            }
            return save::save(store, &names, self.format, stdout());
        };
        // Whole or not there.
        let directory =
            file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let named = || format!("cannot write {file:?}");
        let new = tempfile::NamedTempFile::new_in(directory).with_context(named)?;
        save::save(store, &names, self.format, holes::Writer::new(new.as_file())).with_context(named)?;
        new.persist(&file).map_err(|error| error.error).with_context(named)?;
        Ok(())
    }
}

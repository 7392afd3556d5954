//! `rubber export`: a container's files as an archive.

use crate::{
    container::{
        find,
        inside::{Purpose, Visit, both},
    },
    image::{
        Store, holes,
        pack::{Bounds, Packer},
    },
    narrate,
};
use anyhow::{Context, Result, bail};
use std::{
    io::{BufWriter, IsTerminal, Write, stdout},
    path::{Path, PathBuf},
};

/// Write a container's files as a tar archive, without what is mounted in it
#[derive(clap::Args)]
pub struct Export {
    /// Its name, its id, or the beginning of its id
    container: String,
    /// Write it to a file [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Export {
    pub fn main(self, store: &Store) -> Result<()> {
        let container = find::find(store, &self.container)?;
        let visit = Visit::prepare(&container, Purpose::Read)?;
        let Some(file) = self.output else {
            if stdout().is_terminal() {
                bail!("stdout is a terminal: name a file with -o, or send it to a pipe");
            }
            return both(|| export(&visit, stdout()), || Ok(()));
        };
        // Whole or not there.
        let directory =
            file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let named = || format!("cannot write {file:?}");
        let new = tempfile::NamedTempFile::new_in(directory).with_context(named)?;
        both(|| export(&visit, holes::Writer::new(new.as_file())), || Ok(()))?;
        new.persist(&file).map_err(|error| error.error).with_context(named)?;
        Ok(())
    }
}

fn export(visit: &Visit, out: impl Write) -> Result<u8> {
    let mut packer = Packer::new(BufWriter::with_capacity(1 << 16, out), Bounds::Filesystem);
    let packed = visit.enter().and_then(|root| packer.tree(&root, Path::new("")));
    if let Err(error) = packed {
        packer.abandon();
        return Err(error);
    }
    for path in packer.finish()? {
        narrate::warn(format_args!("{path:?} became shorter while it was read: its end is zeros"));
    }
    Ok(0)
}

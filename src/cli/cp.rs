//! `rubber cp`: files into a container, and out of one.

use crate::{
    container::{
        copy::{self, How},
        find,
    },
    image::Store,
};
use anyhow::{Result, bail};
use std::{
    ffi::{OsStr, OsString},
    io::{IsTerminal, stdin, stdout},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// Copy files into a container, and out of one, running or not
///
/// What is copied in belongs to the container's root, what is copied out to the caller. DIR/. means what is in DIR.
#[derive(clap::Args)]
#[command(
    override_usage = "rubber cp [OPTIONS] CONTAINER:PATH DEST|-\n       rubber cp [OPTIONS] SRC|- CONTAINER:PATH"
)]
pub struct Cp {
    /// A path of the host's, CONTAINER:PATH, or - for a tar archive on stdin
    source: OsString,
    /// The same; - writes a tar archive to stdout
    dest: OsString,
    /// Keep users and groups, by number
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link SRC points to
    #[arg(short = 'L', long)]
    follow_link: bool,
}

enum Place {
    Host(PathBuf),
    Inside(String, PathBuf),
    Stream,
}

impl Cp {
    pub fn main(self, store: &Store) -> Result<()> {
        let how = How { keeps_owners: self.archive, follows: self.follow_link };
        match (place(&self.source)?, place(&self.dest)?) {
            (Place::Inside(name, path), Place::Host(dest)) => {
                copy::out(&find::find(store, &name)?, &path, &dest, how)
            }
            (Place::Host(source), Place::Inside(name, path)) => {
                copy::into(&find::find(store, &name)?, &source, &path, how)
            }
            (Place::Inside(name, path), Place::Stream) => {
                if stdout().is_terminal() {
                    bail!("stdout is a terminal: send the archive to a file or a pipe");
                }
                copy::out_stream(&find::find(store, &name)?, &path, how, stdout())
            }
            (Place::Stream, Place::Inside(name, path)) => {
                if stdin().is_terminal() {
                    bail!("stdin is a terminal: pipe an archive into it");
                }
                copy::into_stream(&find::find(store, &name)?, stdin(), &path)
            }
            (Place::Inside(one, _), Place::Inside(other, _)) => {
                bail!(
                    "from container to container goes through a pipe: rubber cp {one}:... - | rubber cp - {other}:..."
                )
            }
            _ => bail!("one of the two must be in a container: CONTAINER:PATH"),
        }
    }
}

/// As docker: a word is a path of the host's if it starts with a slash or a dot, and has no colon, or one behind a slash.
fn place(word: &OsStr) -> Result<Place> {
    let bytes = word.as_bytes();
    if bytes == b"-" {
        return Ok(Place::Stream);
    }
    if bytes.is_empty() {
        bail!("a path of no length: . is the directory you are in");
    }
    let colon = bytes.iter().position(|byte| *byte == b':');
    let slash = bytes.iter().position(|byte| *byte == b'/').unwrap_or(bytes.len());
    match colon {
        Some(colon) if colon < slash && bytes[0] != b'.' && colon > 0 => {
            let name = String::from_utf8_lossy(&bytes[..colon]).into_owned();
            Ok(Place::Inside(name, Path::new(OsStr::from_bytes(&bytes[colon + 1..])).into()))
        }
        _ => Ok(Place::Host(word.into())),
    }
}

//! `rubber portrait`: runs inside a container and draws it. The command of the built-in image.

use crate::{facts, show};
use anyhow::Result;

/// Draw the container this runs in; stdin may carry the host's facts as JSON
#[derive(clap::Args)]
pub struct Args {}

pub fn main(_: &Args) -> Result<u8> {
    let outside = show::portrait::read_outside();
    show::columns::print(&show::portrait::draw(&facts::own(), &outside))?;
    Ok(0)
}

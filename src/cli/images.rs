//! `rubber images`: what is in the store.

use crate::{
    image::{
        Store,
        list::{self, Listed},
    },
    show::{columns::escape, json},
};
use anyhow::Result;
use std::io::Write;

/// List the images that are on this machine
#[derive(clap::Args)]
pub struct Images {
    /// How to print them
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Print the ids only
    #[arg(short, long, conflicts_with = "format")]
    quiet: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

impl Images {
    pub fn main(self, store: &Store) -> Result<()> {
        let images = list::list(store)?;
        let text = match self.format {
            _ if self.quiet => images.iter().map(|image| format!("{}\n", image.id)).collect(),
            Format::Json => json::pretty(&images)?,
            Format::Table => table(&images),
        };
        Ok(std::io::stdout().write_all(text.as_bytes())?)
    }
}

fn table(images: &[Listed]) -> String {
    let width = images.iter().map(|image| image.name.len()).max().unwrap_or(0).max("NAME".len());
    let row = |name: &str, id: &str, created: &str, sizes: [&str; 3]| {
        let [size, shared, unique] = sizes;
        format!("{name:width$}  {id:12}  {created:16}  {size:>7}  {shared:>7}  {unique:>7}\n")
    };
    let mut text = row("NAME", "IMAGE ID", "CREATED", ["SIZE", "SHARED", "UNIQUE"]);
    for image in images {
        let created: String = image.created.chars().take(16).collect();
        // "2026-05-07T10:00:00Z" to the minute, and nothing in it that a terminal would obey.
        let created = escape(&created.replace('T', " "));
        let sizes = [image.size, image.shared, image.unique].map(list::human);
        text += &row(&image.name, &image.id, &created, sizes.each_ref().map(String::as_str));
    }
    text
}

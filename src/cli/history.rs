//! `rubber history`: how an image came to be.

use crate::{
    image::{
        Store, find,
        list::{self, human},
    },
    show::columns::{escape, print},
};
use anyhow::{Context, Result};
use std::collections::HashMap;

/// Show how an image was made, the newest step first, and what each step takes on disk
#[derive(clap::Args)]
pub struct History {
    /// Its name or its id
    image: String,
    /// Show the whole of each command
    #[arg(long)]
    no_trunc: bool,
}

impl History {
    pub fn main(self, store: &Store) -> Result<()> {
        let name = find::find(store, &self.image)?;
        let config = store.image(&name)?.with_context(|| format!("no image \"{name}\""))?;
        let mut layers = store.layer_paths(&config)?.into_iter();
        let mut sizes = HashMap::new();
        let mut rows = Vec::new();
        for step in config.history().iter().flatten() {
            let layer = if step.empty_layer().unwrap_or(false) { None } else { layers.next() };
            // A layer that is there twice takes its place once.
            let size = match &layer {
                Some(layer) if sizes.insert(layer.clone(), ()).is_none() => list::disk_usage(layer)?,
                _ => 0,
            };
            let created: String = step.created().iter().flat_map(|text| text.chars().take(16)).collect();
            let by = escape(step.created_by().as_deref().unwrap_or("").trim());
            rows.push((created.replace('T', " "), human(size), by));
        }
        // Whoever made the image may not have said how.
        for layer in layers {
            rows.push((String::new(), human(list::disk_usage(&layer)?), String::new()));
        }
        let mut text = format!("{:16}  {:>7}  {}\n", "CREATED", "SIZE", "CREATED BY");
        for (created, size, by) in rows.iter().rev() {
            let by = match by.char_indices().nth(52) {
                Some((end, _)) if !self.no_trunc => format!("{}…", &by[..end]),
                _ => by.clone(),
            };
            text += format!("{:16}  {size:>7}  {by}", escape(created)).trim_end();
            text.push('\n');
        }
        print(&text)
    }
}

//! `rubber ps`: which containers there are.

use crate::{
    container::find::{self, Container, State},
    image::Store,
    show::{
        columns::{self, cell, escape, print},
        json,
    },
};
use anyhow::Result;
use serde_json::{Value, json};

/// List the containers that run
#[derive(clap::Args)]
pub struct Ps {
    /// Those that have ended, too
    #[arg(short, long)]
    all: bool,
    /// Only their ids
    #[arg(short, long)]
    quiet: bool,
    /// How to print them
    #[arg(long, value_enum, default_value = "table", conflicts_with = "quiet")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

impl Ps {
    pub fn main(self, store: &Store) -> Result<()> {
        let mut containers = find::all(store)?;
        containers.retain(|container| self.all || !matches!(container.state, State::Ended(_)));
        print(&match (self.quiet, self.format) {
            (true, _) => containers.iter().map(|container| format!("{}\n", container.id)).collect(),
            (_, Format::Json) => {
                let all: Vec<_> = containers.iter().map(about).collect();
                json::pretty(&all)?
            }
            (_, Format::Table) => table(&containers),
        })
    }
}

fn about(container: &Container) -> Value {
    let record = &container.record;
    let mut about = json!({
        "id": container.id,
        "name": container.name,
        "image": record.image,
        "command": words(container),
        "created": record.created,
        "state": container.state.word(),
        "labels": record.labels,
    });
    match &container.state {
        State::Running(pid) | State::Paused(pid) => about["pid"] = pid.as_raw().into(),
        State::Ended(ended) => {
            about["exit_code"] = ended.code.into();
            about["ended"] = ended.at.clone().into();
        }
        State::Created => {}
    }
    about
}

fn words(container: &Container) -> Vec<String> {
    container.record.config.command.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

fn command(container: &Container) -> String {
    escape(&words(container).join(" "))
}

/// Its image's name, or the directory that was named with `--rootfs`.
fn image(container: &Container) -> String {
    let record = &container.record;
    match record.config.image.first() {
        Some(directory) if record.image.is_empty() => directory.display().to_string(),
        _ => record.image.clone(),
    }
}

fn table(containers: &[Container]) -> String {
    // Each column is as wide as what is in it.
    let width = |head: &str, most: usize, text: fn(&Container) -> String| {
        containers
            .iter()
            .map(|container| columns::width(&text(container)))
            .max()
            .unwrap_or(0)
            .clamp(head.len(), most)
    };
    let names = width("NAME", 64, |container| container.name.clone());
    let images = width("IMAGE", 32, image);
    let commands = width("COMMAND", 24, command);
    let row = |id: &str, name: &str, image: &str, command: &str, state: &str| {
        let (name, image, command) = (cell(name, names), cell(image, images), cell(command, commands));
        format!("{id:12}  {name}  {image}  {command}  {state}\n")
    };
    let mut text = row("ID", "NAME", "IMAGE", "COMMAND", "STATE");
    for container in containers {
        let state = match &container.state {
            State::Ended(ended) if ended.lost => format!("lost {}", ago(&ended.at)),
            State::Ended(ended) => format!("exited ({}) {}", ended.code, ago(&ended.at)),
            state => format!("{} {}", state.word(), since(&container.record.created)),
        };
        text += &row(&container.id, &container.name, &image(container), &command(container), &state);
    }
    text
}

/// As in `3m 5s`: no more than two units.
fn since(time: &str) -> String {
    let passed = humantime::parse_rfc3339(time).ok().and_then(|time| time.elapsed().ok()).unwrap_or_default();
    let text = humantime::format_duration(std::time::Duration::from_secs(passed.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn ago(time: &str) -> String {
    since(time) + " ago"
}

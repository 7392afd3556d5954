//! `rubber stats`: what containers use.

use super::Format;
use crate::{
    container::{
        find::{self, Container},
        usage::{self, Usage},
    },
    image::{Store, list::human},
    narrate,
    show::{columns::print, json},
};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::{
    io::{IsTerminal, stdout},
    thread::sleep,
    time::{Duration, Instant},
};

/// Show what containers use: processor, memory, processes, disks
///
/// On a terminal once a second, until Ctrl-C.
#[derive(clap::Args)]
pub struct Stats {
    /// Names, ids, or beginnings of ids [default: all that run]
    containers: Vec<String>,
    /// Show it once
    #[arg(long)]
    no_stream: bool,
    /// How to print it (json: once)
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// Home, and clear from there on.
const AGAIN: &str = "\x1b[H\x1b[J";

/// One container, and what it used since it was looked at before.
struct Row<'a> {
    container: &'a Container,
    usage: &'a Usage,
    /// Of one processor, in percent.
    cpu: f64,
}

impl Stats {
    pub fn main(self, store: &Store) -> Result<()> {
        let streams = !self.no_stream && self.format == Format::Table && stdout().is_terminal();
        let pause = Duration::from_millis(if streams { 1000 } else { 500 });
        let mut before = self.look(store)?;
        loop {
            sleep(pause);
            let now = self.look_again(store)?;
            if now.is_empty() && !self.containers.is_empty() {
                narrate::warn(format_args!("{}: ended", self.containers.join(", ")));
                return Ok(());
            }
            let rows: Vec<_> = now.iter().filter_map(|now| row(now, &before)).collect();
            if self.format == Format::Json {
                let all: Vec<_> = rows.iter().map(about).collect();
                return print(&json::pretty(&all)?);
            }
            if !streams {
                return print(&table(&rows));
            }
            print(&(AGAIN.to_owned() + &table(&rows)))?;
            before = now;
        }
    }

    fn look(&self, store: &Store) -> Result<Vec<Look>> {
        if self.containers.is_empty() {
            let running = find::all(store)?.into_iter().filter(|container| container.state.pid().is_some());
            // One that has ended just now is no error.
            return Ok(running.filter_map(|container| Look::at(container).ok()).collect());
        }
        self.containers.iter().map(|word| Look::at(find::find(store, word)?)).collect()
    }

    /// One that was there and has ended, or was removed, is not worth an error: it is left out.
    fn look_again(&self, store: &Store) -> Result<Vec<Look>> {
        if self.containers.is_empty() {
            return self.look(store);
        }
        let there = self.containers.iter().filter_map(|word| find::find(store, word).ok());
        Ok(there.filter_map(|container| Look::at(container).ok()).collect())
    }
}

struct Look {
    container: Container,
    usage: Usage,
    when: Instant,
}

impl Look {
    fn at(container: Container) -> Result<Look> {
        if container.state.pid().is_none() {
            bail!(
                "container {} is not running ({}): it uses nothing",
                container.name,
                container.state.word()
            );
        }
        Ok(Look { usage: usage::of(&container)?, container, when: Instant::now() })
    }
}

/// None for one that was not there before.
fn row<'a>(now: &'a Look, before: &[Look]) -> Option<Row<'a>> {
    let before = before.iter().find(|before| before.container.id == now.container.id)?;
    let cpu = (now.usage.cpu - before.usage.cpu).max(0.0) / (now.when - before.when).as_secs_f64();
    Some(Row { container: &now.container, usage: &now.usage, cpu: 100.0 * cpu })
}

fn about(row: &Row) -> Value {
    let usage = row.usage;
    json!({
        "id": row.container.id,
        "name": row.container.name,
        "cpu_percent": (row.cpu * 100.0).round() / 100.0,
        "cpu_seconds": usage.cpu,
        "memory": usage.memory,
        "memory_limit": usage.memory_limit,
        "pids": usage.pids,
        "pids_limit": usage.pids_limit,
        "read": usage.read,
        "written": usage.written,
    })
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.container.name.len()).max().unwrap_or(0).max("NAME".len());
    let line = |id: &str, name: &str, cpu: &str, memory: &str, percent: &str, pids: &str, disk: &str| {
        format!("{id:12}  {name:width$}  {cpu:>8}  {memory:19}  {percent:>6}  {pids:>5}  {disk}\n")
    };
    let mut text = line("ID", "NAME", "CPU %", "MEMORY / LIMIT", "MEM %", "PIDS", "READ / WRITTEN");
    for row in rows {
        let usage = row.usage;
        text += &line(
            &row.container.id,
            &row.container.name,
            &format!("{:.1}%", row.cpu),
            &format!("{} / {}", human(usage.memory), human(usage.memory_limit)),
            &format!("{:.1}%", 100.0 * usage.memory as f64 / usage.memory_limit.max(1) as f64),
            &usage.pids.to_string(),
            &format!("{} / {}", human(usage.read), human(usage.written)),
        );
    }
    text
}

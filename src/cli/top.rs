//! `rubber top`: the processes of a container, by both of their numbers.

use super::Format;
use crate::{
    container::{
        find,
        processes::{self, Process},
    },
    image::Store,
    narrate,
    show::{
        columns::{cell, escape, fit, print, width},
        json,
    },
};
use anyhow::Result;
use serde_json::{Value, json};

/// List the processes of a container: with the host's number and with its own
#[derive(clap::Args)]
pub struct Top {
    /// Its name, its id, or the beginning of its id
    container: String,
    /// How to print them
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

impl Top {
    pub fn main(self, store: &Store) -> Result<()> {
        let all = processes::of(&find::find(store, &self.container)?)?;
        if self.format == Format::Json {
            let all: Vec<_> = all.iter().map(about).collect();
            return print(&json::pretty(&all)?);
        }
        print(&table(&all))?;
        let zombies = all.iter().filter(|process| process.is_zombie()).count();
        if zombies > 0 {
            narrate::warn(format_args!(
                "{zombies} {} ended, and nobody has asked how: that is a parent's duty, and pid 1's for orphans \
                 (--init gives a pid 1 that does it)",
                if zombies == 1 { "process has" } else { "processes have" }
            ));
        }
        Ok(())
    }
}

fn about(process: &Process) -> Value {
    json!({
        "pid": process.pid,
        "inside": process.inside,
        "parent": process.parent,
        "uid": process.uid,
        "user": process.user,
        "state": state(process),
        "seconds": process.time,
        "command": process.command,
    })
}

fn state(process: &Process) -> &'static str {
    match process.state {
        'R' => "running",
        'S' => "sleeping",
        'I' => "idle",
        'D' => "waiting",
        'T' | 't' => "stopped",
        'Z' | 'X' => "zombie",
        _ => "?",
    }
}

fn table(all: &[Process]) -> String {
    let user = |process: &Process| {
        let name = process.user.as_deref().filter(|name| !name.is_empty());
        name.map_or_else(|| process.uid.to_string(), |name| fit(name, 16))
    };
    let columns = all.iter().map(|process| width(&user(process))).max().unwrap_or(0).max("USER".len());
    let row = |pid: &str, inside: &str, user: &str, state: &str, time: &str, command: &str| {
        format!("{pid:>7}  {inside:>6}  {}  {state:8}  {time:>8}  {command}\n", cell(user, columns))
    };
    let mut text = row("PID", "INSIDE", "USER", "STATE", "CPU TIME", "COMMAND");
    for process in all {
        let inside = process.inside.map_or("-".into(), |pid| pid.to_string());
        let time = format!("{:.2}s", process.time);
        let pid = process.pid.to_string();
        text += &row(&pid, &inside, &user(process), state(process), &time, &escape(&process.command));
    }
    text
}

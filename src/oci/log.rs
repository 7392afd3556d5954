//! Where clients look for what went wrong: lines in a file, each a JSON object, as runc writes them.

use crate::{narrate, show::json};
use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::json;
use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::OnceLock,
    time::SystemTime,
};

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

struct Log {
    file: File,
    format: Format,
}

/// Set once, by the command line.
static LOG: OnceLock<Log> = OnceLock::new();

/// Opened at once: who joins a container has its names, and not the host's any more.
pub fn start(file: &Path, format: Format) -> Result<()> {
    let opened = OpenOptions::new().create(true).append(true).open(file);
    let file = opened.with_context(|| format!("cannot open --log {file:?}"))?;
    let _ = LOG.set(Log { file, format });
    Ok(())
}

pub fn error(text: &str) {
    write("error", text);
}

pub fn warn(text: &str) {
    write("warning", text);
}

/// In the file, and for people on stderr.
fn write(level: &str, text: &str) {
    if let Some(Log { file, format }) = LOG.get() {
        let _ = (&mut &*file).write_all(line(*format, level, text).as_bytes());
    }
    narrate::say(&format!("rubber-oci: {}\n", narrate::readable(text)));
}

fn line(format: Format, level: &str, text: &str) -> String {
    let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    match format {
        Format::Json => {
            json::line(&json!({ "level": level, "msg": text, "time": time })).unwrap_or_default() + "\n"
        }
        Format::Text => format!("time={time:?} level={level} msg={text:?}\n"),
    }
}

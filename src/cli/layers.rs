//! `rubber layers`: the step tables of `run`, printed.

use crate::{
    run::{AFTERWARDS, HOST, PID_1, Step},
    show,
};
use anyhow::Result;
use std::io::{Write, stdout};

/// Show what rubber does to make a container: every step, in order, and the layer it belongs to
#[derive(clap::Args)]
pub struct Layers {
    #[arg(long, value_enum, default_value = "table", value_name = "FORMAT")]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

impl Layers {
    pub fn main(self) -> Result<()> {
        let tables = [("host", HOST), ("pid 1", PID_1), ("host", AFTERWARDS)];
        let rows =
            tables.iter().flat_map(|(who, steps)| steps.iter().map(move |step| (*who, step))).enumerate();
        let mut text = String::new();
        match self.format {
            Format::Json => {
                let rows: Vec<_> = rows.map(|(n, (who, step))| json(n + 1, who, step)).collect();
                text = show::json::pretty(&rows)?;
            }
            Format::Table => {
                text += "step  who    chapter  layer         what\n";
                for (n, (who, step)) in rows {
                    text += &line(n + 1, who, step);
                }
                text += "\nA step belongs to its layer: --until and --without switch it on and off.\n\
                    userns is on for an ordinary user only. Not built yet: 17 bridge (it will stand after net).\n";
            }
        }
        Ok(stdout().write_all(text.as_bytes())?)
    }
}

fn line(n: usize, who: &str, step: &Step) -> String {
    let unless = step.unless.map(|better| format!(" (unless {})", better.name()));
    let condition = unless.or(step.when.map(|_| " (if asked for)".into())).unwrap_or_default();
    let (number, name) = (step.layer.number(), step.layer.name());
    format!("{n:>4}  {who:<5}  {number:02}       {name:<12}  {}{condition}\n", step.does)
}

fn json(n: usize, who: &str, step: &Step) -> serde_json::Value {
    serde_json::json!({
        "step": n,
        "who": who,
        "layer": step.layer.name(),
        "chapter": step.layer.number(),
        "does": step.does,
        "if_asked_for": step.when.is_some(),
        "unless": step.unless.map(|better| better.name()),
    })
}

//! `rubber inspect`: all that is known of a container.

use crate::{
    container::find::{self, State},
    facts,
    image::Store,
    show::columns::print,
};
use anyhow::Result;
use serde_json::{Value, json};

/// Print all that is known of containers, as JSON: what they were asked to be, and what the kernel says of them
#[derive(clap::Args)]
pub struct Inspect {
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Inspect {
    pub fn main(self, store: &Store) -> Result<()> {
        let all = self.containers.iter().map(|word| inspect(store, word)).collect::<Result<Vec<_>>>()?;
        print(&(serde_json::to_string_pretty(&all)? + "\n"))
    }
}

fn inspect(store: &Store, word: &str) -> Result<Value> {
    let container = find::find(store, word)?;
    let mut about = serde_json::to_value(&container.record)?;
    about["id"] = container.id.clone().into();
    about["name"] = container.name.clone().into();
    about["state"] = match &container.state {
        State::Created => json!({"word": "created"}),
        State::Running(pid) | State::Paused(pid) => {
            json!({"word": container.state.word(), "pid": pid.as_raw()})
        }
        State::Ended(ended) => {
            json!({"word": "exited", "code": ended.code, "at": ended.at, "lost": ended.lost})
        }
    };
    about["kernel"] = match container.state {
        State::Running(pid) | State::Paused(pid) => serde_json::to_value(facts::of(&pid.to_string())?)?,
        _ => Value::Null,
    };
    Ok(about)
}

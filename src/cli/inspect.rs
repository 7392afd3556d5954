//! `rubber inspect`: all that is known of a container, or of an image.

use crate::{
    container::find::{self, State},
    facts,
    image::{Store, assemble, find as images, list, name::Name, source},
    show::{columns::print, json},
};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Print all that is known of containers or images, as JSON: what they were asked to be, and what the kernel says
#[derive(clap::Args)]
pub struct Inspect {
    /// Containers or images, or as in docker-archive:FILE
    #[arg(required = true, value_name = "NAME")]
    words: Vec<String>,
    /// What they are [default: a container, else an image]
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<Kind>,
}

#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Kind {
    Container,
    Image,
}

impl Inspect {
    pub fn main(self, store: &Store) -> Result<()> {
        let about = |word: &String| match self.kind {
            Some(Kind::Container) => inspect(store, word),
            Some(Kind::Image) => image(store, word),
            None => either(store, word),
        };
        all(self.words.iter().map(about).collect::<Result<Vec<_>>>()?)
    }
}

pub fn images(store: &Store, names: &[String]) -> Result<()> {
    all(names.iter().map(|name| image(store, name)).collect::<Result<Vec<_>>>()?)
}

fn all(about: Vec<Value>) -> Result<()> {
    print(&json::pretty(&about)?)
}

/// A container's name comes before an image's.
fn either(store: &Store, word: &str) -> Result<Value> {
    if source::parse(word).is_some() {
        return image(store, word);
    }
    match inspect(store, word) {
        // What the error says of containers is what the word would mean.
        Err(error) => image(store, word).map_err(|_| error),
        about => about,
    }
}

fn image(store: &Store, word: &str) -> Result<Value> {
    if let Some(source) = source::parse(word) {
        let looked = source.look(store).with_context(|| format!("cannot inspect {word:?}"))?;
        let Some((id, config)) = looked else {
            bail!("cannot inspect {word:?}: a root filesystem says nothing of itself")
        };
        let mut about: Value = serde_json::to_value(config)?;
        about["id"] = id.into();
        return Ok(about);
    }
    let name = images::find(store, word)?;
    let bytes = store.config_bytes(&name)?.with_context(|| format!("no image \"{name}\""))?;
    let config = store.image(&name)?.with_context(|| format!("no image \"{name}\""))?;
    let mut about: Value = serde_json::from_slice(&bytes)?;
    let id = store.id(&name)?;
    let mut names = Vec::new();
    for other in store.names()? {
        if store.id_if_there(&other)?.as_ref() == Some(&id) && !images::is_nameless(&other) {
            names.push(other);
        }
    }
    about["names"] = json!(names.iter().map(Name::as_str).collect::<Vec<_>>());
    about["id"] = id.into();
    about["manifest"] = json!(assemble::stored(store, &name)?.map(|manifest| manifest.digest()));
    let layers = store.layer_paths(&config)?;
    about["size"] = list::size(&layers)?.into();
    about["layers"] = json!(layers);
    Ok(about)
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

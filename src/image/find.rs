//! Which image a word means: a name, or the beginning of an id.

use super::{
    name::{self, Name},
    store::Store,
};
use anyhow::{Result, bail};

/// An image that is in the store: its name, or the beginning of its id. What is one image's name and begins another's
/// id is neither: an archive says what its image is called, and may have had the other in mind.
pub fn find(store: &Store, word: &str) -> Result<Name> {
    let named = Name::parse(word);
    let by_id = by_id(store, word)?;
    if let Ok(name) = &named
        && let Some(id) = store.id_if_there(name)?
    {
        if let Some((_, other)) = by_id.iter().find(|(other, _)| *other != id) {
            bail!(
                "{word:?} is the name of an image and begins the id of another, {other}: \
                 docker.io/library/{word} is the first, and {other} the second"
            );
        }
        return Ok(name.clone());
    }
    match &by_id[..] {
        [] => unknown(store, &named?),
        [(_, name)] => Ok(name.clone()),
        several => {
            let names: Vec<_> = several.iter().map(|(_, name)| name.as_str()).collect();
            bail!("{word:?} is the id of several images: {}", names.join(", "))
        }
    }
}

/// The images whose id begins so; of one image under several names the first will do.
fn by_id(store: &Store, word: &str) -> Result<Vec<(String, Name)>> {
    let prefix = word.strip_prefix("sha256:").unwrap_or(word);
    let is_hex = prefix.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let mut found: Vec<(String, Name)> = Vec::new();
    if prefix.len() >= 3 && is_hex {
        for name in store.names()? {
            let id = store.id_if_there(&name)?.unwrap_or_default();
            if id.trim_start_matches("sha256:").starts_with(prefix)
                && !found.iter().any(|(known, _)| *known == id)
            {
                found.push((id, name));
            }
        }
    }
    Ok(found)
}

fn unknown<T>(store: &Store, name: &Name) -> Result<T> {
    let known = store.names()?;
    match name::near(name.as_str(), known.iter().map(Name::as_str)).join(" or ") {
        near if near.is_empty() => bail!("no image \"{name}\": rubber images lists what there is"),
        near => bail!("no image \"{name}\": did you mean {near}?"),
    }
}

/// An image that was run out of an archive is kept under a name made of its content, which nobody gave.
pub fn is_nameless(name: &Name) -> bool {
    name.as_str().len() == 64 && name.as_str().bytes().all(|byte| byte.is_ascii_hexdigit())
}

//! Capabilities as people type them.

use crate::layers::{Layer, Layers, capabilities::DEFAULT};
use anyhow::{Result, bail};
use caps::{CapSet, Capability};

/// The default fourteen, less what is dropped, and what is added (ALL is all there are). As in
/// docker: `--cap-drop ALL --cap-add X` leaves X alone.
pub fn capabilities(
    add: &[String],
    drop: &[String],
    privileged: bool,
    layers: Layers,
) -> Result<Vec<Capability>> {
    let all = || caps::all().into_iter().collect::<Vec<_>>();
    let (add, drop) = (parse(add)?, parse(drop)?);
    let ours = match layers.contains(Layer::Userns) {
        true => all(),
        false => caps::read(None, CapSet::Permitted)?.into_iter().collect(),
    };
    if let Named::These(add) = &add
        && let Some(capability) = add.iter().find(|capability| !ours.contains(capability))
    {
        bail!("--cap-add {capability}: rubber does not have it itself here, so it cannot give it");
    }
    let mut kept = match (privileged || matches!(add, Named::All), &drop) {
        (true, _) => all(),
        (false, Named::All) => vec![],
        (false, Named::These(_)) => DEFAULT.to_vec(),
    };
    if let Named::These(drop) = &drop {
        kept.retain(|capability| !drop.contains(capability));
    }
    if let Named::These(add) = add {
        kept.extend(add);
    }
    kept.retain(|capability| ours.contains(capability));
    Ok(kept)
}

/// For a command in a container that has `base`.
pub fn with(
    base: &[Capability],
    add: &[String],
    privileged: bool,
    layers: Layers,
) -> Result<Vec<Capability>> {
    let mut all = capabilities(add, &["ALL".into()], privileged, layers)?;
    all.extend(base.iter().filter(|capability| !all.contains(capability)).copied().collect::<Vec<_>>());
    Ok(all)
}

enum Named {
    All,
    These(Vec<Capability>),
}

fn parse(names: &[String]) -> Result<Named> {
    if names.iter().any(|name| name.eq_ignore_ascii_case("all")) {
        return Ok(Named::All);
    }
    let capability = |name: &String| {
        let full = caps::to_canonical(name);
        match full.parse() {
            Ok(capability) => Ok(capability),
            Err(_) => {
                bail!("no capability {name:?}: they are listed in capabilities(7), and ALL is all of them")
            }
        }
    };
    Ok(Named::These(names.iter().map(capability).collect::<Result<_>>()?))
}

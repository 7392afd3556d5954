//! What a name means: an image in the store, else one that can be made here, else one that a registry has.

use super::{
    Image, Store, builtin,
    name::{self, Name},
    recipe, source,
};
use crate::{Exit, narrate, sys};
use anyhow::{Context, Result, bail};
use nix::sys::{
    prctl::set_pdeathsig,
    signal::{SigSet, SigmaskHow, Signal, sigprocmask},
};
use oci_spec::image::ImageConfiguration;
use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
pub enum Pull {
    /// Even if it is here
    Always,
    /// If it is neither here nor can be made here
    Missing,
    Never,
}

/// The image called `name`, or an error that says how to get it.
pub fn resolve(store: &Store, name: &str, pull: Pull) -> Result<Image> {
    if let Some(source) = source::parse(name) {
        return source.resolve(store).with_context(|| format!("cannot use {name:?}"));
    }
    let name = Name::parse(name)?;
    // The learner's rubber can only run.
    let pull = if cfg!(feature = "exercise") { Pull::Never } else { pull };
    let config = match (name.as_str(), pull) {
        (builtin::NAME, _) => builtin::resolve(store)?,
        (_, Pull::Always) => pulled(store, &name)?,
        _ => match store.image(&name)? {
            Some(config) => config,
            None => missing(store, &name, pull)?,
        },
    };
    Image::new(store, &name, config)
}

fn missing(store: &Store, name: &Name, pull: Pull) -> Result<ImageConfiguration> {
    let recipe = recipe::find(name.as_str());
    let may_be_pulled = pull == Pull::Missing && recipe.is_none_or(|recipe| recipe.is_elsewhere);
    let why_not = match recipe {
        Some(recipe) if recipe.quick => match recipe::make(store, recipe) {
            Err(error) if may_be_pulled => {
                // Where the store is to blame, there is no room for what is pulled either.
                drop(store.lock()?);
                format!("{error:#}")
            }
            done => return done,
        },
        Some(_) if may_be_pulled => {
            format!("no image \"{name}\" yet (rubber import --recipe {name} would make one here, in minutes)")
        }
        Some(_) => bail!(
            "no image \"{name}\" yet: it takes minutes and the network, so make it with: \
             rubber import --recipe {name}"
        ),
        None => format!("no image \"{name}\"{} yet", hint(store, name)?),
    };
    if !may_be_pulled {
        bail!(
            "no image \"{name}\"{}: this machine cannot make it; get one with: rubber pull {name}, or \
             docker save {name} | rubber import -",
            hint(store, name)?
        );
    }
    narrate::warn(format_args!("{why_not}: pulling it from {}", name.host()));
    pulled(store, name)
}

fn pulled(store: &Store, name: &Name) -> Result<ImageConfiguration> {
    in_another_process(store, name)?;
    store.image(name)?.with_context(|| format!("image {name} was pulled, and is gone again"))
}

/// Has another process pull it: one may have threads that is no container afterwards, and its memory comes back.
fn in_another_process(store: &Store, name: &Name) -> Result<()> {
    let mut rubber = Command::new("/proc/self/exe");
    rubber.arg("--root").arg(store.root()).args(["pull", "--", name.as_str()]);
    rubber.stdin(Stdio::null()).stdout(Stdio::null());
    // SAFETY: one prctl(2) is all that happens between fork and exec.
    unsafe { rubber.pre_exec(|| Ok(set_pdeathsig(Signal::SIGTERM)?)) };
    // Ctrl-C is for both of us: it clears up first. (std unblocks all signals in what it starts.)
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&Signal::SIGINT.into()), Some(&mut before))?;
    let ended = rubber.status();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    match sys::started(ended).context("cannot start rubber pull: execve(\"/proc/self/exe\")")?.success() {
        true => Ok(()),
        // It has said why.
        false => bail!(Exit(125, String::new())),
    }
}

fn hint(store: &Store, name: &Name) -> Result<String> {
    let known = known(store)?;
    let near = name::near(name.as_str(), known.iter().map(String::as_str));
    Ok(match near.is_empty() {
        true => String::new(),
        false => format!(" (did you mean {}?)", near.join(" or ")),
    })
}

/// Every name that something can be made of without a network.
fn known(store: &Store) -> Result<Vec<String>> {
    let mut known: Vec<String> = store.names()?.iter().map(Name::to_string).collect();
    known.extend(recipe::RECIPES.iter().map(|recipe| recipe.name.to_owned()));
    known.push(builtin::NAME.to_owned());
    known.sort();
    known.dedup();
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_the_command_to_get_it() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(Some(place.path().join("store"))).unwrap();
        let error = |name| format!("{:#}", resolve(&store, name, Pull::Never).err().unwrap());
        assert_eq!(
            error("docker.io/library/ubuntu"),
            "no image \"ubuntu\": this machine cannot make it; get one with: rubber pull ubuntu, or \
             docker save ubuntu | rubber import -"
        );
        assert!(error("busibox").contains("(did you mean busybox?)"));
        assert!(error("debian").ends_with("rubber import --recipe debian"));
        assert!(error("../x").starts_with("bad image name"));
    }
}

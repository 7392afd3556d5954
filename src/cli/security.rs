//! `--security-opt` as people type it.

use crate::{
    filter::{Filter, profile},
    layers::{Layer, Layers, confinement},
    narrate,
};
use anyhow::{Result, bail};
use std::path::Path;

#[derive(Default)]
pub struct Options {
    pub seccomp: Option<Filter>,
    pub no_new_privileges: bool,
    /// Nothing in /proc and /sys is masked, nor read-only in /proc.
    pub open_paths: bool,
    pub apparmor: Option<String>,
    pub selinux: Option<String>,
}

pub fn parse(words: &[String], layers: Layers) -> Result<Options> {
    let mut options = Options::default();
    let mut label = confinement::Label::default();
    for word in words {
        // As docker has it, with a colon in commands of old.
        let (name, value) = word.split_once(['=', ':']).unwrap_or((word, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => options.no_new_privileges = true,
            ("no-new-privileges", "false") => options.no_new_privileges = false,
            ("seccomp", "unconfined") => options.seccomp = Some(Filter::Unconfined),
            ("seccomp", "builtin") => options.seccomp = Some(Filter::Default),
            ("seccomp", file) if !file.is_empty() => {
                options.seccomp = Some(profile::read(Path::new(file))?);
            }
            ("systempaths", "unconfined") => options.open_paths = true,
            ("apparmor", "unconfined") => options.apparmor = None,
            ("apparmor", profile) if !profile.is_empty() => {
                options.apparmor = Some(confinement::known_profile(profile)?);
            }
            ("label", part) if !part.is_empty() => label.set(part)?,
            _ => bail!(
                "--security-opt {word:?} is none: there are no-new-privileges, seccomp=FILE, seccomp=unconfined, \
                 systempaths=unconfined, apparmor=PROFILE and label=PART:VALUE"
            ),
        }
    }
    options.selinux = label.whole()?;
    let asks = options.no_new_privileges || options.seccomp.is_some();
    if asks && !layers.contains(Layer::Seccomp) {
        narrate::warn(format_args!("the seccomp layer is off, so its --security-opt does nothing here"));
    }
    Ok(options)
}

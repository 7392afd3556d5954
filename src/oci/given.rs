//! config.json as it was given: it is what the specification calls one, and no string in it ends early.

use super::hooks::Hook;
use anyhow::{Context, Result, bail, ensure};
use oci_spec::runtime::Spec;
use serde::Deserialize;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A config.json, and as it was written: what is in it and not known to us is the user's.
pub struct Given {
    pub bundle: PathBuf,
    pub spec: Spec,
    pub raw: Value,
}

impl Given {
    pub fn has_terminal(&self) -> bool {
        self.spec.process().as_ref().and_then(|process| process.terminal()).unwrap_or(false)
    }
}

/// What is in the bundle's directory.
pub fn read(bundle: &Path) -> Result<Given> {
    let bundle = bundle.canonicalize().with_context(|| format!("--bundle {bundle:?}"))?;
    let file = bundle.join("config.json");
    let text = fs::read_to_string(&file)
        .with_context(|| format!("cannot read {file:?} (--bundle is the directory it is in)"))?;
    let raw: Value = serde_json::from_str(&text).with_context(|| format!("{file:?} is not JSON"))?;
    Ok(Given { spec: parse(&raw).with_context(|| format!("{file:?}"))?, raw, bundle })
}

pub fn parse(raw: &Value) -> Result<Spec> {
    if let Some((path, text)) = nul(raw) {
        bail!("{}: {text:?} has a NUL in it", path.trim_start_matches('.'));
    }
    // All of them: a hook that nobody understands at the end would be in the way of every delete.
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        hooks(raw, kind)?;
    }
    // Where it is wrong is looked for when it is: to keep that in mind takes longer than all the rest.
    let spec = Spec::deserialize(raw)
        .or_else(|_| serde_path_to_error::deserialize(raw))
        .context("it is no config.json of the OCI runtime specification")?;
    let major = spec.version().split('.').next().unwrap_or_default();
    ensure!(major == "1", "ociVersion {:?}: versions 1.x are understood", spec.version());
    Ok(spec)
}

/// Where a NUL is: the kernel ends every string at one, and what is behind it would be seen by us alone.
fn nul(value: &Value) -> Option<(String, &str)> {
    match value {
        Value::String(text) => text.contains('\0').then_some((String::new(), text)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(at, item)| nul(item).map(|(below, text)| (format!("[{at}]{below}"), text))),
        Value::Object(fields) => fields
            .iter()
            .find_map(|(name, field)| nul(field).map(|(below, text)| (format!(".{name}{below}"), text))),
        _ => None,
    }
}

/// The hooks of one kind.
pub fn hooks(raw: &Value, kind: &str) -> Result<Vec<Hook>> {
    let hooks = &raw["hooks"][kind];
    if hooks.is_null() {
        return Ok(vec![]);
    }
    let hooks: Vec<Hook> = serde_json::from_value(hooks.clone()).with_context(|| format!("hooks.{kind}"))?;
    for hook in &hooks {
        ensure!(hook.path.is_absolute(), "hooks.{kind}: {:?} must start with a slash", hook.path);
        ensure!(hook.timeout.is_none_or(|seconds| seconds > 0), "hooks.{kind}: a timeout is more than 0 s");
    }
    Ok(hooks)
}

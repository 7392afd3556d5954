//! Kernel parameters as people type them: only those that each container has for itself.

use crate::layers::{Layer, Layers};
use anyhow::{Result, bail};

/// Of the IPC namespace, beside fs.mqueue.
const IPC: &[&str] = &["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];

pub fn parse(words: &[String], layers: Layers) -> Result<Vec<(String, String)>> {
    words.iter().map(|word| one(word, layers)).collect()
}

fn one(word: &str, layers: Layers) -> Result<(String, String)> {
    let Some((name, value)) = word.split_once('=') else {
        bail!("--sysctl {word:?} is not NAME=VALUE, as in net.ipv4.ip_forward=1");
    };
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    if !name.split('.').all(plain) {
        bail!("--sysctl {word:?}: {name:?} is no name such as net.ipv4.ip_forward");
    }
    let Some(layer) = owner(name) else {
        bail!(
            "--sysctl {word:?}: {name} is one for the whole machine (net.*, fs.mqueue.*, kernel.domainname and \
             those of System V IPC are the container's own)"
        );
    };
    // Written to in the host's namespace, it would be the host's.
    if let Some(off) = [layer, Layer::Ipc].into_iter().find(|layer| !layers.contains(*layer)) {
        bail!("--sysctl {word:?}: the {} layer is off, so {name} would be the host's", off.name());
    }
    Ok((name.into(), value.into()))
}

/// The layer whose namespace has it.
fn owner(name: &str) -> Option<Layer> {
    match name.split_once('.')? {
        ("net", _) => Some(Layer::Net),
        ("fs", rest) if rest.starts_with("mqueue.") => Some(Layer::Ipc),
        ("kernel", "domainname") => Some(Layer::Uts),
        ("kernel", rest) if IPC.contains(&rest) => Some(Layer::Ipc),
        _ => None,
    }
}

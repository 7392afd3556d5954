//! Kernel parameters as people type them: only those that each container has for itself.

use crate::layers::namespaces::{Namespace, Namespaces, Whose};
use anyhow::{Result, bail};

/// Of the IPC namespace, beside fs.mqueue.
const IPC: &[&str] = &["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];

pub fn parse(words: &[String], namespaces: &Namespaces) -> Result<Vec<(String, String)>> {
    words.iter().map(|word| one(word, namespaces)).collect()
}

fn one(word: &str, namespaces: &Namespaces) -> Result<(String, String)> {
    let Some((name, value)) = word.split_once('=') else {
        bail!("--sysctl {word:?} is not NAME=VALUE, as in net.ipv4.ip_forward=1");
    };
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    if !name.split('.').all(plain) {
        bail!("--sysctl {word:?}: {name:?} is no name such as net.ipv4.ip_forward");
    }
    let Some(kind) = owner(name) else {
        bail!(
            "--sysctl {word:?}: {name} is one for the whole machine (net.*, fs.mqueue.*, kernel.domainname and \
             those of System V IPC are the container's own)"
        );
    };
    // Written to in another's namespace, it would be the other's.
    match namespaces.of(kind) {
        Whose::Own => Ok((name.into(), value.into())),
        Whose::Host => bail!(
            "--sysctl {word:?}: its {} namespace is the host's, so {name} would be the host's",
            kind.name()
        ),
        Whose::Container(id) => {
            bail!(
                "--sysctl {word:?}: its {} namespace is that of container {id}, which has its own --sysctl",
                kind.name()
            )
        }
    }
}

/// The namespace that has it.
fn owner(name: &str) -> Option<Namespace> {
    match name.split_once('.')? {
        ("net", _) => Some(Namespace::Net),
        ("fs", rest) if rest.starts_with("mqueue.") => Some(Namespace::Ipc),
        ("kernel", "domainname") => Some(Namespace::Uts),
        ("kernel", rest) if IPC.contains(&rest) => Some(Namespace::Ipc),
        _ => None,
    }
}

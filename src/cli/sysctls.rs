//! Kernel parameters as people type them: only those that each container has for itself.

use crate::layers::namespaces::{Namespace, Namespaces, Whose, is_parameter};
use anyhow::{Result, bail};

pub fn parse(words: &[String], namespaces: &Namespaces) -> Result<Vec<(String, String)>> {
    words.iter().map(|word| one(word, namespaces)).collect()
}

fn one(word: &str, namespaces: &Namespaces) -> Result<(String, String)> {
    let Some((name, value)) = word.split_once('=') else {
        bail!("--sysctl {word:?} is not NAME=VALUE, as in net.ipv4.ip_forward=1");
    };
    if !is_parameter(name) {
        bail!("--sysctl {word:?}: {name:?} is no name such as net.ipv4.ip_forward");
    }
    // A container that maps no ids has the host's user namespace, and no flag changes what is counted there.
    let Some(kind) = Namespace::of_parameter(name).filter(|kind| *kind != Namespace::User) else {
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

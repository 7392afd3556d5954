//! Mounts with ids of their own (uidMappings, gidMappings, idmap, ridmap): the kernel lets only those change owners
//! who are privileged where the filesystem was mounted. So it is done outside, before any process is forked.

use super::mounts::{How, What};
use crate::{
    config::Config,
    layers::idmap::sample,
    sys::mounts::{mount_idmap, mount_idmap_alone, open_tree, open_tree_alone},
};
use anyhow::{Context, Result, bail, ensure};
use nix::{fcntl::OFlag, sys::stat::Mode};
use oci_spec::runtime::LinuxIdMapping;
use std::os::fd::{AsFd, OwnedFd};

/// As proc(5) wants them written. Empty: those of the container's own user namespace.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    pub uids: String,
    pub gids: String,
    pub below: bool,
}

pub fn lines(maps: &Option<Vec<LinuxIdMapping>>) -> String {
    let line = |map: &LinuxIdMapping| format!("{} {} {}\n", map.container_id(), map.host_id(), map.size());
    maps.iter().flatten().map(line).collect()
}

/// Takes hold of them, in the order of the mounts.
pub fn hold(config: &Config) -> Result<()> {
    let mut trees = vec![];
    for mount in &config.bundle.mounts {
        if let How { shown: Some(shown), .. } = &mount.how {
            let tree = show(config, &mount.what, shown);
            trees.push(tree.with_context(|| format!("mounts, {:?}: its own ids", mount.target))?);
        }
    }
    config.bundle.held.borrow_mut().shown = trees.into();
    Ok(())
}

fn show(config: &Config, what: &What, shown: &Shown) -> Result<OwnedFd> {
    let (What::Tree(source) | What::Bind(source)) = what else {
        bail!("only a bind mount can have them");
    };
    let source = nix::fcntl::open(source, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .with_context(|| format!("open({source:?})"))?;
    let tree = match what {
        What::Tree(_) => open_tree(source.as_fd(), "")?,
        _ => open_tree_alone(source.as_fd())?,
    };
    let ids = &config.bundle.ids;
    let (uids, gids) = match (shown.uids.as_str(), shown.gids.as_str()) {
        ("", "") => (ids.uids.as_str(), ids.gids.as_str()),
        given => given,
    };
    ensure!(
        !uids.is_empty() && !gids.is_empty(),
        "it needs uidMappings and gidMappings, or a user namespace that has them"
    );
    let user = sample(uids, gids)?;
    if shown.below {
        mount_idmap(&tree, &user)?
    } else {
        mount_idmap_alone(&tree, &user)?
    }
    Ok(tree)
}

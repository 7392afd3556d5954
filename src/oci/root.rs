//! The bundle's root directory as the container's root mount.

use crate::{config::Config, sys};
use anyhow::Result;
use nix::mount::{MntFlags, MsFlags};
use std::path::Path;

/// Nothing that is mounted here shall be seen on the host, unless the config.json wants it. What the host mounts
/// later may be seen here, where a volume asks for it: a slave, by default.
pub fn cut_loose(config: &Config) -> Result<()> {
    let spread = match config.bundle.propagation {
        None => MsFlags::MS_SLAVE,
        // Of what is unbindable no volume could be taken; in the end the root is.
        Some(spread) if spread.contains(MsFlags::MS_UNBINDABLE) => MsFlags::MS_PRIVATE,
        Some(spread) => spread,
    };
    sys::mount(None, Path::new("/"), None, MsFlags::MS_REC | spread, None)
}

/// pivot_root(2) takes a mount point that tells nobody of its mounts, in one that does not either. What is mounted
/// below comes along.
pub fn bind(config: &Config) -> Result<()> {
    let root = &config.dir;
    sys::mount(Some(Path::new("/")), Path::new("/"), None, MsFlags::MS_PRIVATE, None)?;
    make_parent_private(root)?;
    sys::mount(Some(root), root, None, MsFlags::MS_BIND | MsFlags::MS_REC, None)?;
    sys::mount(None, root, None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)
}

/// The mount that the root is in: only a mount point can be told so, and it is one of the names above.
fn make_parent_private(root: &Path) -> Result<()> {
    for above in root.ancestors() {
        match sys::mount(None, above, None, MsFlags::MS_PRIVATE, None) {
            // Not a mount point.
            Err(error) if error.downcast_ref() == Some(&nix::errno::Errno::EINVAL) => {}
            done => return done,
        }
    }
    Ok(())
}

/// As a slave first: what is taken away here must not be taken away on the host.
pub fn let_go(_: &Config) -> Result<()> {
    sys::mount(None, Path::new("."), None, MsFlags::MS_REC | MsFlags::MS_SLAVE, None)?;
    sys::umount2(".", MntFlags::MNT_DETACH)?;
    sys::chdir(Path::new("/"))
}

pub fn propagate(config: &Config) -> Result<()> {
    match config.bundle.propagation {
        Some(spread) => sys::mount(None, Path::new("/"), None, spread, None),
        None => Ok(()),
    }
}

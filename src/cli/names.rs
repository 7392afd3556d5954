//! What a container reads about names: of itself, of others, and of whom to ask.

use crate::{
    config::Names,
    layers::{Layer, Layers},
};
use anyhow::{Context, Result};
use std::{ffi::OsStr, fs, io::ErrorKind, os::unix::ffi::OsStrExt};

const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
                     ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// As docker's: the host's own servers are asked, and without a network of its own it knows all the host knows.
pub fn of(hostname: &OsStr, layers: Layers) -> Result<Names> {
    if !layers.contains(Layer::Volumes) {
        return Ok(Names::default());
    }
    let own = match layers.contains(Layer::Uts) {
        true => hostname.to_owned(),
        false => nix::unistd::gethostname().context("gethostname()")?,
    };
    let hosts = match layers.contains(Layer::Net) {
        // As long as it has no address but the loopback's, no address is its own.
        true => HOSTS.as_bytes().to_owned(),
        false => hosts_own("/etc/hosts")?,
    };
    let resolv_conf = hosts_own("/etc/resolv.conf")?;
    Ok(Names { hosts, hostname: [own.as_bytes(), b"\n"].concat(), resolv_conf })
}

/// A file that the host need not have, or may keep to itself.
fn hosts_own(file: &str) -> Result<Vec<u8>> {
    match fs::read(file) {
        Err(error) if [ErrorKind::NotFound, ErrorKind::PermissionDenied].contains(&error.kind()) => {
            Ok(vec![])
        }
        read => read.with_context(|| format!("cannot read the host's {file}")),
    }
}

//! Images out of registries: a real one, with TLS and logins, and one that does what no honest one would.

mod access;
#[path = "../lab/crowd.rs"]
mod crowd;
mod ends;
mod honest;
mod hostile;
#[path = "../lab/mod.rs"]
mod lab;
#[path = "../image/place.rs"]
mod place;
#[path = "../lab/pty.rs"]
mod pty;
mod real;
mod redirects;
mod site;
#[path = "../image/tars.rs"]
mod tars;

use place::{Ended, Place};
use std::process::{Command, Stdio};

/// `rubber pull`, as somebody with no logins, no proxy and no other certificates than these.
pub fn command(place: &Place, words: &[&str]) -> Command {
    let mut command = place.command(words);
    for variable in
        ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR"]
    {
        command.env_remove(variable);
    }
    let home = place.directory.path();
    command.env("HOME", home).env("XDG_RUNTIME_DIR", home.join("run")).stdin(Stdio::null());
    command
}

pub fn rubber(place: &Place, words: &[&str]) -> Ended {
    Ended::of(command(place, words).output().unwrap())
}

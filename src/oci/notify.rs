//! A filter that asks another process about calls (seccomp_unotify(2)), or that is loaded with flags: the listener
//! goes to the socket that the config.json names, with who is filtered (config-linux.md, "The Container Process
//! State").

use crate::{
    config::Config,
    filter::{Filter, bpf},
    layers::seccomp,
    sys,
};
use anyhow::{Context, Result, ensure};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::{Value, json};
use std::{
    io::IoSlice,
    os::{
        fd::{AsRawFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

/// Connected by who is outside, before anything is there.
#[derive(Debug)]
pub struct Listener {
    socket: UnixStream,
    metadata: String,
}

impl Listener {
    pub fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

pub fn connect(config: &Config) -> Result<Option<Listener>> {
    let Filter::Profile(profile) = &config.seccomp else { return Ok(None) };
    let Some((path, metadata)) = profile.listener() else { return Ok(None) };
    let socket = UnixStream::connect(path)
        .with_context(|| format!("linux.seccomp.listenerPath: nobody listens at {path:?}"))?;
    Ok(Some(Listener { socket, metadata }))
}

/// In the layer's place where the config.json asks for more than a filter.
pub fn load(config: &Config) -> Result<()> {
    let Filter::Profile(profile) = &config.seccomp else { return seccomp::load(config) };
    let flags = profile.flags()?;
    if flags == 0 && config.bundle.listener.is_none() {
        return seccomp::load(config);
    }
    let program = bpf::whole(&profile.policies(&config.capabilities)?);
    match &config.bundle.listener {
        None => sys::seccomp_filter_with(&program, flags),
        Some(listener) => tell(config, listener, &sys::seccomp_listener(&program, flags)?),
    }
}

/// What is said has to pass the filter already: so a profile that asks about sendmsg(2) is refused, see `check`.
fn tell(config: &Config, listener: &Listener, fd: &OwnedFd) -> Result<()> {
    let state: Value = serde_json::from_str(&config.bundle.hooks.told()).context("the container's state")?;
    let pid = config.bundle.pid_outside.get().map_or_else(|| state["pid"].clone(), |pid| json!(pid));
    let about = json!({
        "ociVersion": state["ociVersion"],
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": listener.metadata,
        "state": state,
    });
    let (text, fds) = (about.to_string(), [fd.as_raw_fd()]);
    let message = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(
        listener.socket.as_raw_fd(),
        &[IoSlice::new(text.as_bytes())],
        &message,
        MsgFlags::empty(),
        None,
    )
    .context("linux.seccomp.listenerPath: sendmsg()")?;
    Ok(())
}

/// As runc: whoever answers is told by calls that must not wait for its answer.
pub fn check(filter: &Filter) -> Result<()> {
    let Filter::Profile(profile) = filter else { return Ok(()) };
    if !profile.notifies() {
        return Ok(());
    }
    ensure!(profile.listener().is_some(), "SCMP_ACT_NOTIFY needs a listenerPath");
    ensure!(!profile.notifies_by_default(), "SCMP_ACT_NOTIFY cannot be the defaultAction");
    let policies = profile.policies(&[])?;
    for name in ["write", "sendmsg", "read", "close", "accept4"] {
        ensure!(
            !policies[0].asks_about(name),
            "SCMP_ACT_NOTIFY cannot be for {name}: the runtime calls it itself"
        );
    }
    Ok(())
}

//! A registry, as the one who pulls sees it: the OCI distribution specification over HTTP/1.1, nothing of it believed.
//!
//! Reading order: `client` (a question, its redirects, its refusals), `retry` (which refusals pass), `auth` and
//! `credentials` (who asks), `transfer` (a blob, from where it broke off), `agent`, `proxy` and `resolve` (the wire).
//! It may use threads, so it must never run in a process that will be a container: see `pull`.

mod agent;
mod auth;
mod client;
mod credentials;
mod proxy;
mod resolve;
mod retry;
mod transfer;
mod wire;

pub use client::Client;
pub use transfer::download;

use anyhow::{Result, bail};
use std::{
    net::IpAddr,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

pub struct Options {
    pub tls: Tls,
    /// Where to look for logins before anywhere else.
    pub authfile: Option<PathBuf>,
    /// How long a server may say nothing.
    pub timeout: Duration,
    /// How often what may pass is tried again.
    pub retry: u32,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Tls {
    Verified,
    /// Any certificate will do, or none at all.
    Unverified,
}

/// Somebody wants us to end: all threads look here between two reads.
static ENDING: AtomicBool = AtomicBool::new(false);

pub fn end_soon() {
    ENDING.store(true, Ordering::Relaxed);
}

pub fn is_ending() -> bool {
    ENDING.load(Ordering::Relaxed)
}

fn go_on() -> Result<()> {
    if is_ending() {
        bail!("interrupted");
    }
    Ok(())
}

/// Whether it is this machine: RFC 6761 and RFC 5735, no name that a server of names could answer.
fn is_loopback(host: &str) -> bool {
    resolve::is_localhost(host) || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Text of a server's, made fit for one line of a message.
fn quoted(text: &str) -> String {
    crate::show::columns::fit(text.trim(), 200)
}

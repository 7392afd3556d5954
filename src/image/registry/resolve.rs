//! A server's addresses, by the host's own `getent`.
//!
//! Static glibc's getaddrinfo(3) loads the modules that nsswitch.conf names out of the host's glibc, which may be
//! another version and crash us. getent(1) is linked with that very glibc, and knows all that the host knows.

use std::{
    io::{ErrorKind, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use ureq::{
    Error, Timeout,
    config::Config,
    http::Uri,
    unversioned::{
        resolver::{ResolvedSocketAddrs, Resolver},
        transport::NextTimeout,
    },
};

/// As long as a person waits before looking at the cable.
const PATIENCE: Duration = Duration::from_secs(6);

#[derive(Debug)]
pub struct Getent;

impl Resolver for Getent {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        let mut addresses = self.empty();
        for address in addresses_of(host)?.into_iter().take(16) {
            addresses.push(SocketAddr::new(address, port));
        }
        if addresses.is_empty() { Err(Error::HostNotFound) } else { Ok(addresses) }
    }
}

fn addresses_of(host: &str) -> Result<Vec<IpAddr>, Error> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    // RFC 6761, 6.3: it never means another machine.
    if is_localhost(host) {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let mut getent = Command::new("getent");
    // Of resolv.conf(5): a server that is not there is asked twice, not for half a minute.
    getent.args(["ahosts", "--", host]).env("RES_OPTIONS", "timeout:2 attempts:2");
    match getent.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
        Ok(child) => told_by(child),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            Ok((host, 0)
                .to_socket_addrs()
                .map_err(|_| Error::HostNotFound)?
                .map(|found| found.ip())
                .collect())
        }
        Err(error) => Err(error.into()),
    }
}

pub fn is_localhost(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

fn told_by(mut getent: Child) -> Result<Vec<IpAddr>, Error> {
    let began = Instant::now();
    while getent.try_wait()?.is_none() {
        if began.elapsed() > PATIENCE {
            getent.kill()?;
            getent.wait()?;
            return Err(Error::Timeout(Timeout::Resolve));
        }
        sleep(Duration::from_millis(2));
    }
    // A few lines: less than a pipe holds, or they would have kept it waiting.
    let output = getent.stdout.take().ok_or(Error::HostNotFound)?;
    let mut text = String::new();
    output.take(1 << 16).read_to_string(&mut text)?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

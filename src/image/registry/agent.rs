//! One HTTP agent for each server: whom it believes, what is between us and it, how long it may be silent.

use super::{Options, Tls, proxy, resolve::Getent};
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use ureq::{
    Agent,
    http::Uri,
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
    unversioned::transport::DefaultConnector,
};

/// To reach a server and agree on TLS. Who has no network hears so within this.
const CONNECT: Duration = Duration::from_secs(6);
const MOST_HEADERS: usize = 64 << 10;
const MOST_CERTIFICATES: u64 = 16 << 20;
/// Where docker and podman look for a registry's own certificates.
const OF_REGISTRIES: &[&str] = &["/etc/docker/certs.d", "/etc/containers/certs.d"];

pub struct Agents {
    tls: Tls,
    silence: Duration,
    /// By what comes before the path of a URL: they keep connections open.
    made: Mutex<BTreeMap<String, Agent>>,
}

impl Agents {
    pub fn new(options: &Options) -> Agents {
        Agents { tls: options.tls, silence: options.timeout, made: Mutex::default() }
    }

    pub fn of(&self, url: &Uri) -> Result<Agent> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{}://{}", url.scheme_str().unwrap_or_default(), authority(url));
        if let Some(agent) = made.get(&key) {
            return Ok(agent.clone());
        }
        let agent = self.make(url)?;
        made.insert(key, agent.clone());
        Ok(agent)
    }

    fn make(&self, url: &Uri) -> Result<Agent> {
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let tls = match self.tls {
            Tls::Verified if url.scheme_str() == Some("https") => {
                tls.root_certs(RootCerts::from(trusted(authority(url))?.into_iter()))
            }
            Tls::Verified => tls,
            Tls::Unverified => tls.disable_verification(true),
        };
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .proxy(proxy::of(url)?)
            // We look at each redirect ourselves: the token must not go along.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("rubber/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(MOST_HEADERS)
            .timeout_connect(Some(CONNECT))
            .timeout_send_request(Some(self.silence))
            .timeout_recv_response(Some(self.silence))
            .timeout_per_read(Some(self.silence))
            .timeout_per_write(Some(self.silence));
        Ok(Agent::with_parts(config.build(), DefaultConnector::default(), Getent))
    }
}

/// `HOST[:PORT]`, without a user, which is nobody's business here.
pub fn authority(url: &Uri) -> &str {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    authority.rsplit('@').next().unwrap_or_default()
}

/// Those who may vouch for a server: the system's (or SSL_CERT_FILE's, SSL_CERT_DIR's), and its own.
fn trusted(authority: &str) -> Result<Vec<Certificate<'static>>> {
    let found = openssl_probe::probe();
    let mut certificates = Vec::new();
    for file in found.cert_file.iter().chain(own(authority).iter()) {
        certificates.extend(read(file)?);
    }
    // A directory of links to the same certificates, one file each: only where there is no such file.
    if found.cert_file.is_none() {
        for file in found.cert_dir.iter().flat_map(|dir| files(dir)) {
            certificates.extend(read(&file).unwrap_or_default());
        }
    }
    if certificates.is_empty() {
        bail!(
            "no certificates of CAs on this machine, so no server can be believed: install ca-certificates, \
             or name a file of them with SSL_CERT_FILE"
        );
    }
    Ok(certificates)
}

fn own(authority: &str) -> Vec<PathBuf> {
    let of_it = OF_REGISTRIES.iter().flat_map(|dir| files(&Path::new(dir).join(authority)));
    of_it.filter(|file| file.extension().is_some_and(|extension| extension == "crt")).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).map(|dir| dir.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn read(file: &Path) -> Result<Vec<Certificate<'static>>> {
    let named = || format!("cannot read the certificates in {file:?}");
    let size = fs::metadata(file).with_context(named)?.len();
    if size > MOST_CERTIFICATES {
        bail!("{} ({size} bytes are too many)", named());
    }
    let pem = fs::read(file).with_context(named)?;
    let items = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    items.collect::<Result<_, _>>().with_context(named)
}

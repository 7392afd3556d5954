//! What goes wrong between us and a server, in words; and a reader that does not wait for ever.

use super::{agent::authority, go_on, quoted};
use nix::errno::Errno;
use rustls::CertificateError;
use std::{
    io::{self, ErrorKind, Read},
    time::{Duration, Instant},
};
use ureq::{Error, Timeout, http::Uri};

pub struct Told {
    pub words: String,
    /// It may be well the next time.
    pub passes: bool,
    /// There is nobody: who has been there before may come back.
    pub is_away: bool,
    /// It answers, but not in TLS.
    pub is_no_tls: bool,
}

const WITHOUT: &str = "Without a network: rubber import takes an archive, or a directory";

pub fn told_by(url: &Uri, error: &Error, silence: Duration) -> Told {
    let server = authority(url);
    let mut told = Told { words: String::new(), passes: false, is_away: false, is_no_tls: false };
    if let Some(error) = tls(error) {
        told.is_no_tls = matches!(error, rustls::Error::InvalidMessage(_));
        told.words = format!("{server}: {}", of_tls(error));
        return told;
    }
    told.words = match error {
        Error::HostNotFound => {
            told.is_away = true;
            format!("no address for {server}: is there a network? {WITHOUT}")
        }
        Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            told.is_away = true;
            format!("{server} does not answer: is there a network? {WITHOUT}")
        }
        Error::Timeout(_) => {
            told.passes = true;
            format!("{server} is silent for {} s", silence.as_secs())
        }
        Error::Io(error) if is_end(error.kind()) => {
            (told.passes, told.is_no_tls) = (true, true);
            format!("{server} ends the connection")
        }
        Error::Io(error) => {
            told.is_away = true;
            let errno = error.raw_os_error().map(|raw| Errno::from_raw(raw).desc().to_owned());
            let why = errno.unwrap_or_else(|| quoted(&error.to_string()));
            format!("{server} cannot be reached: {why}. {WITHOUT}")
        }
        Error::ConnectProxyFailed(said) => format!("the proxy does not lead to {server}: {}", quoted(said)),
        Error::LargeResponseHeader(size, most) => {
            format!("{server} answers with {size} bytes of headers: more than {most} are not read")
        }
        other => format!("{server} does not answer as a registry does: {}", quoted(&other.to_string())),
    };
    told
}

fn is_end(kind: ErrorKind) -> bool {
    use ErrorKind::*;
    matches!(kind, UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
}

fn tls(error: &Error) -> Option<&rustls::Error> {
    match error {
        Error::Rustls(error) => Some(error),
        Error::Io(error) => error.get_ref().and_then(|inner| match inner.downcast_ref::<Error>() {
            Some(error) => tls(error),
            None => inner.downcast_ref().or_else(|| std::error::Error::source(inner)?.downcast_ref()),
        }),
        _ => None,
    }
}

fn of_tls(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(wrong) = error else {
        return format!("no TLS with it: {}", quoted(&error.to_string()));
    };
    let anyway = "or do without with --tls-verify=false";
    match wrong {
        CertificateError::UnknownIssuer => format!(
            "its certificate is signed by nobody this machine believes: add its CA's to the system's, name that \
             file with SSL_CERT_FILE, {anyway}"
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is for another name: ask for the one it has, {anyway}")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!(
                "its certificate has expired: it needs a new one, unless this machine's clock is wrong, {anyway}"
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet: is this machine's clock right? {anyway}")
        }
        other => {
            format!("its certificate is bad ({}): it needs a new one, {anyway}", quoted(&other.to_string()))
        }
    }
}

/// In how long a time a server has to send this much, silent or not: a byte now and then is no answer.
const WINDOW: Duration = Duration::from_secs(30);
const IN_WINDOW: u64 = 30 << 10;

/// Reads on as long as it is worth it.
pub struct Steady<R> {
    source: R,
    since: Instant,
    got: u64,
}

impl<R> Steady<R> {
    pub fn new(source: R) -> Steady<R> {
        Steady { source, since: Instant::now(), got: 0 }
    }
}

impl<R: Read> Read for Steady<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        go_on().map_err(io::Error::other)?;
        let count = self.source.read(into)?;
        self.got += count as u64;
        if self.since.elapsed() > WINDOW {
            if self.got < IN_WINDOW && count > 0 {
                let words = format!("{} bytes in {} s are too few", self.got, WINDOW.as_secs());
                return Err(io::Error::new(ErrorKind::TimedOut, words));
            }
            (self.since, self.got) = (Instant::now(), 0);
        }
        Ok(count)
    }
}

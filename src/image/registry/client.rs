//! A question to a registry: where it is sent on to, who asks, and in which words it is refused.

use super::{
    Options, Tls,
    agent::{Agents, authority},
    auth::{self, Challenge},
    credentials::{self, Found, Login},
    go_on, is_loopback, quoted,
    retry::{Passing, Tries},
    wire::{Steady, told_by},
};
use crate::image::name::Name;
use anyhow::{Context, Error, Result, anyhow, bail, ensure};
use std::{
    io::Read,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use ureq::{
    Body,
    http::{HeaderMap, Response, Uri},
};

const MOST_REDIRECTS: usize = 5;
/// Of an error's words.
const MOST_REFUSAL: u64 = 64 << 10;
/// Who sends less than this in a second, all in all, is given up.
const SLOWEST: u64 = 1 << 10;

pub struct Client<'a> {
    pub host: &'a str,
    pub options: &'a Options,
    /// Where it is said that something is tried again.
    pub tell: &'a (dyn Fn(&str) + Sync),
    repository: String,
    /// Scheme and server, what every path is put behind.
    origin: String,
    agents: Agents,
    authorization: Mutex<Authorization>,
    /// A server that has answered once is one that may be away for a moment; else there is no network, say.
    has_answered: AtomicBool,
}

/// What answers a challenge, once there was one.
#[derive(Clone, Default, PartialEq)]
struct Authorization {
    header: Option<String>,
    /// Where the login was found, if there was one.
    place: Option<String>,
}

/// What is asked, beside its address.
#[derive(Clone, Copy)]
struct Question<'a> {
    accept: &'a str,
    /// The first byte that is wanted.
    from: u64,
    /// How many bytes the answer may have, for how long it may take.
    most: u64,
}

impl<'a> Client<'a> {
    pub fn new(name: &'a Name, options: &'a Options, tell: &'a (dyn Fn(&str) + Sync)) -> Result<Client<'a>> {
        let mut client = Client {
            host: name.host(),
            options,
            tell,
            repository: name.repository(),
            origin: String::new(),
            agents: Agents::new(options),
            authorization: Mutex::default(),
            has_answered: AtomicBool::new(false),
        };
        client.origin = client.find_origin()?;
        Ok(client)
    }

    /// The manifest or index `reference` stands for, and its Content-Type.
    pub fn manifest(&self, reference: &str, accept: &str, most: u64) -> Result<(Vec<u8>, Option<String>)> {
        let path = format!("manifests/{reference}");
        self.patiently(|| {
            let answer = self.get(&path, Question { accept, from: 0, most })?;
            let kind = headers(answer.headers(), "content-type").next().map(str::to_owned);
            Ok((body_of(answer, most)?, kind))
        })
    }

    /// A blob that is read at once.
    pub fn small_blob(&self, digest: &str, size: u64) -> Result<Vec<u8>> {
        self.patiently(|| body_of(self.blob(digest, 0, size)?, size))
    }

    /// The bytes of a blob from `from` on; `size` is all of it.
    pub fn blob(&self, digest: &str, from: u64, size: u64) -> Result<Response<Body>> {
        self.get(&format!("blobs/{digest}"), Question { accept: "*/*", from, most: size })
    }

    fn patiently<T>(&self, once: impl Fn() -> Result<T>) -> Result<T> {
        let mut tries = Tries::new(self.options.retry);
        loop {
            match once() {
                Err(error) => tries.after(error, self.tell)?,
                done => return done,
            }
        }
    }

    /// The answer to a question below the repository: one that has what was asked for.
    fn get(&self, path: &str, question: Question) -> Result<Response<Body>> {
        let url = format!("{}/v2/{}/{path}", self.origin, self.repository);
        let url: Uri = url.parse().with_context(|| format!("bad URL {url:?}"))?;
        let mut was_challenged = false;
        loop {
            let authorization = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let (answer, from) = self.follow(&url, question, authorization.header.as_deref())?;
            let is_its_own = origin_of(&from) == self.origin;
            match answer.status().as_u16() {
                200..=299 => return Ok(answer),
                401 if is_its_own && !was_challenged => self.authorize(answer.headers(), authorization)?,
                _ => return Err(self.refusal(answer, &from, authorization.place.as_deref())),
            }
            was_challenged = true;
        }
    }

    /// Follows redirects, and tells who it was that answered. Only the registry itself sees who asks.
    fn follow(
        &self,
        url: &Uri,
        question: Question,
        authorization: Option<&str>,
    ) -> Result<(Response<Body>, Uri)> {
        let mut url = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let own = authorization.filter(|_| origin_of(&url) == self.origin);
            let answer = self.send(&url, question, own)?;
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok((answer, url));
            }
            let to = headers(answer.headers(), "location").next();
            let to = to.with_context(|| format!("{} redirects to nowhere", authority(&url)))?;
            url = self.redirected(&url, to)?;
        }
        bail!("{} redirects more than {MOST_REDIRECTS} times", authority(&url))
    }

    fn redirected(&self, from: &Uri, to: &str) -> Result<Uri> {
        let whole = match to {
            _ if to.contains("://") => to.to_owned(),
            _ if to.starts_with("//") => format!("{}:{to}", from.scheme_str().unwrap_or("https")),
            _ if to.starts_with('/') => origin_of(from) + to,
            _ => bail!("{} redirects to {:?}, which is no URL", authority(from), quoted(to)),
        };
        let url: Option<Uri> = whole.parse().ok().filter(|url: &Uri| url.host().is_some());
        let url = url
            .with_context(|| format!("{} redirects to {:?}, which is no URL", authority(from), quoted(to)))?;
        ensure!(
            self.is_private(&url),
            "{} redirects to {}, which is not https: nothing is sent there",
            authority(from),
            quoted(&whole)
        );
        Ok(url)
    }

    /// Nobody on the way may read or change what is said. Only a registry without TLS sends us to others without; and
    /// none that is elsewhere may have us ask what listens on this machine alone.
    fn is_private(&self, url: &Uri) -> bool {
        let is_plain = self.origin.starts_with("http://") || self.options.tls == Tls::Unverified;
        match url.scheme_str() {
            Some("https") => true,
            Some("http") => is_plain && self.may_be_plain(url),
            _ => false,
        }
    }

    /// Without TLS, unless it was waived, nothing leaves this machine.
    fn may_be_plain(&self, url: &Uri) -> bool {
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        self.options.tls == Tls::Unverified || is_loopback(host)
    }

    fn send(&self, url: &Uri, question: Question, authorization: Option<&str>) -> Result<Response<Body>> {
        go_on()?;
        let mut request = self.agents.of(url)?.get(url.clone()).header("Accept", question.accept);
        if question.from > 0 {
            request = request.header("Range", format!("bytes={}-", question.from));
        }
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        let longest = self.options.timeout * 3 + Duration::from_secs(question.most / SLOWEST);
        let request = request.config().timeout_recv_body(Some(longest)).build();
        self.heard(url, request.call())
    }

    /// What became of a question, with the words of a failure, and whether it may pass.
    fn heard(&self, url: &Uri, answer: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>> {
        match answer {
            Ok(answer) => {
                self.has_answered.store(true, Ordering::Relaxed);
                Ok(answer)
            }
            Err(error) => {
                let told = told_by(url, &error, self.options.timeout);
                let passes = told.passes || told.is_away && self.has_answered.load(Ordering::Relaxed);
                Err(if passes { Passing::error(told.words) } else { anyhow!(told.words) })
            }
        }
    }

    /// Gets what answers the challenge, unless another thread has done so while we asked with `used`.
    fn authorize(&self, answer: &HeaderMap, used: Authorization) -> Result<()> {
        let mut authorization = self.authorization.lock().unwrap_or_else(PoisonError::into_inner);
        if *authorization != used {
            return Ok(());
        }
        let found = credentials::find(self.host, &self.repository, self.options.authfile.as_deref())?;
        let header = match (auth::challenge(answer), &found) {
            (Some(Challenge::Bearer { realm, service }), found) => {
                self.token(&realm, service.as_deref(), found.as_ref())?
            }
            (Some(Challenge::Basic), Some(Found { login: Login::Password { user, password }, .. })) => {
                auth::basic(user, password)
            }
            (Some(Challenge::Basic), _) => bail!(self.wants_login()),
            (None, _) => {
                bail!("{} wants a login, and does not say which kind (401 without a challenge)", self.host)
            }
        };
        *authorization = Authorization { header: Some(header), place: found.map(|found| found.place) };
        Ok(())
    }

    fn token(&self, realm: &str, service: Option<&str>, found: Option<&Found>) -> Result<String> {
        let question = auth::question(realm, service, &self.repository, found)?;
        let server = authority(&question.url).to_owned();
        ensure!(
            self.is_private(&question.url),
            "its token server {} is not https: nothing is sent there",
            quoted(realm)
        );
        let agent = self.agents.of(&question.url)?;
        let asked = match (&question.form, &question.authorization) {
            (Some(form), _) => {
                let post = agent.post(question.url.clone());
                post.header("Content-Type", "application/x-www-form-urlencoded").send(form)
            }
            (None, Some(authorization)) => {
                agent.get(question.url.clone()).header("Authorization", authorization).call()
            }
            (None, None) => agent.get(question.url.clone()).call(),
        };
        let answer = self.heard(&question.url, asked)?;
        match (answer.status().as_u16(), found) {
            (200..=299, _) => auth::token(answer).with_context(|| format!("token server {server}")),
            (400 | 401 | 403, Some(found)) => bail!(self.refuses_login(&found.place)),
            (401 | 403, None) => bail!(self.wants_login()),
            _ => Err(self.refusal(answer, &question.url, None)),
        }
    }

    fn wants_login(&self) -> String {
        let host = self.host;
        format!(
            "{host} wants a login for {}, or has no such image: podman login {host} or docker login {host}, \
             rubber reads what they write",
            self.repository
        )
    }

    fn refuses_login(&self, place: &str) -> String {
        let host = self.host;
        format!(
            "{host} does not accept the login in {place}: podman login {host} or docker login {host} again"
        )
    }

    /// In words, what an answer without what was asked for means.
    fn refusal(&self, answer: Response<Body>, from: &Uri, login: Option<&str>) -> Error {
        let status = answer.status();
        let server = authority(from).to_owned();
        let after = headers(answer.headers(), "retry-after").next().and_then(|text| text.trim().parse().ok());
        let said = body_of(answer, MOST_REFUSAL).ok().and_then(|body| reason(&body));
        let said = said.map_or(String::new(), |said| format!(": {}", quoted(&said)));
        let words = format!("{server} answers {status}{said}");
        match status.as_u16() {
            401 => anyhow!(login.map_or_else(|| self.wants_login(), |place| self.refuses_login(place))),
            404 => anyhow!("{server} has none of that name (404{said})"),
            408 | 429 | 500 | 502..=504 => {
                Passing { why: words, after: after.map(Duration::from_secs) }.into()
            }
            _ => anyhow!(words),
        }
    }

    fn find_origin(&self) -> Result<String> {
        // As docker has it: the name is not the server's.
        let server = if self.host == "docker.io" { "registry-1.docker.io" } else { self.host };
        let (https, http) = (format!("https://{server}"), format!("http://{server}"));
        let plain: Uri = http.parse().with_context(|| format!("bad name of a registry: {server:?}"))?;
        if !self.may_be_plain(&plain) {
            return Ok(https);
        }
        // It may speak TLS all the same, and what does not is not believed to be silent: the next question tells.
        let url: Uri = format!("{https}/v2/").parse()?;
        match self.agents.of(&url)?.get(url.clone()).call() {
            Err(error) if told_by(&url, &error, self.options.timeout).is_no_tls => Ok(http),
            _ => Ok(https),
        }
    }
}

fn origin_of(url: &Uri) -> String {
    format!("{}://{}", url.scheme_str().unwrap_or_default(), authority(url))
}

/// The values of a header, of what is text.
pub fn headers<'a>(all: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    all.get_all(name).into_iter().filter_map(|value| value.to_str().ok())
}

/// All of a short answer.
pub fn body_of(answer: Response<Body>, most: u64) -> Result<Vec<u8>> {
    let body = answer.into_body();
    let too_long = |size: &str| anyhow!("the answer has {size} bytes: more than {most} are not read");
    if let Some(length) = body.content_length().filter(|length| *length > most) {
        return Err(too_long(&length.to_string()));
    }
    let mut bytes = Vec::new();
    let read = Steady::new(body.into_reader()).take(most + 1).read_to_end(&mut bytes);
    read.map_err(|error| Passing::error(format!("the answer breaks off: {}", quoted(&error.to_string()))))?;
    if bytes.len() as u64 > most {
        return Err(too_long("too many"));
    }
    Ok(bytes)
}

/// The distribution specification's way to say why not.
fn reason(body: &[u8]) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    let first = answer.get("errors")?.get(0)?;
    let word = |key| first.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
    Some(format!("{} {}", word("code"), word("message")))
}

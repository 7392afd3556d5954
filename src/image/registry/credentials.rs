//! Logins, from where `podman login` and `docker login` put them: containers-auth.json(5) and docker's config.json.

use super::quoted;
use crate::{narrate, sys};
use anyhow::{Context, Result, anyhow, bail};
use base64::{Engine, prelude::BASE64_STANDARD};
use nix::unistd::geteuid;
use serde::Deserialize;
use std::{
    collections::HashMap,
    env, fs,
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

pub enum Login {
    Password {
        user: String,
        password: String,
    },
    /// Something to get a token with, and no password.
    Token(String),
}

pub struct Found {
    pub login: Login,
    /// The file, or the file and the program it names.
    pub place: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    auths: HashMap<String, Entry>,
    cred_helpers: HashMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    username: String,
    secret: String,
}

/// More than any of these files has.
const MOST: u64 = 4 << 20;

/// The login for `repository` at `host`: the first that any of the files has.
pub fn find(host: &str, repository: &str, authfile: Option<&Path>) -> Result<Option<Found>> {
    if let Some(file) = authfile {
        let config = read(file)?.with_context(|| format!("--authfile {file:?}: no such file"))?;
        return config.login(host, repository, file);
    }
    for file in places() {
        if let Some(config) = read(&file)?
            && let Some(found) = config.login(host, repository, &file)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn places() -> Vec<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = variable("HOME");
    let below_home = |name: &str| home.as_ref().map(|home| home.join(name));
    let runtime = match variable("XDG_RUNTIME_DIR") {
        Some(dir) => dir.join("containers/auth.json"),
        None => format!("/run/containers/{}/auth.json", geteuid()).into(),
    };
    let config = variable("XDG_CONFIG_HOME").or(below_home(".config"));
    let docker = variable("DOCKER_CONFIG").or(below_home(".docker"));
    let others =
        [config.map(|dir| dir.join("containers/auth.json")), docker.map(|dir| dir.join("config.json"))];
    [runtime].into_iter().chain(others.into_iter().flatten()).collect()
}

fn read(file: &Path) -> Result<Option<Config>> {
    let named = || format!("cannot read the logins in {file:?}");
    let mut text = Vec::new();
    match fs::File::open(file) {
        // Also when a directory on the way is closed to us, as /run/containers is to an ordinary user.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            return Ok(None);
        }
        opened => opened.with_context(named)?.take(MOST).read_to_end(&mut text).with_context(named)?,
    };
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    // Not the words of what is wrong: they may be a password.
    let place = |error: serde_json::Error| {
        anyhow!("line {}, column {}: not as it should be", error.line(), error.column())
    };
    serde_json::from_slice(&text).map(Some).map_err(place).with_context(named)
}

impl Config {
    fn login(&self, host: &str, repository: &str, file: &Path) -> Result<Option<Found>> {
        let names = names(host);
        let helper = names.iter().find_map(|name| self.cred_helpers.get(*name)).or(self.creds_store.as_ref());
        if let Some(helper) = helper.filter(|helper| !helper.is_empty()) {
            // As with docker: `auths` is only a list of names then. Podman's may have both.
            for name in &names {
                if let Some(found) = ask(helper, name, file)? {
                    return Ok(Some(found));
                }
            }
        }
        let Some(entry) = self.entry(host, &names, repository) else { return Ok(None) };
        let login = entry.login().with_context(|| format!("the login for {host} in {file:?} is none"))?;
        Ok(login.map(|login| Found { login, place: file.display().to_string() }))
    }

    /// Podman's may be for a part of a registry: the longest that fits is meant.
    fn entry(&self, host: &str, names: &[&str], repository: &str) -> Option<&Entry> {
        let mut path = format!("{host}/{repository}");
        while path.contains('/') {
            if let Some(entry) = self.auths.get(&path) {
                return Some(entry);
            }
            path.truncate(path.rfind('/')?);
        }
        let exact = names.iter().find_map(|name| self.auths.get(*name));
        exact
            .or_else(|| self.auths.iter().find(|(key, _)| names.contains(&bare(key))).map(|(_, entry)| entry))
    }
}

/// What docker's own registry is called there.
fn names(host: &str) -> Vec<&str> {
    match host {
        "docker.io" => {
            vec!["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"]
        }
        other => vec![other],
    }
}

/// Of a URL, as old files have it: the host.
fn bare(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or(key.strip_prefix("http://")).unwrap_or(key);
    rest.split_once('/')
        .filter(|(_, path)| !path.contains("..") && rest != key)
        .map_or(rest, |(host, _)| host)
}

impl Entry {
    fn login(&self) -> Result<Option<Login>> {
        if let Some(token) = self.identitytoken.as_ref().filter(|token| !token.is_empty()) {
            return Ok(Some(Login::Token(token.clone())));
        }
        if let (Some(user), Some(password)) = (&self.username, &self.password) {
            return Ok(Some(Login::Password { user: user.clone(), password: password.clone() }));
        }
        let Some(auth) = self.auth.as_ref().filter(|auth| !auth.is_empty()) else { return Ok(None) };
        // Some have written it with zeros or a line's end behind it.
        let bytes = BASE64_STANDARD.decode(auth.trim()).context("\"auth\" is not base64")?;
        let text = String::from_utf8(bytes).context("\"auth\" is not text")?;
        let (user, password) =
            text.trim_end_matches('\0').split_once(':').context("\"auth\" is not USER:PASSWORD")?;
        Ok(Some(Login::Password { user: user.to_owned(), password: password.to_owned() }))
    }
}

/// Asks a credential helper, a program that keeps the passwords: docker-credential-NAME.
fn ask(helper: &str, server: &str, file: &Path) -> Result<Option<Found>> {
    let program = format!("docker-credential-{helper}");
    if helper.contains('/') {
        bail!("{file:?} names the credential helper {helper:?}: that is no name, but a path");
    }
    let mut command = Command::new(&program);
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        // Also when a directory in PATH is closed to us.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            narrate::warn(format_args!(
                "no {program} in PATH, which {} names: asking without a login",
                file.display()
            ));
            return Ok(None);
        }
        other => sys::started(other).with_context(|| format!("cannot start {program}"))?,
    };
    // It may end before it has read.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(server.as_bytes()));
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        // The protocol's word for "there is none", on stdout.
        let none = said.contains("credentials not found") || said.contains("no credentials");
        if !none {
            let said = format!("{said} {}", String::from_utf8_lossy(&output.stderr));
            narrate::warn(format_args!("{program} has no login for {server}: {}", quoted(&said)));
        }
        return Ok(None);
    }
    let told: Option<Told> = serde_json::from_str(&said).ok();
    let told = told.with_context(|| format!("what {program} answers is no login"))?;
    let login = match told.username.as_str() {
        "<token>" => Login::Token(told.secret),
        _ => Login::Password { user: told.username, password: told.secret },
    };
    Ok(Some(Found { login, place: format!("{} ({program})", file.display()) }))
}

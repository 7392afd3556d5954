//! Who asks: the answer to a 401, by the distribution specification's token server or by HTTP's own Basic.

use super::{
    client::{body_of, headers},
    credentials::{Found, Login},
    quoted,
};
use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use ureq::{
    Body,
    http::{HeaderMap, Response, Uri},
};

const MOST_TOKEN: u64 = 1 << 20;

/// How a server wants to be told who asks.
#[derive(Debug, PartialEq)]
pub enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String> },
}

/// The first challenge we can meet, a token before a password. (RFC 9110, 11.6.1.)
pub fn challenge(answer: &HeaderMap) -> Option<Challenge> {
    let all: Vec<_> = headers(answer, "www-authenticate").flat_map(schemes).collect();
    let value = |wanted: &Scheme, name: &str| {
        wanted.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    };
    let bearer = all.iter().find(|scheme| scheme.name == "bearer").and_then(|scheme| {
        Some(Challenge::Bearer { realm: value(scheme, "realm")?, service: value(scheme, "service") })
    });
    bearer.or(all.iter().any(|scheme| scheme.name == "basic").then_some(Challenge::Basic))
}

struct Scheme {
    name: String,
    parameters: Vec<(String, String)>,
}

/// `Bearer realm="https://…",service="…", Basic realm="…"`: a word without `=` begins the next scheme.
fn schemes(header: &str) -> Vec<Scheme> {
    let mut all: Vec<Scheme> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let word = word.to_ascii_lowercase();
        match (after.strip_prefix('='), all.last_mut()) {
            (Some(value), Some(scheme)) => {
                let (value, after) = quoted_or_not(value);
                scheme.parameters.push((word, value));
                rest = after;
            }
            (None, _) if !word.is_empty() => {
                all.push(Scheme { name: word, parameters: Vec::new() });
                rest = after;
            }
            _ => return all,
        }
    }
}

fn quoted_or_not(text: &str) -> (String, &str) {
    let Some(text) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return (value, &text[at + 1..]),
            _ => {
                escaped = false;
                value.push(c);
            }
        }
    }
    (value, "")
}

/// `Authorization:` for a name and a password.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// What is asked of a token server, and with what.
pub struct TokenQuestion {
    pub url: Uri,
    pub authorization: Option<String>,
    /// A form, where it is posted.
    pub form: Option<String>,
}

/// Reading the one repository is all we ask for, whatever more is offered.
pub fn question(
    realm: &str,
    service: Option<&str>,
    repository: &str,
    found: Option<&Found>,
) -> Result<TokenQuestion> {
    let bad = || format!("its token server is called {:?}, which is no URL", quoted(realm));
    let url: Uri = realm.parse().ok().filter(|url: &Uri| url.host().is_some()).with_context(bad)?;
    let scope = encode(&format!("repository:{repository}:pull"));
    let service = service.map_or(String::new(), |service| format!("&service={}", encode(service)));
    if let Some(Found { login: Login::Token(token), .. }) = found {
        let form = format!(
            "grant_type=refresh_token&client_id=rubber&scope={scope}{service}&refresh_token={}",
            encode(token)
        );
        return Ok(TokenQuestion { url, authorization: None, form: Some(form) });
    }
    let joint = if realm.contains('?') { '&' } else { '?' };
    let url: Uri = format!("{realm}{joint}scope={scope}{service}").parse().ok().with_context(bad)?;
    let authorization = match found {
        Some(Found { login: Login::Password { user, password }, .. }) => Some(basic(user, password)),
        _ => None,
    };
    Ok(TokenQuestion { url, authorization, form: None })
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

/// `Authorization:` with the token in this answer.
pub fn token(answer: Response<Body>) -> Result<String> {
    let body = body_of(answer, MOST_TOKEN)?;
    let answer: Answer = serde_json::from_slice(&body)
        .map_err(|error| anyhow::anyhow!("its answer is no token: {}", quoted(&error.to_string())))?;
    let Some(token) = answer.token.or(answer.access_token).filter(|token| !token.is_empty()) else {
        bail!("its answer has no token in it");
    };
    // It goes into a header: RFC 6750, 2.1, and nothing that would end the line.
    ensure!(token.bytes().all(|byte| byte.is_ascii_graphic()), "its token has bytes that no token has");
    ensure!(token.len() <= 64 << 10, "its token has {} bytes, which no server would take back", token.len());
    Ok(format!("Bearer {token}"))
}

/// For the value of a query: RFC 3986, 2.3.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Option<Challenge> {
        let mut map = HeaderMap::new();
        map.insert("www-authenticate", header.parse().unwrap());
        challenge(&map)
    }

    #[test]
    fn challenges_are_read_as_servers_write_them() {
        let bearer = |realm: &str, service: Option<&str>| {
            Some(Challenge::Bearer { realm: realm.into(), service: service.map(str::to_owned) })
        };
        let hub = r#"Bearer realm="https://auth/token",service="registry",scope="repository:a:pull,push""#;
        assert_eq!(of(hub), bearer("https://auth/token", Some("registry")));
        assert_eq!(of(r#"Basic realm="x", Bearer realm="a\"b" , service=s"#), bearer("a\"b", Some("s")));
        assert_eq!(of(r#"basic realm="a, b""#), Some(Challenge::Basic));
        for odd in [
            "",
            ",",
            "=",
            "Bearer",
            "Bearer service=x",
            "Digest realm=\"x\"",
            "Bearer realm",
            "realm=x",
            "\"\"=",
        ] {
            assert_eq!(of(odd), None, "{odd}");
        }
        assert_eq!(of("Bearer realm=\"unclosed"), bearer("unclosed", None));
    }

    #[test]
    fn a_query_cannot_be_added_to() {
        let question = question("https://a/t?x=1", Some("a&b c"), "r", None).unwrap();
        assert_eq!(question.url.to_string(), "https://a/t?x=1&scope=repository%3Ar%3Apull&service=a%26b%20c");
    }
}

//! Who is told who asks: the registry, and nobody it sends us to.

use super::{
    access::TlsServer,
    command,
    place::{Ended, Place},
    real::{certificate, is_installed},
    rubber,
    site::*,
    tars::Tar,
};
use std::sync::{Arc, Mutex};

const TOKEN: &str = "one-two-three";

/// A registry that wants a token and has its blobs at `elsewhere`, and its image's layer.
fn registry(elsewhere: impl Fn(&Asked) -> String + Send + Sync + 'static) -> (Site, Vec<u8>, String) {
    let mut content = Content::default();
    let layer = Tar::new().directory("bin/").bytes();
    let document = content.image("latest", here(), std::slice::from_ref(&layer));
    let digest = document["layers"][0]["digest"].as_str().unwrap().to_owned();
    let blob = content.blobs[&digest].clone();
    let own: Arc<Mutex<String>> = Arc::default();
    let address = own.clone();
    let site = Site::new(content, move |asked, _| {
        if asked.path.starts_with("/token") {
            return Some(plain("200 OK", format!(r#"{{"token":"{TOKEN}"}}"#)));
        }
        if asked.headers.get("authorization") != Some(&format!("Bearer {TOKEN}")) && asked.path != "/v2/" {
            let realm = format!("Bearer realm=\"http://{}/token\",service=\"s\"", address.lock().unwrap());
            return Some(Answer::Whole(
                "401 Unauthorized",
                vec![header("WWW-Authenticate", &realm)],
                Vec::new(),
            ));
        }
        let to = elsewhere(asked);
        let moved = || Answer::Whole("307 Temporary Redirect", vec![header("Location", &to)], Vec::new());
        asked.path.contains("/blobs/").then(moved)
    });
    *own.lock().unwrap() = site.address.to_string();
    (site, blob, digest)
}

#[test]
fn a_redirect_is_followed_and_the_token_stays_behind() {
    let blobs: Arc<Mutex<Content>> = Arc::default();
    let served = blobs.clone();
    let other = Site::new(Content::default(), move |asked, _| Some(served.lock().unwrap().answer(asked)));
    let address = other.address;
    let (site, _, _) = registry(move |asked| format!("http://{address}{}?signed=yes", asked.path));
    // What it has, the other has too.
    let mut same = Content::default();
    same.image("latest", here(), &[Tar::new().directory("bin/").bytes()]);
    let twin: Vec<_> =
        same.blobs.into_iter().map(|(digest, blob)| (format!("{digest}?signed=yes"), blob)).collect();
    blobs.lock().unwrap().blobs.extend(twin);
    let place = Place::new();
    rubber(&place, &["pull", &site.name()]).good();
    assert!(place.layer().join("bin").is_dir());
    assert!(site.asked().iter().any(|asked| asked.headers.contains_key("authorization")), "it had a token");
    let told: Vec<_> = other.asked().into_iter().filter(|asked| asked.path.contains("signed")).collect();
    assert!(told.len() >= 2, "{told:?}");
    assert!(told.iter().all(|asked| !asked.headers.contains_key("authorization")), "{told:?}");
}

#[test]
fn redirects_that_go_nowhere_good() {
    for (to, words) in [
        ("http://192.0.2.1/blob", "which is not https: nothing is sent there"),
        ("ftp://127.0.0.1/blob", "which is not https"),
        ("file:///etc/passwd", ""),
        ("\u{1}", ""),
        ("", "no URL"),
    ] {
        let (site, _, _) = registry(move |_| to.to_owned());
        let place = Place::new();
        rubber(&place, &["pull", "-q", "--retry", "0", "--timeout", "1", &site.name()]).refused(words);
        place.assert_empty_store();
    }
    let (site, _, _) = registry(|asked| format!("{}x", asked.path));
    rubber(&Place::new(), &["pull", "-q", &site.name()]).refused("redirects more than 5 times");
}

/// Of a registry that is elsewhere, as TLS shows: nothing that listens here only is asked for it.
#[test]
fn a_registry_with_tls_leads_to_nobody_without() {
    if !is_installed() {
        return;
    }
    let place = Place::new();
    let (certificate, key) = certificate(place.directory.path(), "127.0.0.1", 30);
    let inner = Site::honest(Content::default());
    let answer = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{}/secret\r\nContent-Length: 0\r\n\r\n",
        inner.address
    );
    let server = TlsServer::answering(&certificate, &key, &answer);
    let mut command = command(&place, &["pull", "-q", "--retry", "0", &format!("{}/it", server.address)]);
    let output = command.env("SSL_CERT_FILE", place.path("ca.crt")).output().unwrap();
    Ended::of(output).refused("is not https: nothing is sent there");
    assert_eq!(inner.asked().len(), 0);
}

/// A token server that answers with this.
#[track_caller]
fn token_answer(answer: impl Fn() -> Answer + Send + Sync + 'static, words: &str) {
    let server = Site::new(Content::default(), move |_, _| Some(answer()));
    let realm = format!("Bearer realm=\"http://{}/t\"", server.address);
    challenged(&realm, words);
}

/// A registry that asks so for a login.
#[track_caller]
fn challenged(challenge: &str, words: &str) {
    let headers = vec![header("WWW-Authenticate", challenge)];
    let site = Site::new(Content::default(), move |_, _| {
        Some(Answer::Whole("401 Unauthorized", headers.clone(), Vec::new()))
    });
    let place = Place::new();
    rubber(&place, &["pull", "-q", "--retry", "0", "--timeout", "1", &site.name()]).refused(words);
    place.assert_empty_store();
}

#[test]
fn a_token_server_that_misbehaves() {
    token_answer(|| plain("200 OK", "{"), "its answer is no token");
    token_answer(|| plain("200 OK", "{}"), "has no token in it");
    token_answer(|| plain("200 OK", r#"{"token":"a\r\nX-Evil: yes"}"#), "bytes that no token has");
    token_answer(|| plain("200 OK", format!(r#"{{"token":"{}"}}"#, "a".repeat(100_000))), "100000 bytes");
    token_answer(|| plain("200 OK", " ".repeat(2 << 20)), "more than 1048576 are not read");
    token_answer(|| Answer::Stall(Vec::new()), "is silent for 1 s");
    token_answer(|| plain("403 Forbidden", ""), "wants a login");
    token_answer(|| plain("418 I'm a teapot", ""), "answers 418");
    token_answer(|| Answer::Whole("302 Found", vec![header("Location", "/")], vec![]), "answers 302");
    token_answer(|| plain("200 OK", r#"{"token":"good-for-nothing"}"#), "wants a login");
}

#[test]
fn challenges_that_make_no_sense() {
    challenged("Bearer realm=\"http://192.0.2.1/token\"", "is not https: nothing is sent there");
    challenged("Bearer realm=\"::::\"", "which is no URL");
    challenged("Digest realm=\"x\"", "does not say which kind");
    challenged("", "does not say which kind");
    challenged("Basic realm=\"x\"", "wants a login for it");
}

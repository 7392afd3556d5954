//! Certificates and logins: who is believed, and who is told the password.

use super::{
    command,
    place::{Ended, Place},
    real::{Manner, Registry, certificate, is_installed, tool},
    rubber,
    site::*,
    tars::Tar,
};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// `ann` with the password `secret`, as bcrypt has it.
const HTPASSWD: &str = "ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";
/// base64 of `ann:secret`.
const ANN: &str = "YW5uOnNlY3JldA==";

/// Does it with our own CA among those who are believed.
fn trusting(place: &Place, words: &[&str]) -> Ended {
    Ended::of(command(place, words).env("SSL_CERT_FILE", place.path("ca.crt")).output().unwrap())
}

fn write(place: &Place, name: &str, text: &str) {
    let file = place.path(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

#[test]
fn a_registry_with_tls_and_a_login() {
    if !is_installed() {
        return;
    }
    let place = Place::new();
    let directory = place.directory.path();
    let (certificate, key) = certificate(directory, "127.0.0.1", 30);
    write(&place, "htpasswd", HTPASSWD);
    let htpasswd = place.path("htpasswd");
    let registry =
        Registry::start(directory, &Manner { tls: Some((&certificate, &key)), htpasswd: Some(&htpasswd) });
    super::honest::one(directory);
    let to = format!("docker://{}/private:v1", registry.address);
    let push = [
        "skopeo",
        "copy",
        "--insecure-policy",
        "--quiet",
        "--dest-tls-verify=false",
        "--dest-creds",
        "ann:secret",
    ];
    tool(directory, &[&push[..], &["oci:oci:one", &to]].concat());
    let name = format!("{}/private:v1", registry.address);
    let pull = ["pull", "--quiet", &name];

    trusting(&place, &pull).refused("wants a login for private");
    let host = &registry.address;
    trusting(&place, &pull).refused(&format!("podman login {host} or docker login {host}"));
    rubber(&place, &["pull", "--quiet", "--tls-verify=false", &name]).refused("wants a login");

    let login = |auth: &str| format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#);
    write(&place, ".docker/config.json", &login(ANN));
    trusting(&place, &pull).good();
    // Without our CA it is nobody's.
    rubber(&place, &pull).refused("signed by nobody this machine believes");
    rubber(&place, &["pull", "--quiet", "--tls-verify=false", &name]).good();
    trusting(&place, &["rmi", &name]).good();

    // Podman's file is looked into first, and a wrong one is named.
    write(&place, "run/containers/auth.json", &login("YW5uOndyb25n"));
    trusting(&place, &pull).refused("run/containers/auth.json");
    trusting(&place, &pull).refused("does not accept the login");
    write(&place, "mine.json", &login(ANN));
    trusting(&place, &["pull", "--quiet", "--authfile", "mine.json", &name]).good();
    trusting(&place, &["pull", "--quiet", "--authfile", "none.json", &name]).refused("no such file");
    write(&place, "run/containers/auth.json", "{\"auths\": {\"x\": \"ann:secret\"}}");
    let broken = trusting(&place, &pull);
    assert!(
        broken.err.contains("cannot read the logins in") && !broken.err.contains("secret"),
        "{}",
        broken.err
    );
    broken.refused("line 1");
    fs::remove_file(place.path("run/containers/auth.json")).unwrap();

    helper(&place, &name, host);
}

/// A login that a program keeps.
fn helper(place: &Place, name: &str, host: &str) {
    let pull = ["pull", "--quiet", name];
    let with_path = |words: &[&str]| {
        let mut command = command(place, words);
        let path = format!("{}:{}", place.path("bin").display(), std::env::var("PATH").unwrap());
        Ended::of(command.env("SSL_CERT_FILE", place.path("ca.crt")).env("PATH", path).output().unwrap())
    };
    write(place, ".docker/config.json", &format!(r#"{{"credHelpers":{{"{host}":"tests"}}}}"#));
    let missing = trusting(place, &pull);
    assert!(missing.err.contains("no docker-credential-tests in PATH"), "{}", missing.err);
    assert!(missing.err.contains("wants a login"), "{}", missing.err);
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = get ] && [ \"$(cat)\" = {host} ] && \
         echo '{{\"ServerURL\":\"\",\"Username\":\"ann\",\"Secret\":\"secret\"}}'\n"
    );
    write(place, "bin/docker-credential-tests", &script);
    fs::set_permissions(place.path("bin/docker-credential-tests"), PermissionsExt::from_mode(0o755)).unwrap();
    with_path(&pull).good();
    write(place, ".docker/config.json", r#"{"credsStore":"tests"}"#);
    with_path(&pull).good();
    write(
        place,
        "bin/docker-credential-tests",
        "#!/bin/sh\necho 'credentials not found in native keychain'; exit 1\n",
    );
    with_path(&pull).refused("wants a login");
    write(place, "bin/docker-credential-tests", "#!/bin/sh\necho '{\"Username\": 7'\n");
    with_path(&pull).refused("answers is no login");
    write(place, ".docker/config.json", r#"{"credsStore":"../../bin/sh"}"#);
    with_path(&pull).refused("no name, but a path");
}

#[test]
fn certificates_that_prove_nothing() {
    if !is_installed() {
        return;
    }
    let place = Place::new();
    let directory = place.directory.path();
    for (name, days, words) in [
        ("elsewhere.example", 30, "its certificate is for another name"),
        ("127.0.0.1", -1, "its certificate has expired"),
    ] {
        let (certificate, key) = certificate(directory, name, days);
        let server = TlsServer::answering(&certificate, &key, "");
        let ended = trusting(&place, &["pull", "--quiet", &format!("{}/it", server.address)]);
        ended.refused(words);
        // A CA that is not ours, whatever else it says.
        let ended = rubber(&place, &["pull", "--quiet", &format!("{}/it", server.address)]);
        assert!(ended.err.contains("--tls-verify=false"), "{}", ended.err);
        ended.refused("127.0.0.1");
    }
    let empty =
        command(&place, &["pull", "--quiet", "127.0.0.1:1/it"]).env("SSL_CERT_FILE", "/dev/null").output();
    assert_eq!(empty.unwrap().status.code(), Some(125));
}

/// `openssl s_server`: a handshake, and one answer to whatever is asked.
pub struct TlsServer {
    pub address: String,
    child: Child,
    _directory: tempfile::TempDir,
}

impl TlsServer {
    pub fn answering(certificate: &Path, key: &Path, answer: &str) -> TlsServer {
        // With -HTTP a file is sent as it is, headers and all: only the manifest is there.
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("v2/it/manifests")).unwrap();
        fs::write(directory.path().join("v2/it/manifests/latest"), answer).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new("openssl");
        command
            .args(["s_server", "-quiet", "-HTTP", "-accept", &address, "-cert"])
            .arg(certificate)
            .arg("-key")
            .arg(key);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.current_dir(directory.path()).spawn().unwrap();
        let began = Instant::now();
        while TcpStream::connect(&address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "openssl s_server does not come");
            std::thread::sleep(Duration::from_millis(20));
        }
        TlsServer { address, child, _directory: directory }
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_token_is_asked_for_with_the_password_and_only_for_this() {
    let mut content = Content::default();
    content.image("latest", here(), &[Tar::new().directory("bin/").bytes()]);
    let tokens = Site::new(Content::default(), |asked, _| {
        let is_ann = asked.headers.get("authorization") == Some(&format!("Basic {ANN}"));
        Some(if is_ann { plain("200 OK", r#"{"access_token":"t"}"#) } else { plain("401 Unauthorized", "") })
    });
    let challenge =
        format!("Bearer realm=\"http://{}/t\",service=\"a b\",scope=\"registry:catalog:*\"", tokens.address);
    let site = Site::new(content, move |asked, _| {
        let refused =
            Answer::Whole("401 Unauthorized", vec![header("WWW-Authenticate", &challenge)], Vec::new());
        let is_known =
            asked.path == "/v2/" || asked.headers.get("authorization").is_some_and(|word| word == "Bearer t");
        (!is_known).then_some(refused)
    });
    let place = Place::new();
    let pull = ["pull", "--quiet", &site.name()];
    rubber(&place, &pull).refused("wants a login");
    let wrong = format!(r#"{{"auths":{{"{}":{{"username":"ann","password":"no"}}}}}}"#, site.address);
    write(&place, ".config/containers/auth.json", &wrong);
    rubber(&place, &pull).refused("does not accept the login in");
    // For this repository alone, as podman has it.
    let right = format!(
        r#"{{"auths":{{"{}/it":{{"auth":"{ANN}"}},"{}":{{"auth":"eDp5"}}}}}}"#,
        site.address, site.address
    );
    write(&place, ".config/containers/auth.json", &right);
    rubber(&place, &pull).good();
    let asked = tokens.asked();
    assert!(
        asked.iter().all(|asked| asked.path == "/t?scope=repository%3Ait%3Apull&service=a%20b"),
        "{asked:?}"
    );
    assert!(
        site.asked()
            .iter()
            .all(|asked| asked.headers.get("authorization").is_none_or(|word| word == "Bearer t"))
    );
}

#[test]
fn a_proxy_is_used_and_told_nothing() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = proxy.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
        let asked: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").unwrap();
        asked.join("\n")
    });
    let place = Place::new();
    let mut command = command(&place, &["pull", "--quiet", "--retry", "0", "debian"]);
    let output =
        command.env("https_proxy", &address).env_remove("NO_PROXY").env_remove("no_proxy").output().unwrap();
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("CONNECT registry-1.docker.io:443 "), "{asked}");
    assert!(!asked.contains("library/debian") && !asked.contains("Bearer"), "{asked}");
    Ended::of(output).refused("the proxy does not lead to registry-1.docker.io");
}

#[test]
fn without_a_network_it_says_so_at_once() {
    let place = Place::new();
    // A port that nobody listens at.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let began = Instant::now();
    for words in [&["pull", "debian"][..], &["run", "no-such-image", "true"]] {
        let mut command = command(&place, words);
        command.env("HTTPS_PROXY", format!("127.0.0.1:{port}")).env_remove("NO_PROXY").env_remove("no_proxy");
        let ended = Ended::of(command.output().unwrap());
        let last = ended.err.lines().last().unwrap();
        assert!(
            last.contains("registry-1.docker.io cannot be reached") && last.contains("rubber import"),
            "{last}"
        );
        assert_eq!(ended.code, Some(125));
    }
    assert!(began.elapsed() < Duration::from_secs(10));
}

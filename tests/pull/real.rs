//! Debian's docker-registry on the loopback, with certificates of our own and a login where one is wanted.

use crate::lab::has;
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

pub struct Registry {
    pub address: String,
    child: Child,
}

/// What it asks of those who come.
#[derive(Default)]
pub struct Manner<'a> {
    /// Certificate and key.
    pub tls: Option<(&'a Path, &'a Path)>,
    /// A file of names and bcrypt hashes.
    pub htpasswd: Option<&'a Path>,
}

pub fn is_installed() -> bool {
    let missing: Vec<_> =
        ["docker-registry", "skopeo", "openssl"].into_iter().filter(|tool| !has(tool)).collect();
    if !missing.is_empty() {
        crate::lab::skip_this(&format!("no {} here", missing.join(", ")));
    }
    missing.is_empty()
}

impl Registry {
    pub fn start(directory: &Path, manner: &Manner) -> Registry {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            directory.join("registry").display()
        );
        if let Some((certificate, key)) = manner.tls {
            config +=
                &format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display());
        }
        if let Some(file) = manner.htpasswd {
            config += &format!("auth:\n  htpasswd:\n    realm: rubber\n    path: {}\n", file.display());
        }
        let file = directory.join(format!("{port}.yml"));
        fs::write(&file, config).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let began = Instant::now();
        while TcpStream::connect(&address).is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "the registry does not come");
            std::thread::sleep(Duration::from_millis(20));
        }
        Registry { address, child }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
pub fn tool(directory: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(directory).env("HOME", directory).env("XDG_RUNTIME_DIR", directory);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{words:?}: {output:?}");
    output
}

/// A certificate for `name` by a CA of our own, `ca.crt`, from yesterday for so many days; its file and its key's.
pub fn certificate(directory: &Path, name: &str, days: i32) -> (PathBuf, PathBuf) {
    let openssl =
        |words: &str| tool(directory, &["openssl"].into_iter().chain(words.split(' ')).collect::<Vec<_>>());
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    if !directory.join("ca.crt").exists() {
        openssl(&format!("req -x509 {key} -keyout ca.key -out ca.crt -days 30 -subj /CN=ca-of-the-tests"));
    }
    let stem = name.replace(['*', ':'], "_");
    openssl(&format!("req {key} -keyout {stem}.key -out {stem}.csr -subj /CN={stem}"));
    let kind = if name.starts_with(|c: char| c.is_ascii_digit()) { "IP" } else { "DNS" };
    fs::write(directory.join("ext"), format!("subjectAltName={kind}:{name}\nbasicConstraints=CA:FALSE\n"))
        .unwrap();
    openssl(&format!(
        "x509 -req -in {stem}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days {days} -extfile ext -out {stem}.crt"
    ));
    (directory.join(format!("{stem}.crt")), directory.join(format!("{stem}.key")))
}

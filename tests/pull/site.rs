//! A registry of our own: it serves what it is given, and misbehaves as told.

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: HashMap<String, String>,
}

/// What is answered, to the letter.
pub enum Answer {
    /// Status line's end, headers, body, with a Content-Length.
    Whole(&'static str, Vec<(String, String)>, Vec<u8>),
    /// The bytes as they are, and the end of the connection.
    Raw(Vec<u8>),
    /// The bytes as they are, and then nothing, for as long as the other side likes.
    Stall(Vec<u8>),
    /// The bytes, and then these again and again for so many times.
    Endless(Vec<u8>, Vec<u8>, usize),
}

type Twist = dyn Fn(&Asked, usize) -> Option<Answer> + Send + Sync;

#[derive(Default)]
pub struct Content {
    pub blobs: HashMap<String, Vec<u8>>,
    /// By tag or digest: Content-Type and bytes.
    pub manifests: HashMap<String, (String, Vec<u8>)>,
}

pub struct Site {
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<Asked>>>,
}

impl Site {
    /// `twist` may answer instead; it is told which question to that path this is, from 1.
    pub fn new(
        content: Content,
        twist: impl Fn(&Asked, usize) -> Option<Answer> + Send + Sync + 'static,
    ) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (content, twist, kept) = (Arc::new(content), Arc::new(twist), log.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (content, twist, log) = (content.clone(), twist.clone(), kept.clone());
                thread::spawn(move || serve(stream, &content, &*twist, &log));
            }
        });
        Site { address, log }
    }

    pub fn honest(content: Content) -> Site {
        Site::new(content, |_, _| None)
    }

    pub fn name(&self) -> String {
        format!("{}/it", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, content: &Content, twist: &Twist, log: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        // Who speaks TLS here gets an answer that is none.
        if reader.fill_buf().is_ok_and(|bytes| bytes.first() == Some(&0x16)) {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
            return;
        }
        let Some(asked) = read(&mut reader) else { return };
        let count = {
            let mut log = log.lock().unwrap();
            log.push(asked.clone());
            log.iter().filter(|earlier| earlier.path == asked.path).count()
        };
        let answer = twist(&asked, count).unwrap_or_else(|| content.answer(&asked));
        let goes_on = matches!(answer, Answer::Whole(..));
        if write(&mut stream, answer).is_err() || !goes_on {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((key, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(key.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok()?;
    Some(Asked { path, headers })
}

fn write(stream: &mut TcpStream, answer: Answer) -> std::io::Result<()> {
    match answer {
        Answer::Whole(status, headers, body) => {
            stream.write_all(&head(status, &headers, Some(body.len()), &body))
        }
        Answer::Raw(bytes) => stream.write_all(&bytes),
        Answer::Stall(bytes) => {
            stream.write_all(&bytes)?;
            // Until the other side hangs up.
            stream.set_read_timeout(Some(Duration::from_secs(120)))?;
            stream.read(&mut [0]).map(drop)
        }
        Answer::Endless(bytes, more, times) => {
            stream.write_all(&bytes)?;
            (0..times).try_for_each(|_| stream.write_all(&more))
        }
    }
}

/// A status line, headers and what follows; `length` is what is claimed.
pub fn head(status: &str, headers: &[(String, String)], length: Option<usize>, body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\n");
    headers.iter().for_each(|(key, value)| text += &format!("{key}: {value}\r\n"));
    if let Some(length) = length {
        text += &format!("Content-Length: {length}\r\n");
    }
    [text.as_bytes(), b"\r\n", body].concat()
}

pub fn plain(status: &'static str, body: impl Into<Vec<u8>>) -> Answer {
    Answer::Whole(status, Vec::new(), body.into())
}

pub fn header(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

impl Content {
    /// As an honest registry does, ranges too.
    pub fn answer(&self, asked: &Asked) -> Answer {
        let word = asked.path.rsplit('/').next().unwrap_or_default();
        if asked.path.contains("/manifests/")
            && let Some((kind, bytes)) = self.manifests.get(word)
        {
            return Answer::Whole("200 OK", vec![header("Content-Type", kind)], bytes.clone());
        }
        let Some(blob) = self.blobs.get(word).filter(|_| asked.path.contains("/blobs/")) else {
            return plain("404 Not Found", r#"{"errors":[{"code":"UNKNOWN","message":"not here"}]}"#);
        };
        let range =
            asked.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        match range.and_then(|from| from.parse::<usize>().ok()).filter(|from| *from < blob.len()) {
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
                Answer::Whole(
                    "206 Partial Content",
                    vec![header("Content-Range", &range)],
                    blob[from..].to_vec(),
                )
            }
            None => plain("200 OK", blob.clone()),
        }
    }

    pub fn blob(&mut self, bytes: Vec<u8>) -> String {
        let digest = digest(&bytes);
        self.blobs.insert(digest.clone(), bytes);
        digest
    }

    pub fn manifest(&mut self, tag: &str, kind: &str, document: &Value) -> String {
        let bytes = document.to_string().into_bytes();
        let digest = digest(&bytes);
        for name in [tag, &digest] {
            self.manifests.insert(name.to_owned(), (kind.to_owned(), bytes.clone()));
        }
        digest
    }

    /// An image of these layers, plain tars, under `tag`; returns its manifest's document.
    pub fn image(&mut self, tag: &str, architecture: &str, layers: &[Vec<u8>]) -> Value {
        let ids: Vec<_> = layers.iter().map(|layer| digest(layer)).collect();
        let config = json!({
            "architecture": architecture, "os": "linux",
            "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": ids},
        });
        let config = config.to_string().into_bytes();
        let mut described = Vec::new();
        for layer in layers {
            let zipped = gzip(layer);
            let size = zipped.len();
            described.push(json!({"mediaType": OCI_LAYER, "digest": self.blob(zipped), "size": size}));
        }
        let size = config.len();
        let document = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": {"mediaType": OCI_CONFIG, "digest": self.blob(config), "size": size},
            "layers": described,
        });
        self.manifest(tag, OCI_MANIFEST, &document);
        document
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

pub fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// This machine's word, as images have it.
pub fn here() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Bytes that no compression makes fewer.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

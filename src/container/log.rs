//! What a container printed, written down in the format of Kubernetes' container runtimes: a line each, with
//! its time, its stream, and F, or P where the line goes on in the next entry of its stream.

use super::record;
use anyhow::{Context, Result};
use std::{
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Then it becomes `.log.1`, and the one before is dropped: in all at most twice this, in bytes.
const LIMIT: u64 = 16 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn word(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

pub struct Log {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Log {
    pub fn open(path: PathBuf) -> Result<Log> {
        let file = open(&path).with_context(|| path.display().to_string())?;
        let size = file.metadata()?.len();
        Ok(Log { path, file, size })
    }

    /// A full disk is no reason to stop the container.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let time = record::now();
        let mut text = Vec::with_capacity(bytes.len() + 64);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let whole = line.ends_with(b"\n");
            let _ = write!(text, "{time} {} {} ", stream.word(), if whole { "F" } else { "P" });
            text.extend_from_slice(line);
            text.extend(if whole { None } else { Some(b'\n') });
        }
        if self.size + text.len() as u64 > LIMIT && self.size > 0 {
            let _ = self.rotate();
        }
        if self.file.write_all(&text).is_ok() {
            self.size += text.len() as u64;
        }
    }

    fn rotate(&mut self) -> std::io::Result<()> {
        fs::rename(&self.path, self.path.with_extension("log.1"))?;
        self.file = open(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// What was printed at once, or the part of a line.
pub struct Entry {
    pub time: String,
    pub stream: Stream,
    /// With the line's end, if it has come to that.
    pub bytes: Vec<u8>,
}

/// Reads entries from where it stands; at the end there are none, and may be later.
pub struct Reader {
    path: PathBuf,
    files: Vec<BufReader<File>>,
}

impl Reader {
    pub fn open(path: &Path) -> Reader {
        let older = File::open(path.with_extension("log.1"));
        let files = [File::open(path), older].into_iter().flatten().map(BufReader::new).collect();
        Reader { path: path.into(), files }
    }

    pub fn next(&mut self) -> Result<Option<Entry>> {
        while let Some(file) = self.files.last_mut() {
            let mut line = Vec::new();
            let length = file.read_until(b'\n', &mut line)?;
            if length > 0 && !line.ends_with(b"\n") {
                // It is being written right now.
                file.seek_relative(-(length as i64))?;
                return Ok(None);
            }
            if length > 0 {
                return Ok(entry(line).or_else(|| self.next().ok().flatten()));
            }
            if self.files.len() == 1 && !self.was_rotated() {
                return Ok(None);
            }
            self.files.pop();
        }
        self.files.extend(File::open(&self.path).ok().map(BufReader::new));
        Ok(None)
    }

    fn was_rotated(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let ours = self.files.last().and_then(|file| file.get_ref().metadata().ok()).map(|about| about.ino());
        ours != fs::metadata(&self.path).ok().map(|about| about.ino())
    }
}

fn entry(line: Vec<u8>) -> Option<Entry> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = String::from_utf8(parts.next()?.to_vec()).ok()?;
    let stream = if parts.next()? == b"stderr" { Stream::Stderr } else { Stream::Stdout };
    let whole = parts.next()? == b"F";
    let mut bytes = parts.next()?.to_vec();
    if !whole {
        bytes.pop();
    }
    Some(Entry { time, stream, bytes })
}

//! One pass over the bytes of a layer, and three who work on it at the same time.

use super::{stream::Hashing, threads};
use anyhow::{Context, Result, anyhow};
use std::{
    io::{self, BufRead, Read},
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread::{self, ScopedJoinHandle},
};

/// How much is handed on at once, and how many of that may be on their way.
const CHUNK: usize = 1 << 18;
const CHUNKS: usize = 8;

type Chunk = Arc<Vec<u8>>;

/// Reads `source` to its end, and at the same time hashes what comes in one thread and lets `work` read it in another:
/// what decompresses it is the slowest of the three and need not wait for the disk. Returns the digest.
///
/// `source` is read by the caller's thread, and no other thread is left when this returns.
pub fn shared<T: Send>(
    mut source: impl Read,
    work: impl FnOnce(Chunks) -> Result<T> + Send,
) -> Result<(String, T)> {
    thread::scope(|scope| {
        let (to_hash, hashed) = sync_channel(CHUNKS);
        let (to_work, worked) = sync_channel(CHUNKS);
        let hasher = threads::scoped(scope, "hash the layer", move || {
            let mut hashing = Hashing::new(Chunks::new(hashed));
            io::copy(&mut hashing, &mut io::sink())?;
            io::Result::Ok(hashing.digest())
        })?;
        let worker = threads::scoped(scope, "unpack the layer", move || work(Chunks::new(worked)))?;
        let mut worker = Some(worker);
        let (mut done, mut late) = (None, None);
        let ended = loop {
            match next(&mut source, &mut late) {
                Ok(chunk) if chunk.is_empty() => break Ok(()),
                Ok(chunk) => {
                    let _ = to_hash.send(Ok(chunk.clone()));
                    // One that has ended well leaves the rest to the hash.
                    if worker.is_some() && to_work.send(Ok(chunk)).is_err() {
                        done = worker.take().map(joined).transpose()?;
                    }
                }
                Err(error) => {
                    let told = match error.raw_os_error() {
                        Some(errno) => io::Error::from_raw_os_error(errno),
                        None => io::Error::other(error.to_string()),
                    };
                    let _ = to_work.send(Err(told));
                    break Err(error);
                }
            }
        };
        drop((to_hash, to_work));
        let done = worker.take().map(joined).transpose()?.or(done);
        ended.context("the archive is cut off or damaged at its end")?;
        let done = done.context("nothing was done")?;
        let digest = hasher.join().map_err(|_| anyhow!("the thread that hashes ended unexpectedly"))??;
        Ok((digest, done))
    })
}

fn joined<T>(worker: ScopedJoinHandle<Result<T>>) -> Result<T> {
    worker.join().map_err(|_| anyhow!("the thread that unpacks ended unexpectedly"))?
}

/// The next chunk; an error after the last that could be read.
fn next(source: &mut impl Read, late: &mut Option<io::Error>) -> io::Result<Chunk> {
    if let Some(error) = late.take() {
        return Err(error);
    }
    let mut chunk = Vec::with_capacity(CHUNK);
    match source.take(CHUNK as u64).read_to_end(&mut chunk) {
        Err(error) if chunk.is_empty() => return Err(error),
        read => *late = read.err(),
    }
    Ok(Chunk::new(chunk))
}

/// What `shared` hands on.
pub struct Chunks {
    source: Receiver<io::Result<Chunk>>,
    chunk: Chunk,
    at: usize,
}

impl Chunks {
    fn new(source: Receiver<io::Result<Chunk>>) -> Chunks {
        Chunks { source, chunk: Chunk::default(), at: 0 }
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len() {
            self.chunk = match self.source.recv() {
                Ok(chunk) => chunk?,
                Err(_) => Chunk::default(), // the end
            };
            self.at = 0;
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

impl Read for Chunks {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

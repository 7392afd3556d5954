//! A blob on its way into the store: from where it broke off, no longer than it was said to be, and hashed by the store.

use super::{
    Client,
    client::headers,
    quoted,
    retry::{Passing, Tries},
    wire::Steady,
};
use crate::image::{
    Store,
    blobs::{self, Blob, Partial, Wanted},
    manifest::Descriptor,
};
use anyhow::{Result, bail};
use std::io::{Read, Write};
use ureq::{
    Body,
    http::{Response, StatusCode},
};

/// It may break off as often as it likes, as long as it gets on by this much each time.
const GETS_ON: u64 = 1 << 20;

/// The blob, from the store or else from the registry. `watch` is told how many of its bytes are here.
pub fn download(client: &Client, store: &Store, of: &Descriptor, watch: &dyn Fn(u64)) -> Result<Blob> {
    for is_last in [false, true] {
        let mut partial = match blobs::want(store, &of.digest, of.size)? {
            Wanted::Whole(blob) => {
                watch(of.size);
                return Ok(blob);
            }
            Wanted::Partial(partial) => partial,
        };
        let left_by_another = partial.len();
        fill(client, of, &mut partial, watch)?;
        match partial.finish() {
            // What another day left may be what is wrong with it; it is gone now.
            Err(error) if left_by_another > 0 && !is_last => {
                (client.tell)(&format!("{error:#}: once more, from the beginning"));
            }
            done => return done,
        }
    }
    bail!("{} cannot be had whole", of.digest)
}

fn fill(client: &Client, of: &Descriptor, partial: &mut Partial, watch: &dyn Fn(u64)) -> Result<()> {
    let mut tries = Tries::new(client.options.retry);
    while partial.len() < of.size {
        watch(partial.len());
        let before = partial.len();
        if let Err(error) =
            client.blob(&of.digest, before, of.size).and_then(|got| take(got, of, partial, watch))
        {
            if partial.len() >= before + GETS_ON {
                tries.forget();
            }
            tries.after(error, client.tell)?;
        }
    }
    Ok(())
}

/// Writes what an answer has of the blob.
fn take(answer: Response<Body>, of: &Descriptor, partial: &mut Partial, watch: &dyn Fn(u64)) -> Result<()> {
    if partial.len() > 0 && !goes_on_at(&answer, partial.len())? {
        partial.restart()?;
    }
    let missing = of.size - partial.len();
    let body = answer.into_body();
    if let Some(length) = body.content_length().filter(|length| *length != missing) {
        bail!("the registry has {length} bytes where {missing} were promised: refused");
    }
    let mut source = Steady::new(body.into_reader());
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = source.read(&mut buffer).map_err(|error| {
            Passing::error(format!(
                "breaks off at {} of {} bytes ({})",
                partial.len(),
                of.size,
                quoted(&error.to_string())
            ))
        })?;
        if count == 0 && partial.len() < of.size {
            let (here, size) = (partial.len(), of.size);
            return Err(Passing::error(format!("ends after {here} of {size} bytes")));
        }
        if count == 0 {
            return Ok(());
        }
        partial.write_all(&buffer[..count])?;
        watch(partial.len());
    }
}

/// Whether it has what comes behind the first `from` bytes, or else all of it.
fn goes_on_at(answer: &Response<Body>, from: u64) -> Result<bool> {
    if answer.status() != StatusCode::PARTIAL_CONTENT {
        return Ok(false);
    }
    let range = headers(answer.headers(), "content-range").next().unwrap_or_default();
    let start = range.strip_prefix("bytes ").and_then(|rest| rest.split_once('-')).map(|(start, _)| start);
    match start.and_then(|start| start.parse::<u64>().ok()) {
        Some(start) if start == from => Ok(true),
        _ => bail!("asked for what comes behind byte {from}, the registry sends {:?}", quoted(range)),
    }
}

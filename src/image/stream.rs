//! The bytes of an archive on their way in: what compresses them is seen from their beginning, never from a name.

use super::limits::Limits;
use anyhow::{Context, Result, bail};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};
use sha2::{Digest, Sha256};
use std::{
    cell::Cell,
    io::{self, BufRead, BufReader, Cursor, Read},
    rc::Rc,
};

/// Large, because many small reads of a pipe cost more than everything done with them.
const BUFFER: usize = 1 << 16;

/// The most memory that zstd may ask for to look back at. What containers' tools write asks for 8 MiB, at most 32.
const WINDOW: u64 = 32 << 20;

/// The plain bytes of `source`: as they are, or out of gzip or zstd.
/// What comes out of it is limited: see `limits`.
pub fn decompress<'a>(source: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let limits = Limits::of_environment()?;
    let read = Rc::new(Cell::new(0));
    let mut source = Counted { source, read: read.clone() };
    let mut magic = Vec::new();
    source.by_ref().take(6).read_to_end(&mut magic).context("cannot read the archive")?;
    let start = magic.clone();
    let whole = BufReader::with_capacity(BUFFER, Cursor::new(magic).chain(source));
    let plain: Box<dyn Read + 'a> = match start.as_slice() {
        [] => bail!("the archive is empty"),
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Box::new(Frames::new(whole)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            bail!("it is compressed with xz: xz -dc FILE | rubber import - NAME")
        }
        [b'B', b'Z', b'h', ..] => bail!("it is compressed with bzip2: bzip2 -dc FILE | rubber import - NAME"),
        [b'P', b'K', 3, 4, ..] => bail!("it is a zip file; import takes a tar archive, plain, gzip or zstd"),
        _ => Box::new(whole),
    };
    Ok(Box::new(Limited { plain, out: 0, read, limits }))
}

struct Counted<R> {
    source: R,
    read: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(into)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

struct Limited<'a> {
    plain: Box<dyn Read + 'a>,
    out: u64,
    read: Rc<Cell<u64>>,
    limits: Limits,
}

impl Read for Limited<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.plain.read(into)?;
        self.out += count as u64;
        self.limits.check(self.read.get(), self.out)?;
        Ok(count)
    }
}

/// All frames of a zstd file: `pzstd` and `cat` make several, and some may only be skipped.
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    within: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(source: R) -> Frames<R> {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW);
        Frames { source, decoder, within: false }
    }

    /// Begins the next frame that has bytes in it; false at the end of the file.
    fn begin(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.init(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut self.source.by_ref().take(length), &mut io::sink())? != length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(FrameDecoderError::WindowSizeTooBig { requested, .. }) => {
                    return Err(io::Error::other(format!(
                        "to unpack it takes a window of {} MiB, and at most {} are given: compress it without zstd --long or --ultra",
                        requested >> 20,
                        WINDOW >> 20
                    )));
                }
                Err(error) => return Err(cut_off(error)),
            }
        }
        Ok(false)
    }

    fn end(&self) -> io::Result<()> {
        match self.decoder.get_checksum_from_data() {
            Some(told) if self.decoder.get_calculated_checksum() != Some(told) => {
                Err(io::Error::other("a zstd frame's checksum is wrong"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.within && self.decoder.can_collect() > 0 {
                return self.decoder.read(into);
            }
            if self.within && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(cut_off)?;
                continue;
            }
            if self.within {
                self.end()?;
            }
            self.within = self.begin()?;
            if !self.within {
                return Ok(0);
            }
        }
    }
}

/// What the decoder says of the end of its source is not for people.
fn cut_off(error: FrameDecoderError) -> io::Error {
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::UnexpectedEof
        {
            return io::Error::new(io::ErrorKind::UnexpectedEof, "the zstd stream is cut off");
        }
        cause = error.source();
    }
    io::Error::other(error)
}

/// Computes the SHA-256 of everything read through it.
pub struct Hashing<R> {
    source: R,
    sha256: Sha256,
}

impl<R: Read> Hashing<R> {
    pub fn new(source: R) -> Hashing<R> {
        Hashing { source, sha256: Sha256::new() }
    }

    pub fn digest(self) -> String {
        written(&self.sha256.finalize())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(into)?;
        self.sha256.update(&into[..count]);
        Ok(count)
    }
}

/// Adds all that is still to be read, and returns how many bytes that was.
pub fn add_all(mut source: impl Read, sha256: &mut Sha256) -> io::Result<u64> {
    let (mut buffer, mut sum) = (vec![0; BUFFER], 0);
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok(sum),
            Ok(count) => {
                sha256.update(&buffer[..count]);
                sum += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
    }
}

/// The digest of these bytes as OCI writes it: `sha256:` and 64 hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    written(&Sha256::digest(bytes))
}

/// A SHA-256 as OCI writes it.
pub fn written(hash: &[u8]) -> String {
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

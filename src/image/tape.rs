//! The members of a tar archive, one after the other: ustar's, GNU's and PAX's. See tar(5) and pax(1p).
//!
//! Where readers of tar disagree, one of them can be shown another tree than the next: what is ambiguous is refused.
//! The tar crate writes our archives but does not read them: it keeps names and PAX records of any size in memory,
//! cuts numbers down to 64 bits, and ends a PAX record at a newline, which file capabilities may well have in them.

use super::{
    holes,
    pax::{Pax, global},
};
use anyhow::{Context, Result, bail, ensure};
use nix::sys::time::TimeSpec;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind, Read, Seek, Write},
    mem::take,
};
use tar::{EntryType, GnuExtSparseHeader, GnuSparseHeader, Header};

const BLOCK: u64 = 512;

/// A name is at most 4 KiB long, and an extended attribute 64 KiB: what describes one entry fits into this.
const MOST: u64 = 1 << 20;

pub struct Tape<R> {
    source: R,
    /// What is still unread of the last member's content, and the zeros that fill its last block.
    content: u64,
    padding: u64,
    /// How many bytes have been read.
    position: u64,
    /// Whether the source came to its end before the archive did.
    pub ended: bool,
}

pub struct Member {
    pub kind: EntryType,
    pub name: Vec<u8>,
    pub link: Vec<u8>,
    /// Of the file, in bytes: what is in the archive, and the holes of a sparse one.
    pub size: u64,
    pub mode: u32,
    pub owner: (i64, i64),
    pub mtime: TimeSpec,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Of a device node: major and minor number.
    pub device: (u32, u32),
    /// Which bytes of a sparse file the archive has: offset and length.
    parts: Option<Vec<(u64, u64)>>,
}

/// What the headers before a member's own say of it.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Vec<u8>>,
}

impl<R: BufRead> Tape<R> {
    pub fn new(source: R) -> Tape<R> {
        Tape { source, content: 0, padding: 0, position: 0, ended: false }
    }

    /// The next member; `None` where the archive ends.
    pub fn next(&mut self) -> Result<Option<Member>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                let lonely = extensions.name.or(extensions.link).or(extensions.pax).is_some();
                ensure!(!lonely, "a header that describes the next entry, and no next entry");
                return Ok(None);
            };
            match header.entry_type() {
                EntryType::GNULongName => once(&mut extensions.name, self.extension(&header)?)?,
                EntryType::GNULongLink => once(&mut extensions.link, self.extension(&header)?)?,
                EntryType::XHeader => once(&mut extensions.pax, self.extension(&header)?)?,
                EntryType::XGlobalHeader => global(&self.extension(&header)?)?,
                _ => return self.member(&header, extensions).map(Some),
            }
        }
    }

    /// Writes the content of `member`, which was the last one, to the empty `file`. What is zeros, and what the archive
    /// has not, becomes a hole.
    pub fn write(&mut self, member: &Member, file: &File) -> Result<()> {
        let mut file = holes::Writer::new(file);
        match &member.parts {
            None => self.copy(&mut file, member.size)?,
            Some(parts) => {
                for (offset, length) in parts {
                    file.leap(*offset);
                    self.copy(&mut file, *length)?;
                }
                file.leap(member.size);
            }
        }
        file.flush().context("ftruncate()")
    }

    fn copy(&mut self, file: &mut holes::Writer, count: u64) -> Result<()> {
        let mut left = count;
        while left > 0 {
            let bytes = match self.source.fill_buf() {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            };
            ensure!(!bytes.is_empty(), "the archive is cut off: {} of {count} bytes are there", count - left);
            let part = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.write_all(&bytes[..part])?;
            self.source.consume(part);
            left -= part as u64;
            self.content -= part as u64;
            self.position += part as u64;
        }
        Ok(())
    }

    /// The content of the last member, as far as it is unread.
    pub fn content(&mut self) -> Content<'_, R> {
        Content { tape: self }
    }

    /// Goes on to the next header. The zeros that fill the last block may be missing: then there is none.
    fn skip(&mut self) -> Result<()> {
        let (content, padding) = (take(&mut self.content), take(&mut self.padding));
        ensure!(self.pass(content)? == content, "the archive is cut off");
        self.pass(padding).map(drop)
    }

    /// Reads on by `count` bytes, or as many as there are.
    fn pass(&mut self, count: u64) -> Result<u64> {
        let passed = io::copy(&mut self.source.by_ref().take(count), &mut io::sink())?;
        self.position += passed;
        Ok(passed)
    }

    /// `None` at a block of zeros, and at the end of the source.
    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        let mut block = Vec::new();
        self.source.by_ref().take(BLOCK).read_to_end(&mut block)?;
        self.position += block.len() as u64;
        self.ended = block.is_empty();
        if self.ended {
            return Ok(None);
        }
        ensure!(block.len() as u64 == BLOCK, "the archive is cut off in a header");
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        header.as_mut_bytes().copy_from_slice(&block);
        // Its own field counts as spaces.
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| i64::from(*byte)).sum::<i64>();
        let expected = sum(&block[..148]) + sum(&block[156..]) + 8 * i64::from(b' ');
        ensure!(number(&header.as_old().cksum).ok() == Some(expected), "a header's checksum is wrong");
        Ok(Some(header))
    }

    /// The content of a header that describes another member.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = number(&header.as_old().size).context("a long name or PAX header's size")?;
        let size = u64::try_from(size).ok().filter(|size| *size <= MOST);
        let size = size.context("a long name or PAX header of more than 1 MiB (or a negative size)")?;
        let mut bytes = Vec::new();
        self.source.by_ref().take(size).read_to_end(&mut bytes)?;
        self.position += size;
        ensure!(bytes.len() as u64 == size, "the archive is cut off in a long name or PAX header");
        self.padding = size.next_multiple_of(BLOCK) - size;
        Ok(bytes)
    }

    fn member(&mut self, header: &Header, extensions: Extensions) -> Result<Member> {
        let old = header.as_old();
        let mut name = header.path_bytes().into_owned();
        let mut link = header.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default();
        let pax = Pax::parse(extensions.pax.as_deref().unwrap_or_default());
        if let Ok(pax) = &pax {
            name = pax.path.clone().unwrap_or(name);
            link = pax.link.clone().unwrap_or(link);
        }
        name = extensions.name.map(without_end).unwrap_or(name);
        link = extensions.link.map(without_end).unwrap_or(link);
        let describe = || -> Result<Member> {
            let pax = pax?;
            let size = pax.size.map_or_else(|| number(&old.size).context("its size"), Ok)?;
            let size = u64::try_from(size).context("its size is negative")?;
            let mut member = Member {
                kind: header.entry_type(),
                name: name.clone(),
                link,
                size,
                mode: (number(&old.mode).context("its mode")? & 0o7777) as u32,
                owner: (
                    pax.owner.0.map_or_else(|| number(&old.uid).context("its owner"), Ok)?,
                    pax.owner.1.map_or_else(|| number(&old.gid).context("its group"), Ok)?,
                ),
                mtime: pax.mtime.map_or_else(|| whole(&old.mtime), Ok)?,
                xattrs: pax.xattrs,
                device: (0, 0),
                parts: None,
            };
            if matches!(member.kind, EntryType::Block | EntryType::Char) {
                member.device = device(header)?;
            }
            if member.kind == EntryType::Regular && member.name.ends_with(b"/") {
                member.kind = EntryType::Directory; // as tar wrote before 1988
            }
            let has_content =
                matches!(member.kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse);
            ensure!(
                has_content || size == 0,
                "it is no file and has content: some readers take that for the next entry"
            );
            if member.kind == EntryType::GNUSparse {
                self.sparse(header, &mut member)?;
            }
            (self.content, self.padding) = (size, (BLOCK - size % BLOCK) % BLOCK);
            Ok(member)
        };
        describe().with_context(|| format!("entry {}", super::unpack::shown(&name)))
    }

    /// GNU's old sparse files: a list of parts in the header, and in as many blocks behind it as that takes.
    fn sparse(&mut self, header: &Header, member: &mut Member) -> Result<()> {
        let gnu = header.as_gnu().context("a sparse file, and no GNU header")?;
        let mut parts = Parts { list: Vec::new(), end: 0, stored: 0 };
        parts.add(&gnu.sparse)?;
        let mut more = GnuExtSparseHeader::new();
        more.isextended[0] = gnu.isextended[0];
        while more.is_extended() {
            ensure!(parts.list.len() as u64 * 24 < MOST, "a sparse file in too many parts");
            self.source.read_exact(more.as_mut_bytes()).context("the archive is cut off in a sparse file")?;
            self.position += BLOCK;
            parts.add(&more.sparse)?;
        }
        let size = u64::try_from(number(&gnu.realsize)?).context("its size is negative")?;
        ensure!(
            parts.stored == member.size && parts.end <= size,
            "a sparse file whose parts and size do not agree"
        );
        (member.size, member.parts) = (size, Some(parts.list));
        Ok(())
    }
}

impl<R: Read + Seek> Tape<BufReader<R>> {
    /// Where the content of the last member begins, in bytes, if nothing of it was read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Passes over the content without reading it.
    pub fn leap(&mut self) -> Result<()> {
        let count = take(&mut self.content);
        self.position += count;
        self.source.seek_relative(i64::try_from(count)?).context("lseek()")
    }
}

/// See `Tape::content`.
pub struct Content<'a, R> {
    tape: &'a mut Tape<R>,
}

impl<R: BufRead> Read for Content<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.tape.source.by_ref().take(self.tape.content).read(into)?;
        self.tape.content -= count as u64;
        self.tape.position += count as u64;
        Ok(count)
    }
}

struct Parts {
    list: Vec<(u64, u64)>,
    end: u64,
    stored: u64,
}

impl Parts {
    fn add(&mut self, blocks: &[GnuSparseHeader]) -> Result<()> {
        for block in blocks.iter().filter(|block| !block.is_empty()) {
            let (offset, length) = (number(&block.offset)?, number(&block.numbytes)?);
            let (offset, length) = (u64::try_from(offset)?, u64::try_from(length)?);
            let follows = offset >= self.end && (length == 0 || self.stored.is_multiple_of(BLOCK));
            ensure!(follows, "a sparse file whose parts overlap");
            self.end = offset.checked_add(length).context("a sparse file of impossible size")?;
            self.stored += length;
            self.list.push((offset, length));
        }
        Ok(())
    }
}

fn once(place: &mut Option<Vec<u8>>, bytes: Vec<u8>) -> Result<()> {
    ensure!(place.replace(bytes).is_none(), "two headers of a kind describe the next entry");
    Ok(())
}

/// GNU ends a long name with a NUL.
fn without_end(mut name: Vec<u8>) -> Vec<u8> {
    while name.pop_if(|byte| *byte == 0).is_some() {}
    name
}

/// A number as headers have it: in octal digits, or, marked by the first bit, in binary and perhaps negative.
fn number(field: &[u8]) -> Result<i64> {
    if field[0] & 0x80 != 0 {
        let sign: i128 = if field[0] & 0x40 == 0 { 0 } else { -1 };
        let start = (sign << 6) | i128::from(field[0] & 0x3f);
        let value = field[1..].iter().fold(start, |value, byte| (value << 8) | i128::from(*byte));
        return i64::try_from(value).context("a number of more than 64 bits");
    }
    let is_blank = |byte: &u8| *byte == b' ' || *byte == 0;
    let digits = field.iter().skip_while(|byte| is_blank(byte)).take_while(|byte| !is_blank(byte));
    digits.copied().try_fold(0i64, |value, digit| match digit {
        b'0'..=b'7' => Ok((value << 3) | i64::from(digit - b'0')),
        _ => bail!("a number with {:?} in it", char::from(digit)),
    })
}

/// The kernel's numbers have 12 and 20 bits.
fn device(header: &Header) -> Result<(u32, u32)> {
    let (major, minor) = match (header.as_ustar(), header.as_gnu()) {
        (Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
        (_, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
        // Older headers have no room for it.
        _ => return Ok((0, 0)),
    };
    let (major, minor) = (number(major)?, number(minor)?);
    let is_one = (0..1 << 12).contains(&major) && (0..1 << 20).contains(&minor);
    ensure!(is_one, "{major}:{minor} is the number of no device");
    Ok((major as u32, minor as u32))
}

fn whole(field: &[u8]) -> Result<TimeSpec> {
    Ok(TimeSpec::new(number(field).context("its time")?, 0))
}

//! Files with holes: what of a file is data, and writing that leaves out what is zeros anyway. See lseek(2).
//!
//! A hole takes no room, and a few bytes of an archive can stand for terabytes of it. So each copy has the holes of
//! what it is a copy of, and each limit counts them as if they were data.

use super::limits;
use nix::{
    errno::Errno,
    sys::stat::FileStat,
    unistd::{Whence, lseek},
};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
    os::unix::fs::FileExt,
};

/// What filesystems give room for at once, in bytes: a smaller hole saves nothing.
const BLOCK: usize = 4096;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// How many of a file's bytes take no room. For one without holes it is 0, and no more calls are made for it.
pub fn size(stat: &FileStat) -> u64 {
    // stat(2): st_blocks counts 512 bytes, whatever the filesystem's block.
    (stat.st_size.max(0) as u64).saturating_sub(stat.st_blocks.max(0) as u64 * 512)
}

/// The next data of `file` at or after the byte `at`; `None` where a hole, or nothing, goes on to its end.
fn data(file: &File, at: u64) -> io::Result<Option<Range<u64>>> {
    let seek = |at, whence| lseek(file, i64::try_from(at).unwrap_or(i64::MAX), whence);
    let begin = match seek(at, Whence::SeekData) {
        Err(Errno::ENXIO) => return Ok(None),
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => return Ok(Some(at..u64::MAX)), // a filesystem that cannot tell
        begin => begin? as u64,
    };
    // ENXIO: the process that owns it has cut it off since.
    let end = match seek(begin, Whence::SeekHole) {
        Err(Errno::ENXIO) => return Ok(None),
        end => end? as u64,
    };
    Ok(Some(begin..end))
}

/// Copies `source` to the empty file `copy`, both at their beginning.
pub fn copy(mut source: &File, stat: &FileStat, mut copy: &File) -> io::Result<()> {
    if size(stat) == 0 {
        return io::copy(&mut source, &mut copy).map(drop); // copy_file_range(2), where the filesystem can
    }
    let (mut at, length) = (0, stat.st_size.max(0) as u64);
    while at < length
        && let Some(part) = data(source, at)?
    {
        source.seek(SeekFrom::Start(part.start))?;
        copy.seek(SeekFrom::Start(part.start))?;
        io::copy(&mut source.take(part.end - part.start), &mut copy)?;
        at = part.end;
    }
    copy.set_len(length)
}

/// Reads a file from its beginning. The zeros of its holes do not come from the disk, nor through its cache.
pub struct Reader {
    file: File,
    has_holes: bool,
    at: u64,
    part: Range<u64>,
    /// How many bytes of holes it may have from here on.
    pub most: u64,
}

impl Reader {
    pub fn new(file: File, stat: &FileStat, most: u64) -> Reader {
        Reader { file, has_holes: size(stat) > 0, at: 0, part: 0..0, most }
    }

    /// Finds the next data, and counts the hole before it.
    fn go_on(&mut self) -> io::Result<()> {
        let end = self.file.metadata()?.len();
        self.part = data(&self.file, self.at)?.unwrap_or(end..end);
        let hole = self.part.start.saturating_sub(self.at);
        let left = self.most.checked_sub(hole);
        self.most = left.ok_or_else(|| limits::refused("too many zeros come of its holes", limits::BYTES))?;
        Ok(())
    }
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.has_holes {
            return self.file.read(into);
        }
        if self.at >= self.part.end {
            self.go_on()?;
        }
        let room = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX).min(into.len());
        let count = match self.part.start.checked_sub(self.at) {
            Some(hole @ 1..) => {
                let count = room(hole);
                into[..count].fill(0);
                count
            }
            _ => {
                let count = room(self.part.end.saturating_sub(self.at));
                self.file.read_at(&mut into[..count], self.at)?
            }
        };
        self.at += count as u64;
        Ok(count)
    }
}

/// Writes a file that has nothing at or after the byte `at`. What comes as zeros becomes a hole.
pub struct Writer<'a> {
    file: &'a File,
    at: u64,
    /// Where the last bytes that were not left out end.
    end: u64,
}

impl<'a> Writer<'a> {
    pub fn new(file: &'a File) -> Writer<'a> {
        Writer::at(file, 0)
    }

    pub fn at(file: &'a File, at: u64) -> Writer<'a> {
        Writer { file, at, end: at }
    }

    /// Leaves a hole up to the byte `at`.
    pub fn leap(&mut self, at: u64) {
        self.at = self.at.max(at);
    }

    fn put(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        if !bytes.is_empty() {
            self.file.write_all_at(bytes, at)?;
            self.end = at + bytes.len() as u64;
        }
        Ok(())
    }
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (mut begin, mut here) = (0, 0);
        while here < bytes.len() {
            let block = BLOCK - ((self.at + here as u64) % BLOCK as u64) as usize;
            let next = bytes.len().min(here + block);
            if bytes[here..next] == ZEROS[..next - here] {
                self.put(&bytes[begin..here], self.at + begin as u64)?;
                begin = next;
            }
            here = next;
        }
        self.put(&bytes[begin..], self.at + begin as u64)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    /// A hole at the end is there once the file has its length.
    fn flush(&mut self) -> io::Result<()> {
        if self.end < self.at {
            self.file.set_len(self.at)?;
            self.end = self.at;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::fstat;

    /// Data and zeros of all lengths around a block's, in pieces that begin and end anywhere.
    #[test]
    fn what_is_written_with_holes_is_read_and_copied_as_it_was() {
        for piece in [1, 511, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7, 1 << 20] {
            let mut content = vec![0; 64 * BLOCK];
            let ones = [0..1, 5 * BLOCK - 1..5 * BLOCK, 9 * BLOCK..11 * BLOCK, 40 * BLOCK + 3..41 * BLOCK];
            ones.into_iter().for_each(|range| content[range].fill(1));
            let (file, other) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
            let mut writer = Writer::new(&file);
            content.chunks(piece).for_each(|bytes| writer.write_all(bytes).unwrap());
            writer.flush().unwrap();
            let stat = fstat(&file).unwrap();
            copy(&file, &stat, &other).unwrap();
            for file in [file, other] {
                let stat = fstat(&file).unwrap();
                // On a tmpfs of huge pages it may be none.
                assert!(stat.st_blocks as usize * 512 <= content.len());
                let mut found = Vec::new();
                Reader::new(file, &stat, u64::MAX).read_to_end(&mut found).unwrap();
                assert!(found == content, "in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_file_that_is_all_hole_is_read_to_its_end_and_no_further() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(100_000).unwrap();
        let stat = fstat(&file).unwrap();
        let mut found = Vec::new();
        Reader::new(file.try_clone().unwrap(), &stat, 100_000).read_to_end(&mut found).unwrap();
        assert!(found == [0; 100_000]);
        assert!(Reader::new(file.try_clone().unwrap(), &stat, 99_999).read_to_end(&mut found).is_err());
        file.set_len(10).unwrap(); // as its owner may at any time
        found.clear();
        Reader::new(file, &stat, u64::MAX).read_to_end(&mut found).unwrap();
        assert_eq!(found, [0; 10]);
    }
}

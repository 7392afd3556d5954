//! As much of the ELF format as says which loader a program asks for; see elf(5).

use std::io::{Read, Seek, SeekFrom};

const PT_INTERP: u64 = 3;
const LONGEST: u64 = 4096; // PATH_MAX: the kernel refuses a longer one too

/// The program named in PT_INTERP, which the kernel starts instead; `None` when the file is static or no ELF file.
pub fn interpreter(file: &mut (impl Read + Seek)) -> Option<String> {
    let ident: [u8; 16] = bytes(file, 0)?;
    if ident[..4] != *b"\x7fELF" {
        return None;
    }
    let elf = Elf { wide: ident[4] == 2, big_endian: ident[5] == 2 };
    let (table, size, count) = match elf.wide {
        true => (elf.number(file, 0x20, 8)?, elf.number(file, 0x36, 2)?, elf.number(file, 0x38, 2)?),
        false => (elf.number(file, 0x1c, 4)?, elf.number(file, 0x2a, 2)?, elf.number(file, 0x2c, 2)?),
    };
    for index in 0..count {
        let header = table.checked_add(index * size)?;
        if elf.number(file, header, 4)? == PT_INTERP {
            let (offset, length) = match elf.wide {
                true => {
                    (elf.number(file, header.checked_add(0x08)?, 8)?, elf.number(file, header + 0x20, 8)?)
                }
                false => {
                    (elf.number(file, header.checked_add(0x04)?, 4)?, elf.number(file, header + 0x10, 4)?)
                }
            };
            return text(file, offset, length);
        }
    }
    None
}

struct Elf {
    wide: bool,
    big_endian: bool,
}

impl Elf {
    fn number(&self, file: &mut (impl Read + Seek), at: u64, size: usize) -> Option<u64> {
        let mut raw: [u8; 8] = [0; 8];
        file.seek(SeekFrom::Start(at)).ok()?;
        file.read_exact(&mut raw[..size]).ok()?;
        if self.big_endian {
            raw[..size].reverse();
        }
        Some(u64::from_le_bytes(raw))
    }
}

fn bytes<const N: usize>(file: &mut (impl Read + Seek), at: u64) -> Option<[u8; N]> {
    let mut raw = [0; N];
    file.seek(SeekFrom::Start(at)).ok()?;
    file.read_exact(&mut raw).ok()?;
    Some(raw)
}

fn text(file: &mut (impl Read + Seek), offset: u64, length: u64) -> Option<String> {
    let mut raw = Vec::new();
    file.seek(SeekFrom::Start(offset)).ok()?;
    file.take(length.min(LONGEST)).read_to_end(&mut raw).ok()?;
    let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
    Some(String::from_utf8_lossy(&raw[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, io::Cursor};

    #[test]
    fn finds_the_loader_of_a_dynamic_program_and_none_elsewhere() {
        if let Ok(mut shell) = File::open("/bin/bash") {
            assert!(interpreter(&mut shell).unwrap().contains("ld-"));
        }
        assert_eq!(interpreter(&mut Cursor::new(b"#!/bin/sh\n".to_vec())), None);
        assert_eq!(interpreter(&mut Cursor::new(b"\x7fELF\x02\x01 and then nothing".to_vec())), None);
    }

    #[test]
    fn absurd_offsets_end_the_search_and_nothing_else() {
        let mut header = vec![0xff; 64];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        assert_eq!(interpreter(&mut Cursor::new(header)), None);
    }
}

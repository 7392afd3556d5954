//! Archives made byte by byte, because no honest tool writes the ones we need.
#![allow(dead_code)]

use tar::{Builder, EntryType, Header};

pub struct Tar {
    builder: Builder<Vec<u8>>,
}

impl Tar {
    pub fn new() -> Tar {
        Tar { builder: Builder::new(Vec::new()) }
    }

    /// An entry with exactly this name: no check, no normalisation.
    pub fn entry(mut self, kind: EntryType, name: &[u8], link: &[u8], content: &[u8]) -> Tar {
        let header = header(kind, name, link, content.len());
        self.builder.append(&header, content).unwrap();
        self
    }

    /// An entry whose header says what `change` makes of it.
    pub fn odd(mut self, kind: EntryType, name: &str, content: &[u8], change: impl Fn(&mut Header)) -> Tar {
        let mut header = header(kind, name.as_bytes(), b"", content.len());
        change(&mut header);
        header.set_cksum();
        self.builder.append(&header, content).unwrap();
        self
    }

    pub fn file(self, name: &str, content: &str) -> Tar {
        self.entry(EntryType::Regular, name.as_bytes(), b"", content.as_bytes())
    }

    pub fn directory(self, name: &str) -> Tar {
        self.entry(EntryType::Directory, name.as_bytes(), b"", b"")
    }

    pub fn symlink(self, name: &str, target: &str) -> Tar {
        self.entry(EntryType::Symlink, name.as_bytes(), target.as_bytes(), b"")
    }

    pub fn hard_link(self, name: &str, target: &str) -> Tar {
        self.entry(EntryType::Link, name.as_bytes(), target.as_bytes(), b"")
    }

    pub fn pax(mut self, pairs: &[(&str, &[u8])]) -> Tar {
        self.builder.append_pax_extensions(pairs.iter().copied()).unwrap();
        self
    }

    /// GNU's long name for the next entry.
    pub fn long(self, name: &str) -> Tar {
        self.entry(EntryType::GNULongName, b"././@LongLink", b"", format!("{name}\0").as_bytes())
    }

    /// GNU's long target for the next entry, a link.
    pub fn long_link(self, target: &str) -> Tar {
        self.entry(EntryType::GNULongLink, b"././@LongLink", b"", format!("{target}\0").as_bytes())
    }

    /// PAX records for all entries that follow.
    pub fn global(self, pairs: &[(&str, &[u8])]) -> Tar {
        let records = Tar::new().pax(pairs).unfinished();
        let end = records.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        self.entry(EntryType::XGlobalHeader, b"global", b"", &records[512..end])
    }

    /// Whole blocks, as they are.
    pub fn append(mut self, blocks: &[u8]) -> Tar {
        self.builder.get_mut().extend_from_slice(blocks);
        self
    }

    /// The archive with its closing zeros.
    pub fn bytes(self) -> Vec<u8> {
        self.builder.into_inner().unwrap()
    }

    /// The archive without them.
    pub fn unfinished(self) -> Vec<u8> {
        let mut bytes = self.bytes();
        bytes.truncate(bytes.len() - 1024);
        bytes
    }
}

fn header(kind: EntryType, name: &[u8], link: &[u8], size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_size(size as u64);
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
    header.set_cksum();
    header
}

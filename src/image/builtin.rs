//! The built-in image: rubber's own binary and nothing to download.

use super::{
    elf,
    import::{self, Origin},
    name::Name,
    store::Store,
};
use anyhow::{Context, Result};
use oci_spec::image::ImageConfiguration;
use std::{
    collections::{BTreeSet, HashMap},
    ffi::OsStr,
    fs::{self, File},
    io::{Seek, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use tar::{Builder, EntryType, Header};

pub const NAME: &str = "rubber";

/// Which binary the image was made from. A label, because looking must cost no more than one stat(2).
const STAMP: &str = "rubber.binary";

const SELF: &str = "/proc/self/exe";
const PASSWD: &str = "root:x:0:0:root:/:/bin/rubber\nguest:x:1000:1000:guest:/:/bin/rubber\n\
                      nobody:x:65534:65534:nobody:/:/bin/rubber\n";
const GROUP: &str = "root:x:0:\nguest:x:1000:\nnogroup:x:65534:\n";

/// The built-in image of *this* binary: the stored one, or made anew when the binary has changed.
pub fn resolve(store: &Store) -> Result<ImageConfiguration> {
    let name = Name::parse(NAME)?;
    let stamp = stamp()?;
    let current = |config: &ImageConfiguration| config.get_config_annotation(STAMP) == Some(&stamp);
    if let Some(config) = store.image(&name)?.filter(current) {
        return Ok(config);
    }
    let locked = store.lock()?;
    // Somebody else may have made it while we waited.
    if let Some(config) = store.image(&name)?.filter(current) {
        return Ok(config);
    }
    let making = || {
        let mut tar = tempfile::tempfile_in(store.root().join("tmp"))?;
        write(&mut tar).context("cannot make the built-in image from /proc/self/exe")?;
        tar.rewind()?;
        let origin = Origin {
            command: "/bin/rubber portrait",
            created_by: format!("rubber {}", env!("CARGO_PKG_VERSION")),
            labels: HashMap::from([(STAMP.to_owned(), stamp.clone())]),
        };
        Ok(import::archive(&locked, &name, tar, origin)?.config)
    };
    making().map_err(|error| store.explain(error))
}

/// Device, inode, size and time of our binary: what a new build cannot leave all alike.
fn stamp() -> Result<String> {
    let found = fs::metadata(SELF).context("cannot find our own binary: is /proc mounted?")?;
    let (seconds, nanoseconds) = (found.mtime(), found.mtime_nsec());
    Ok(format!("{}:{}:{}:{seconds}.{nanoseconds:09}", found.dev(), found.ino(), found.size()))
}

fn write(out: impl Write) -> Result<()> {
    let mut tar = Tree { tar: Builder::new(out) };
    for (path, mode) in
        [("./", 0o755), ("bin/", 0o755), ("dev/", 0o755), ("etc/", 0o755), ("proc/", 0o555), ("sys/", 0o555)]
    {
        tar.add(path, EntryType::Directory, mode, &[])?;
    }
    tar.add("tmp/", EntryType::Directory, 0o1777, &[])?;
    tar.add("etc/passwd", EntryType::Regular, 0o644, PASSWD.as_bytes())?;
    tar.add("etc/group", EntryType::Regular, 0o644, GROUP.as_bytes())?;
    // A container gets its own over these: where they are there, none has to be made at every start.
    for path in ["etc/hosts", "etc/hostname", "etc/resolv.conf"] {
        tar.add(path, EntryType::Regular, 0o644, &[])?;
    }
    tar.file(Path::new("/bin/rubber"), Path::new(SELF))?;
    // Linked dynamically (by `cargo install`, say), the binary needs its loader and what that has mapped for it.
    if let Some(loader) = elf::interpreter(&mut File::open(SELF)?) {
        tar.file(Path::new(&loader), Path::new(&loader))?;
        for library in mapped_files()? {
            tar.file(&library, &library)?;
            for link in names_of(&library) {
                tar.link(&link, &library)?;
            }
        }
    }
    tar.tar.into_inner()?;
    Ok(())
}

/// The files that are mapped into this process, apart from its own binary; see proc_pid_maps(5).
fn mapped_files() -> Result<BTreeSet<PathBuf>> {
    let own = fs::read_link(SELF)?;
    let maps = fs::read_to_string("/proc/self/maps").context("cannot read /proc/self/maps")?;
    let paths = maps.lines().filter_map(|line| line.find('/').map(|start| PathBuf::from(&line[start..])));
    Ok(paths.filter(|path| *path != own && path.is_file()).collect())
}

/// The links beside a library that lead to it: the loader looks for libc.so.6, the file may be libc-2.31.so.
fn names_of(library: &Path) -> Vec<PathBuf> {
    let entries = library.parent().and_then(|directory| fs::read_dir(directory).ok());
    let links = entries.into_iter().flatten().flatten().filter(|entry| {
        entry.file_type().is_ok_and(|kind| kind.is_symlink())
            && fs::canonicalize(entry.path()).is_ok_and(|real| real == library)
    });
    links.map(|entry| entry.path()).collect()
}

struct Tree<W: Write> {
    tar: Builder<W>,
}

impl<W: Write> Tree<W> {
    fn add(&mut self, path: &str, kind: EntryType, mode: u32, content: &[u8]) -> Result<()> {
        let mut header = header(kind, mode);
        header.set_size(content.len() as u64);
        Ok(self.tar.append_data(&mut header, path, content)?)
    }

    fn file(&mut self, path: &Path, from: &Path) -> Result<()> {
        let file = File::open(from).with_context(|| format!("cannot open {from:?}"))?;
        let mut header = header(EntryType::Regular, 0o755);
        header.set_size(file.metadata()?.len());
        Ok(self.tar.append_data(&mut header, relative(path), file)?)
    }

    fn link(&mut self, path: &Path, to: &Path) -> Result<()> {
        let target = to.file_name().unwrap_or(OsStr::new("."));
        Ok(self.tar.append_link(&mut header(EntryType::Symlink, 0o777), relative(path), target)?)
    }
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// Everything is root's and of one date, so that the same binary makes the same layer.
fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

//! Packs the sources into the binary: `rubber learn init` needs nothing else to write a checkout.
//!
//! Without a crate, which would have to be built for this alone: a tar header is quickly written, and
//! gzip(1) is on every machine.

#[path = "src/learn/pristine.rs"]
mod pristine;

use std::{
    env,
    error::Error,
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

/// All that is ours, whatever else lies around in a checkout.
const SOURCES: &[&str] = &[
    ".cargo",
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "benches",
    "build.rs",
    "docs",
    "images",
    "rustfmt.toml",
    "src",
    "tests",
    "workshop",
];

fn main() -> Result<(), Box<dyn Error>> {
    // Says also that nothing else is looked at, where nothing follows.
    watch("build.rs");
    if env::var_os("CARGO_FEATURE_EXERCISE").is_some() {
        return Ok(());
    }
    let mut archive = Vec::new();
    for name in files()? {
        if name.starts_with("workshop/")
            && ["/exercise.rs", "/config.json"].iter().any(|exercise| name.ends_with(exercise))
        {
            // A learner may be at work in it, which is no reason to build this again.
            if let Some(text) = exercise(&name) {
                append(&mut archive, &name, 0o644, &text);
            }
        } else if let Ok(about) = fs::metadata(&name) {
            watch(&name);
            let mut text = fs::read(&name)?;
            if name == ".cargo/config.toml" {
                // Who gets our sources does not get our crates.
                let own = String::from_utf8(text)?;
                text = own.split(pristine::VENDORED).next().unwrap_or_default().into();
            }
            append(&mut archive, &name, about.mode() & 0o755, &text);
        }
    }
    SOURCES.iter().filter(|name| **name != "workshop").for_each(|name| watch(name));
    watch_commits();
    archive.resize(archive.len() + 1024, 0);
    pack(&PathBuf::from(env::var("OUT_DIR")?).join("sources.tar"), &archive)
}

/// As it came. None if somebody has solved it since, and nothing tells how it was.
fn exercise(name: &str) -> Option<Vec<u8>> {
    let here = Path::new(".");
    let own = fs::read(name).ok().filter(|text| pristine::is_whole(here, name, text));
    pristine::exercise(here, name).or(own)
}

/// They decide which exercises are packed.
fn watch_commits() {
    let log = Command::new("git").args(["rev-parse", "--git-path", "logs/HEAD"]).output();
    let log = log.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    if let Some(log) = log.ok().filter(|log| Path::new(log).is_file()) {
        watch(&log);
    }
}

/// A file, or a directory with all in it.
fn watch(name: &str) {
    println!("cargo::rerun-if-changed={name}");
}

/// As ustar has it (tar(5)).
fn append(archive: &mut Vec<u8>, name: &str, mode: u32, text: &[u8]) {
    let mut header = [0; 512];
    let mut put = |at: usize, field: &str| header[at..][..field.len()].copy_from_slice(field.as_bytes());
    put(0, name);
    // Mode, user, group, size, date, and blanks for the sum.
    put(100, &format!("{mode:07o}\0{0:07o}\0{0:07o}\0{1:011o}\0{0:011o}\0        0", 0, text.len()));
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    archive.extend_from_slice(&header);
    archive.extend_from_slice(text);
    archive.resize(archive.len().next_multiple_of(512), 0);
}

/// Leaves `file`.gz.
fn pack(file: &Path, archive: &[u8]) -> Result<(), Box<dyn Error>> {
    fs::write(file, archive)?;
    let mut gzip = Command::new("gzip");
    gzip.args(["-9", "-n", "-c"]).arg(file).stdout(File::create(file.with_extension("tar.gz"))?);
    match gzip.status() {
        Ok(ended) if ended.success() => Ok(fs::remove_file(file)?),
        Ok(ended) => Err(format!("cannot pack the sources: gzip: {ended}").into()),
        Err(error) => Err(format!("cannot pack the sources: gzip: {error}").into()),
    }
}

/// What git would have of them; without git, all there is.
fn files() -> Result<Vec<String>, Box<dyn Error>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]).args(SOURCES);
    let mut files = Vec::new();
    match git.output() {
        Ok(listed) if Path::new(".git").exists() && listed.status.success() => {
            files.extend(String::from_utf8(listed.stdout)?.split_terminator('\0').map(str::to_owned));
        }
        _ => SOURCES.iter().try_for_each(|name| below(Path::new(name), &mut files))?,
    }
    files.sort();
    Ok(files)
}

fn below(path: &Path, files: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    if path.is_dir() {
        return fs::read_dir(path)?.try_for_each(|entry| below(&entry?.path(), files));
    }
    let name = path.to_str().ok_or("a name that is not UTF-8")?;
    // `rubber learn` keeps copies.
    if !name.contains("/exercise.rs.") && !name.ends_with("/.exercise.rs") {
        files.push(name.to_owned());
    }
    Ok(())
}

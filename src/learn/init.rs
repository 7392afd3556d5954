//! `rubber learn init`: a checkout out of this binary, for who has nothing else.

use super::{
    Chapter, Checkout, editor,
    pristine::{self, VENDORED},
};
use crate::{Exit, narrate, show::columns};
use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use std::{
    env,
    ffi::OsString,
    fs,
    io::{ErrorKind, Read},
    path::Path,
    process::{Command, Stdio},
};
use tar::Archive;

/// What the build script packed.
const SOURCES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sources.tar.gz"));

/// Whether the crates are put beside the sources.
pub enum Crates {
    /// By cargo, when it builds.
    Fetched,
    Vendored,
}

const SETTINGS: &[&str] = &[
    "user.name=rubber",
    "user.email=rubber@localhost",
    "commit.gpgsign=false",
    "core.autocrlf=false",
    "core.excludesFile=/dev/null",
    "core.hooksPath=/dev/null",
    "init.defaultBranch=main",
];

/// Writes a checkout into `dir`, which is new or empty, and returns what there is to say of it.
pub fn init(dir: &Path, crates: Crates) -> Result<String> {
    let cargo = Command::new(cargo()).arg("--version").output();
    let has_cargo = cargo.is_ok_and(|output| output.status.success());
    if matches!(crates, Crates::Vendored) && !has_cargo {
        bail!(Exit(3, "cargo fetches the crates, and is not here: install Rust (https://rustup.rs)".into()));
    }
    make(dir)?;
    let mut text = unpack(dir)?;
    let vendored = match crates {
        Crates::Vendored => vendor(dir),
        Crates::Fetched => Ok(String::new()),
    };
    // Whatever became of the crates: this is where a learner begins, and can come back to.
    text += match commit(dir) {
        true => "  git          one commit, to compare with\n",
        false => keep_exercises(dir)?,
    };
    text += &vendored?;
    editor::tell(&Checkout::at(dir))?;
    if !has_cargo {
        text += "  cargo        is not here, and builds your layers: install Rust (https://rustup.rs)\n";
    }
    Ok(text + &format!("  next         cd {} && {} learn\n", dir.display(), our_name()))
}

/// The chapter's exercise as it came: with the checkout, or in this binary.
pub fn original(checkout: &Checkout, chapter: &Chapter) -> Result<Vec<u8>> {
    let wanted = checkout.short(&chapter.exercise());
    if let Some(text) = pristine::exercise(checkout.root(), &wanted) {
        return Ok(text);
    }
    for entry in sources().entries()? {
        let mut entry = entry?;
        if *entry.path_bytes() == *wanted.as_bytes() {
            let mut text = Vec::new();
            entry.read_to_end(&mut text)?;
            return Ok(text);
        }
    }
    bail!(Exit(3, format!("neither git nor this rubber has {wanted} as it came: get rubber's sources again")))
}

fn sources() -> Archive<GzDecoder<&'static [u8]>> {
    Archive::new(GzDecoder::new(SOURCES))
}

fn make(dir: &Path) -> Result<()> {
    let made = match fs::read_dir(dir).map(|entries| entries.count()) {
        Ok(0) => Ok(()),
        Ok(_) => bail!(Exit(2, format!("{} is not empty: name a new directory", dir.display()))),
        Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir_all(dir),
        Err(error) => Err(error),
    };
    made.map_err(|error| Exit(2, format!("cannot write into {}: {error}", dir.display())).into())
}

fn unpack(dir: &Path) -> Result<String> {
    let mut sources = sources();
    // By its date cargo sees what has changed.
    sources.set_preserve_mtime(false);
    for entry in sources.entries()? {
        let mut entry = entry?;
        let name = dir.join(entry.path()?);
        entry.unpack_in(dir).with_context(|| format!("cannot write {}", name.display()))?;
    }
    let chapters = Chapter::all(&Checkout::at(dir))?;
    if let Some(solved) = chapters.iter().find(|chapter| !chapter.exercise().exists()) {
        let why = "was solved where this rubber was built, and there was no git to tell how it had been";
        bail!(Exit(3, format!("{} {why}: use another rubber", solved.name())));
    }
    Ok(format!("{}   rubber's sources, and {} chapters to work through\n", dir.display(), chapters.len()))
}

/// Puts all crates of Cargo.lock beside the sources, out of cargo's cache or the network, and tells cargo to
/// look nowhere else.
fn vendor(dir: &Path) -> Result<String> {
    let mut cargo = Command::new(cargo());
    cargo.args(["vendor", "--locked", "--respect-source-config", "vendor"]).current_dir(dir);
    let cached = cargo.stdin(Stdio::null()).env("CARGO_NET_OFFLINE", "true").output()?;
    let told = match cached.status.success() {
        true => cached,
        false => {
            narrate::warn(format_args!("cargo fetches the crates ..."));
            // Its progress is for the learner to see.
            cargo.env_remove("CARGO_NET_OFFLINE").stderr(Stdio::inherit()).output()?
        }
    };
    if !told.status.success() {
        let again = "remove it, and try again where there is a network";
        bail!(Exit(
            3,
            format!("cargo vendor failed: {} is there without the crates: {again}", dir.display())
        ));
    }
    let config = dir.join(".cargo/config.toml");
    let text = fs::read_to_string(&config)? + VENDORED + &String::from_utf8(told.stdout)?;
    fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
    narrate::warn(format_args!("that is added to .cargo/config.toml"));
    let (crates, bytes) = (fs::read_dir(dir.join("vendor"))?.count(), size(&dir.join("vendor"))?);
    Ok(format!(
        "  vendor       {crates} crates, {}: no network is needed from now on\n",
        columns::bytes(bytes)
    ))
}

fn size(path: &Path) -> Result<u64> {
    let about = path.symlink_metadata()?;
    let below = if about.is_dir() { fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()? } else { vec![] };
    below.iter().try_fold(about.len(), |sum, entry| Ok(sum + size(&entry.path())?))
}

/// One commit, whoever its author is to git, and whatever they have configured.
fn commit(dir: &Path) -> bool {
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        for setting in SETTINGS {
            git.args(["-c", setting]);
        }
        for variable in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
            git.env_remove(variable);
        }
        git.args(words).current_dir(dir).output().is_ok_and(|output| output.status.success())
    };
    git(&["init", "--quiet"])
        && git(&["add", "--all"])
        && git(&["commit", "--quiet", "-m", "rubber as it came"])
}

/// For `rubber learn reset`, and for who builds rubber here and hands it on.
fn keep_exercises(dir: &Path) -> Result<&'static str> {
    for file in Chapter::all(&Checkout::at(dir))?.iter().map(Chapter::exercise) {
        let kept = pristine::kept(&file);
        fs::copy(&file, &kept).with_context(|| format!("cannot write {}", kept.display()))?;
    }
    Ok("  git          is not here; rubber learn works without\n")
}

fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or("cargo".into())
}

/// How the shell finds us: a binary that was only copied here has no other name than its path.
fn our_name() -> String {
    let own = env::current_exe().unwrap_or("rubber".into());
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|dir| dir.join("rubber")).find(|file| file.is_file());
    match found.and_then(|file| file.canonicalize().ok()) == Some(own.clone()) {
        true => "rubber".into(),
        false => own.display().to_string(),
    }
}

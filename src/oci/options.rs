//! The words behind a mount in a config.json: config.md, "Linux mount options".

use super::{
    idmap::{Shown, lines},
    mounts::{How, Mount, What},
};
use crate::sys::mounts::*;
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};

/// The word, and what it sets and clears.
const ATTRIBUTES: &[(&str, u64, u64)] = &[
    ("ro", RDONLY, 0),
    ("rw", 0, RDONLY),
    ("nosuid", NOSUID, 0),
    ("suid", 0, NOSUID),
    ("nodev", NODEV, 0),
    ("dev", 0, NODEV),
    ("noexec", NOEXEC, 0),
    ("exec", 0, NOEXEC),
    ("nodiratime", NODIRATIME, 0),
    ("diratime", 0, NODIRATIME),
    ("noatime", NOATIME, ATIME),
    ("atime", 0, ATIME),
    ("relatime", 0, ATIME),
    ("norelatime", 0, ATIME),
    ("strictatime", STRICTATIME, ATIME),
    ("nostrictatime", 0, ATIME),
    ("nosymfollow", NOSYMFOLLOW, 0),
    ("symfollow", 0, NOSYMFOLLOW),
];

const SPREADS: &[(&str, u64)] =
    &[("private", PRIVATE), ("slave", SLAVE), ("shared", SHARED), ("unbindable", UNBINDABLE)];

/// What is a filesystem's own affair, but has no value.
const FLAGS: &[&str] = &["sync", "dirsync", "lazytime", "mand"];

/// What the kernel does anyway.
const DEFAULTS: &[&str] = &["defaults", "async", "nolazytime", "nomand", "loud", "silent", "noiversion"];

pub fn mount(mount: &oci_spec::runtime::Mount, bundle: &Path) -> Result<Mount> {
    let target = Path::new("/").join(mount.destination());
    let parse = || {
        let mut read = Read::default();
        mount.options().iter().flatten().try_for_each(|word| read.word(word))?;
        let (uids, gids) = (lines(mount.uid_mappings()), lines(mount.gid_mappings()));
        ensure!(uids.is_empty() == gids.is_empty(), "uidMappings and gidMappings are given together");
        if !uids.is_empty() || read.how.shown.is_some() {
            let below = read.how.shown.as_ref().is_some_and(|shown| shown.below);
            read.how.shown = Some(Shown { uids, gids, below });
        }
        let source = mount.source().clone().unwrap_or_default();
        let fstype = mount.typ().clone().unwrap_or_default();
        let bind = || -> Result<PathBuf> {
            ensure!(!source.as_os_str().is_empty(), "a bind mount needs a source");
            Ok(bundle.join(&source))
        };
        ensure!(
            !(read.again && read.how.copies_up),
            "remount and tmpcopyup: what is mounted already gets no copy"
        );
        let what = match (read.bind, fstype.as_str()) {
            // Of what it has been, nothing is new but the options.
            _ if read.again => What::Again(read.own),
            (Some(Bind::All), _) => What::Tree(bind()?),
            (Some(Bind::One), _) | (None, "bind") => What::Bind(bind()?),
            (None, "") => bail!("it has neither a type nor the option bind"),
            (None, _) => What::New { fstype, source: text(&source)?, options: read.own },
        };
        Ok(Mount { what, target: target.clone(), how: read.how })
    };
    parse().with_context(|| format!("mounts, {target:?}"))
}

fn text(path: &Path) -> Result<String> {
    Ok(path.to_str().context("its source is not UTF-8")?.into())
}

#[derive(Default)]
struct Read {
    bind: Option<Bind>,
    again: bool,
    how: How,
    own: Vec<(String, Option<String>)>,
}

enum Bind {
    One,
    All,
}

impl Read {
    /// A later word has the last one.
    fn word(&mut self, word: &str) -> Result<()> {
        let below = word.strip_prefix('r').filter(|_| !["ro", "rw", "relatime", "rbind"].contains(&word));
        match word {
            "bind" => self.bind = Some(Bind::One),
            "rbind" => self.bind = Some(Bind::All),
            "tmpcopyup" => self.how.copies_up = true,
            "idmap" | "ridmap" => {
                self.how.shown = Some(Shown { below: word == "ridmap", ..Shown::default() });
            }
            "remount" => self.again = true,
            word if DEFAULTS.contains(&word) || word.is_empty() => {}
            word if FLAGS.contains(&word) => self.own.push((word.into(), None)),
            word if self.attribute(word) || self.spread(word) => {}
            _ if below.is_some_and(|word| self.attribute_below(word) || self.spread_below(word)) => {}
            word => self.own.push(match word.split_once('=') {
                // Of an SELinux label: for mount(2), where a comma would end it.
                Some((key, value)) if key.ends_with("context") => {
                    (key.into(), Some(value.trim_matches('"').into()))
                }
                Some((key, value)) => (key.into(), Some(value.into())),
                None => (word.into(), None),
            }),
        }
        Ok(())
    }

    fn attribute(&mut self, word: &str) -> bool {
        change(word, &mut self.how.set, &mut self.how.clear)
    }

    fn attribute_below(&mut self, word: &str) -> bool {
        change(word, &mut self.how.set_below, &mut self.how.clear_below)
    }

    fn spread(&mut self, word: &str) -> bool {
        let found = SPREADS.iter().find(|(name, _)| *name == word);
        self.how.spread = found.map(|(_, how)| *how).or(self.how.spread);
        found.is_some()
    }

    fn spread_below(&mut self, word: &str) -> bool {
        let found = SPREADS.iter().find(|(name, _)| *name == word);
        self.how.spread_below = found.map(|(_, how)| *how).or(self.how.spread_below);
        found.is_some()
    }
}

fn change(word: &str, set: &mut u64, clear: &mut u64) -> bool {
    let Some((_, sets, clears)) = ATTRIBUTES.iter().find(|(name, ..)| *name == word) else { return false };
    *set = *set & !clears | sets;
    *clear = *clear & !sets | clears;
    true
}

/// All words, for `features`.
pub fn known() -> Vec<String> {
    let attributes = ATTRIBUTES.iter().map(|(word, ..)| word.to_string());
    let below = ATTRIBUTES.iter().map(|(word, ..)| format!("r{word}"));
    let spreads = SPREADS.iter().flat_map(|(word, _)| [word.to_string(), format!("r{word}")]);
    let others = ["bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap"]
        .iter()
        .chain(FLAGS)
        .chain(DEFAULTS)
        .map(|word| word.to_string());
    let mut all: Vec<_> = attributes.chain(below).chain(spreads).chain(others).collect();
    all.sort();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Read {
        let mut read = Read::default();
        words.iter().for_each(|word| read.word(word).unwrap());
        read
    }

    #[test]
    fn the_last_word_counts() {
        let how = read(&["ro", "rw", "nosuid"]).how;
        assert_eq!((how.set, how.clear), (NOSUID, RDONLY));
    }

    #[test]
    fn an_r_in_front_means_all_below() {
        let how = read(&["rro", "rprivate"]).how;
        assert_eq!((how.set, how.set_below, how.spread, how.spread_below), (0, RDONLY, None, Some(PRIVATE)));
        let how = read(&["ro", "relatime", "private"]).how;
        assert_eq!((how.set, how.set_below, how.spread), (RDONLY, 0, Some(PRIVATE)));
    }

    #[test]
    fn what_is_no_word_of_ours_is_the_filesystems() {
        let own = read(&["size=64k", "newinstance"]).own;
        assert_eq!(own, [("size".into(), Some("64k".into())), ("newinstance".into(), None)]);
    }
}

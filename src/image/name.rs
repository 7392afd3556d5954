//! What an image may be called, and what was probably meant.

use anyhow::{Result, bail};

const LONGEST: usize = 200; // with `/` and `:` written as three bytes it must still be a file name

/// An image name that has been checked; `:latest` is implied and never part of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    pub fn parse(text: &str) -> Result<Name> {
        let short = text.strip_suffix(":latest").unwrap_or(text);
        let (path, tag) = match short.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (short, None),
        };
        let starts = |part: &str| part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let good_path = path.split('/').all(|part| starts(part) && part.bytes().all(plain))
            && !path.bytes().any(|byte| byte.is_ascii_uppercase());
        let good_tag =
            tag.is_none_or(|tag| !tag.is_empty() && !tag.starts_with(['.', '-']) && tag.bytes().all(plain));
        if !good_path || !good_tag || short.contains("..") || short.len() > LONGEST {
            bail!(
                "bad image name {text:?}: it is lower-case letters, digits and . _ - in parts separated by /, \
                 each beginning with a letter or digit, then at most one :tag, {LONGEST} bytes in all"
            );
        }
        Ok(Name(short.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One file name for each name: neither `/` nor `:` nor `%` can be in a file name otherwise.
    pub fn file_name(&self) -> String {
        format!("{}.json", self.0.replace('/', "%2f").replace(':', "%3a"))
    }

    /// The name that this file holds, `None` for a file that is not ours.
    pub fn from_file_name(file: &str) -> Option<Name> {
        let stem = file.strip_suffix(".json")?;
        Name::parse(&stem.replace("%2f", "/").replace("%3a", ":")).ok()
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

/// Those of `known` that differ from `name` in few letters or begin alike, for "did you mean".
pub fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let close = |other: &&str| {
        distance(name, other) <= 1 + name.len() / 4 || (name.len() >= 3 && other.starts_with(name))
    };
    known.filter(close).take(3).collect()
}

/// Letters to insert, delete or replace to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let cost = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_make_one_file_each() {
        for good in ["busybox", "library/ubuntu:22.04", "a", "x_y-z.w/v:Tag-1"] {
            let name = Name::parse(good).unwrap();
            assert_eq!(Name::from_file_name(&name.file_name()), Some(name.clone()), "{good}");
            assert!(!name.file_name().contains('/'));
        }
        assert_eq!(Name::parse("debian:latest").unwrap().as_str(), "debian");
        let long = "a".repeat(201);
        for bad in [
            "", ".", "..", "a..b", "a/../b", "/a", "a/", "a//b", "A", "-a", "a:", "a:b:c", "a b", "a\n", "ä",
            &long,
        ] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        assert_eq!(near("busibox", ["busybox", "debian"].into_iter()), ["busybox"]);
        assert_eq!(near("deb", ["busybox", "debian"].into_iter()), ["debian"]);
        assert!(near("ubuntu", ["busybox", "debian"].into_iter()).is_empty());
    }
}

//! How much may come out of an archive: a few kilobytes can stand for terabytes, and what it says of its own sizes
//! is not believed. Each limit has a variable that moves it, and is named where it is refused.

use anyhow::{Context, Result, bail};
use std::{env, fmt::Display, io};

pub const BYTES: &str = "RUBBER_MAX_UNPACKED";
pub const RATIO: &str = "RUBBER_MAX_RATIO";
pub const ENTRIES: &str = "RUBBER_MAX_ENTRIES";

/// A database's empty files are a few hundred megabytes of zeros: below this nobody is harmed by any ratio.
const GRACE: u64 = 1 << 30;

#[derive(Clone, Copy)]
pub struct Limits {
    /// What comes out of one archive or layer, before anything is unpacked from it.
    pub bytes: u64,
    /// How many times that may be more than what went in, once it is more than a gibibyte.
    pub ratio: u64,
    /// Files, directories and all else in one archive or layer.
    pub entries: u64,
}

impl Limits {
    pub fn of_environment() -> Result<Limits> {
        Ok(Limits {
            bytes: number(BYTES, 64 << 30)?,
            ratio: number(RATIO, 200)?,
            entries: number(ENTRIES, 2_000_000)?,
        })
    }

    /// Whether there may be `size` bytes, whatever they take.
    pub fn check_size(&self, size: u64) -> io::Result<()> {
        match size > self.bytes {
            true => Err(refused(format_args!("more than {} bytes come out of it", self.bytes), BYTES)),
            false => Ok(()),
        }
    }

    /// Whether `out` bytes may have come from `read`.
    pub fn check(&self, read: u64, out: u64) -> io::Result<()> {
        self.check_size(out)?;
        if out > GRACE.max(read.saturating_mul(self.ratio)) {
            let much = format_args!("it grows to more than {} times its size: a bomb", self.ratio);
            return Err(refused(much, RATIO));
        }
        Ok(())
    }
}

/// What stands in the way, and how it is moved.
pub fn refused(what: impl Display, variable: &str) -> io::Error {
    io::Error::other(format!("{what}; if that is meant to be, set {variable} higher"))
}

fn number(variable: &str, default: u64) -> Result<u64> {
    let Some(text) = env::var_os(variable) else { return Ok(default) };
    let text = text.to_string_lossy().to_lowercase();
    let digits = text.trim_end_matches(['k', 'm', 'g']);
    let unit = match &text[digits.len()..] {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => bail!("{variable}={text:?}: one of k, m and g at most, as in 20g"),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    number.with_context(|| format!("{variable}={text:?} is no number, as 1000 or 20g"))
}

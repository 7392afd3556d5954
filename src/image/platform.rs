//! What an image is made for: an operating system and a processor.

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::fmt;

/// In Go's words, as images use them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Platform {
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub architecture: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// `os/architecture[/variant]`; an architecture alone is Linux's.
    pub fn parse(text: &str) -> Result<Platform> {
        let words: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match words[..] {
            [architecture] => ("linux", architecture, ""),
            [os, architecture] => (os, architecture, ""),
            [os, architecture, variant] => (os, architecture, variant),
            _ => bail!("bad platform {text:?}: it is as in linux/amd64 or linux/arm/v7"),
        };
        let is_word = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_good = !os.is_empty() && !architecture.is_empty() && words.iter().all(|word| is_word(word));
        ensure!(is_good, "bad platform {text:?}: it is as in linux/amd64 or linux/arm/v7");
        let architecture = match architecture {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Ok(Platform { os: os.into(), architecture: architecture.into(), variant: variant.into() })
    }

    /// This machine's.
    pub fn here() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", ""),
            "x86" => ("386", ""),
            "aarch64" => ("arm64", ""),
            "arm" => ("arm", "v7"),
            "powerpc64" if cfg!(target_endian = "little") => ("ppc64le", ""),
            "loongarch64" => ("loong64", ""),
            other => (other, ""),
        };
        Platform { os: "linux".into(), architecture: architecture.into(), variant: variant.into() }
    }

    /// Whether an image made for this one is made for `wanted`; what is not said fits.
    pub fn fits(&self, wanted: &Platform) -> bool {
        let same = |one: &str, other: &str| one.is_empty() || one == other;
        same(&self.os, &wanted.os) && same(&self.architecture, &wanted.architecture)
    }

    /// How far below `wanted` it is: 0 is just that, `None` would not run.
    pub fn rank(&self, wanted: &Platform) -> Option<u32> {
        if self.os != wanted.os || self.architecture != wanted.architecture {
            return None;
        }
        wanted.version()?.checked_sub(self.version()?)
    }

    /// As in `v7`; each runs what was made for those before it.
    fn version(&self) -> Option<u32> {
        match (self.variant.as_str(), self.architecture.as_str()) {
            ("", "arm64") => Some(8),
            ("", "arm") => Some(7),
            ("", _) => Some(1),
            (variant, _) => variant.strip_prefix('v')?.parse().ok(),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

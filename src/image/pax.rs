//! PAX records, by which an archive says what has no room in a member's header: pax(1p), "pax Extended Header".

use anyhow::{Context, Result, bail, ensure};
use nix::sys::time::TimeSpec;

/// What PAX records say of the next member.
#[derive(Default)]
pub struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<i64>,
    pub owner: (Option<i64>, Option<i64>),
    pub mtime: Option<TimeSpec>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Pax {
    pub fn parse(bytes: &[u8]) -> Result<Pax> {
        let mut pax = Pax::default();
        for (key, value) in records(bytes)? {
            let number = || {
                let text = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
                text.with_context(|| format!("bad PAX {}", String::from_utf8_lossy(key)))
            };
            match key {
                // An empty value takes an earlier one back.
                _ if value.is_empty() => (),
                b"path" => pax.path = Some(value.to_vec()),
                b"linkpath" => pax.link = Some(value.to_vec()),
                b"size" => pax.size = Some(number()?),
                b"uid" => pax.owner.0 = Some(number()?),
                b"gid" => pax.owner.1 = Some(number()?),
                b"mtime" => pax.mtime = Some(time(value).context("bad PAX mtime")?),
                _ if key.starts_with(b"GNU.sparse.") => {
                    bail!("a sparse file in PAX format cannot be read: make the archive without tar --sparse")
                }
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        pax.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        Ok(pax)
    }
}

/// Records of the form `LENGTH KEY=VALUE\n`. Only the length says where one ends: a value may have any byte in it.
fn records(mut bytes: &[u8]) -> Result<Vec<(&[u8], &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let record = || {
            let space = bytes.iter().take(8).position(|byte| *byte == b' ')?;
            let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
            let text = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
            let equals = text.iter().position(|byte| *byte == b'=')?;
            Some((&text[..equals], &text[equals + 1..], length))
        };
        let (key, value, length) = record().context("bad PAX header")?;
        records.push((key, value));
        bytes = &bytes[length..];
    }
    Ok(records)
}

/// Most readers pass over what a header says of all members, and some obey it.
pub fn global(bytes: &[u8]) -> Result<()> {
    for (key, _) in records(bytes)? {
        let changes = matches!(key, b"path" | b"linkpath" | b"size") || key.starts_with(b"GNU.sparse.");
        ensure!(
            !changes,
            "a global PAX header with a {}: some readers obey it",
            String::from_utf8_lossy(key)
        );
    }
    Ok(())
}

/// Seconds with an optional fraction, as PAX writes times.
fn time(text: &[u8]) -> Option<TimeSpec> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let nanoseconds: i64 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    let whole: i64 = seconds.parse().ok()?;
    Some(match seconds.starts_with('-') && nanoseconds > 0 {
        true => TimeSpec::new(whole.checked_sub(1)?, 1_000_000_000 - nanoseconds),
        false => TimeSpec::new(whole, nanoseconds),
    })
}

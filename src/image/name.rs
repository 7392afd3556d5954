//! What an image is called, here and in a registry, and what was probably meant.

use anyhow::{Result, bail};

/// With `/` and `:` written as three bytes, and `.json` behind it, it must still be a file name.
const LONGEST: usize = 255;

/// Where an image comes from that names no registry, as docker has it.
const HUB: &str = "docker.io";
const OFFICIAL: &str = "library/";

/// An image's name as docker shows it, `[HOST[:PORT]/]PATH[:TAG|@DIGEST]`, checked. What is implied is never part of
/// it: `docker.io/library/busybox:latest` and `busybox` are one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    pub fn parse(text: &str) -> Result<Name> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        // A colon before the last slash is a port's.
        let tag_at = rest.rfind(':').filter(|at| !rest[*at..].contains('/'));
        let (whole, tag) = tag_at.map_or((rest, None), |at| (&rest[..at], Some(&rest[at + 1..])));
        let (host, path) = split(whole);
        let good_host = host.is_none_or(is_host);
        let good_tag = tag.is_none_or(is_tag);
        let good_digest = digest.is_none_or(is_digest);
        let name = Name::short(host, path, tag, digest);
        if !good_host || !is_path(path) || !good_tag || !good_digest || name.file_name().len() > LONGEST {
            bail!(
                "bad image name {text:?}: it is [HOST[:PORT]/]PATH[:TAG|@sha256:DIGEST], the path lower-case letters, \
                 digits and . _ - in parts separated by /, each beginning with a letter or digit, no longer than a \
                 file name can be"
            );
        }
        Ok(name)
    }

    fn short(host: Option<&str>, path: &str, tag: Option<&str>, digest: Option<&str>) -> Name {
        let host = host.map(str::to_ascii_lowercase);
        // Docker's own registry has had several names.
        let host = host.filter(|host| host != HUB && host != "index.docker.io");
        let single = path.strip_prefix(OFFICIAL).filter(|name| host.is_none() && !name.contains('/'));
        let mut name = host.map_or(String::new(), |host| host + "/") + single.unwrap_or(path);
        match (tag, digest) {
            // A digest says which one, whatever the tag means by now.
            (_, Some(digest)) => name = name + "@" + digest,
            (Some(tag), None) if tag != "latest" => name = name + ":" + tag,
            _ => {}
        }
        Name(name)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The registry it comes from, `HOST[:PORT]`.
    pub fn host(&self) -> &str {
        split(&self.0).0.unwrap_or(HUB)
    }

    /// What that registry calls it.
    pub fn repository(&self) -> String {
        let (host, path) = split(self.untagged());
        match host.is_none() && !path.contains('/') {
            true => OFFICIAL.to_owned() + path,
            false => path.to_owned(),
        }
    }

    /// Which one of the repository's images: a digest or a tag.
    pub fn reference(&self) -> &str {
        self.0.get(self.untagged().len() + 1..).unwrap_or("latest")
    }

    pub fn digest(&self) -> Option<&str> {
        self.0.split_once('@').map(|(_, digest)| digest)
    }

    fn untagged(&self) -> &str {
        let whole = self.0.split('@').next().unwrap_or(&self.0);
        let tag_at = whole.rfind(':').filter(|at| !whole[*at..].contains('/'));
        tag_at.map_or(whole, |at| &whole[..at])
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

/// A first part is a host when no path could look like it, as docker decides.
fn split(whole: &str) -> (Option<&str>, &str) {
    match whole.split_once('/') {
        Some((host, path)) if host == "localhost" || host.contains(['.', ':', '[']) => (Some(host), path),
        _ => (None, whole),
    }
}

fn is_host(host: &str) -> bool {
    let port_at = host.rfind(':').filter(|at| !host[*at..].contains(']'));
    let (name, port) = port_at.map_or((host, None), |at| (&host[..at], Some(&host[at + 1..])));
    let good_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let good_name = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(|part| {
            let inner = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            inner && !part.is_empty() && !part.starts_with('-') && !part.ends_with('-')
        }),
    };
    good_port && good_name
}

fn is_path(path: &str) -> bool {
    let starts = |part: &str| part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let good = path.split('/').all(|part| starts(part) && part.bytes().all(plain));
    good && !path.bytes().any(|byte| byte.is_ascii_uppercase()) && !path.contains("..")
}

fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(plain)
        && !tag.contains("..")
}

fn is_digest(digest: &str) -> bool {
    let hex = digest.strip_prefix("sha256:").unwrap_or_default();
    hex.len() == 64 && hex.bytes().all(|byte| b"0123456789abcdef".contains(&byte))
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

/// Those of `known` that differ from `name` in few letters or begin alike, the nearest first, for "did you mean".
pub fn near<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let far = |other: &&str| distance(name, other);
    let close =
        |other: &&str| far(other) <= 1 + name.len() / 4 || (name.len() >= 3 && other.starts_with(name));
    let mut near: Vec<_> = known.filter(close).collect();
    near.sort_by_key(far);
    near.truncate(3);
    near
}

/// Letters to insert, delete or replace, or neighbours to swap, to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    // between[i][j]: the first i letters of one and the first j of the other.
    let mut between = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            between[i][j] = if i == 0 || j == 0 { i + j } else { nearest_way(a, b, &between, i, j) };
        }
    }
    between[a.len()][b.len()]
}

fn nearest_way(a: &[u8], b: &[u8], between: &[Vec<usize>], i: usize, j: usize) -> usize {
    let replaced = between[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
    let best = replaced.min(between[i - 1][j] + 1).min(between[i][j - 1] + 1);
    let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
    if swapped { best.min(between[i - 2][j - 2] + 1) } else { best }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_make_one_file_each() {
        let digest = format!("debian@sha256:{}", "0f".repeat(32));
        for good in [
            "busybox",
            "other/ubuntu:22.04",
            "a",
            "w/x_y-z.v:Tag-1",
            "localhost:5000/a:b",
            "[::1]:5000/a",
            &digest,
        ] {
            let name = Name::parse(good).unwrap();
            assert_eq!(name.as_str(), good);
            assert_eq!(Name::from_file_name(&name.file_name()), Some(name.clone()), "{good}");
            assert!(!name.file_name().contains('/'));
        }
        let long = "a".repeat(251);
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            "a/../b",
            "/a",
            "a/",
            "a//b",
            "A",
            "-a",
            "a:",
            "a:b:c",
            "a b",
            "a\n",
            "ä",
            "a@",
            "a@sha256:0",
            "host:0/a",
            "host:70000/a",
            "host:x/a",
            "-host.de/a",
            "a..b/c",
            "[::g]/a",
            "localhost/",
            &long,
        ] {
            assert!(Name::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_implied_is_left_out_and_can_be_told() {
        let hex = "0f".repeat(32);
        let by_digest = format!("quay.io:443/team/app:v1@sha256:{hex}");
        for (typed, short, host, repository, reference) in [
            ("debian:latest", "debian", "docker.io", "library/debian", "latest"),
            ("docker.io/library/busybox:latest", "busybox", "docker.io", "library/busybox", "latest"),
            ("index.docker.io/busybox:1.36", "busybox:1.36", "docker.io", "library/busybox", "1.36"),
            ("library/busybox", "busybox", "docker.io", "library/busybox", "latest"),
            ("library/of/mine", "library/of/mine", "docker.io", "library/of/mine", "latest"),
            ("docker.io/me/app", "me/app", "docker.io", "me/app", "latest"),
            (
                "LOCALHOST:5000/library/app:latest",
                "localhost:5000/library/app",
                "localhost:5000",
                "library/app",
                "latest",
            ),
            ("localhost/app", "localhost/app", "localhost", "app", "latest"),
            (&by_digest, &by_digest.replace(":v1", ""), "quay.io:443", "team/app", &format!("sha256:{hex}")),
        ] {
            let name = Name::parse(typed).unwrap();
            let told = (name.as_str(), name.host(), name.repository(), name.reference());
            assert_eq!(told, (short, host, repository.to_owned(), reference), "{typed}");
        }
    }

    #[test]
    fn a_slip_of_the_finger_is_recognised() {
        assert_eq!(near("busibox", ["busybox", "debian"].into_iter()), ["busybox"]);
        assert_eq!(near("deb", ["busybox", "debian"].into_iter()), ["debian"]);
        assert!(near("ubuntu", ["busybox", "debian"].into_iter()).is_empty());
        assert_eq!(near("wbe", ["job", "web"].into_iter()), ["web"]);
        assert_eq!(near("webb", ["weaver", "wel", "web"].into_iter()), ["web", "wel"]);
    }
}

//! Annotations `org.systemd.property.NAME`: what a config.json says to systemd of its scope. runc began with them
//! (its docs/systemd.md), and they are written as GLib's "GVariant Text Format" has it: `uint64 5`, `'text'`, `['a', 'b']`.

use super::systemd::Property;
use anyhow::{Context, Result, bail, ensure};
use oci_spec::runtime::Spec;

const PREFIX: &str = "org.systemd.property.";

/// A word for a type, and its D-Bus signature.
const TYPES: &[(&str, &str)] = &[
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
    ("signature", "g"),
];

/// All of them, in the words of busctl(1), in one order whatever the file's.
pub fn of(spec: &Spec) -> Result<Vec<Property>> {
    let given = spec.annotations().iter().flatten();
    let mut given: Vec<_> = given.filter_map(|(key, text)| Some((key.strip_prefix(PREFIX)?, text))).collect();
    given.sort();
    let one = |(name, text): &(&str, &String)| {
        property(name, text).with_context(|| format!("annotations, {PREFIX}{name} {text:?}"))
    };
    given.iter().map(one).collect()
}

fn property(name: &str, text: &str) -> Result<Property> {
    let is_name = name.len() > 2 && name.chars().all(|c| c.is_ascii_alphabetic());
    ensure!(is_name, "{name:?} is no name of a property");
    let mut text = Text(text);
    let value = text.value()?;
    text.end()?;
    // systemd's own files say seconds, of what its bus has microseconds of.
    let (name, value) = match name.strip_suffix("Sec").filter(|rest| !rest.ends_with('U')) {
        Some(rest) => (format!("{rest}USec"), value.microseconds()?),
        None => (name.to_owned(), value),
    };
    Ok([name, value.signature].into_iter().chain(value.words).collect())
}

struct Value {
    signature: String,
    words: Vec<String>,
}

impl Value {
    fn microseconds(self) -> Result<Value> {
        let seconds = match (self.signature.as_str(), &self.words[..]) {
            ("s" | "o" | "g" | "b", _) => None,
            (_, [number]) => number.parse::<f64>().ok().filter(|number| *number >= 0.0),
            _ => None,
        };
        let time = seconds.context("it has to be a number of seconds")? * 1e6;
        // Beyond what it can hold is the largest number, which systemd takes for forever.
        Ok(Value { signature: "t".into(), words: vec![(time as u64).to_string()] })
    }
}

/// What is not read yet.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    /// Of the type that is said before it, or else of the one that it looks like.
    fn value(&mut self) -> Result<Value> {
        let said = self.said()?;
        if self.0.starts_with('[') { self.array(said) } else { self.single(said) }
    }

    /// A type is said once: `uint64`, or as a signature, `@t`.
    fn said(&mut self) -> Result<Option<&'a str>> {
        self.0 = self.0.trim_start();
        if let Some(rest) = self.0.strip_prefix('@') {
            let (signature, rest) = rest.split_once(' ').context("there is no value behind the type")?;
            self.0 = rest.trim_start();
            return Ok(Some(signature));
        }
        let (word, rest) = self.0.split_at(self.word());
        let known = TYPES.iter().find(|(name, _)| *name == word);
        Ok(known.map(|(_, signature)| {
            self.0 = rest.trim_start();
            *signature
        }))
    }

    /// How many bytes of it are a word or a number.
    fn word(&self) -> usize {
        self.0.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c)).unwrap_or(self.0.len())
    }

    /// None of its elements is an array: so nothing here goes deeper than this.
    fn array(&mut self, said: Option<&str>) -> Result<Value> {
        let of = said.map(|signature| signature.strip_prefix('a').context("it is no array")).transpose()?;
        let (mut of, mut count, mut words) = (of.map(str::to_owned), 0, vec![]);
        self.0 = self.0[1..].trim_start();
        while !self.0.starts_with(']') {
            let said = self.said()?;
            ensure!(!self.0.starts_with('['), "an array in an array is not known here");
            let element = self.single(said.or(of.as_deref()))?;
            ensure!(of.is_none_or(|of| of == element.signature), "its elements are not of one type");
            of = Some(element.signature);
            words.extend(element.words);
            count += 1;
            self.0 = self.0.trim_start();
            match self.0.strip_prefix(',') {
                Some(rest) => self.0 = rest.trim_start(),
                None => ensure!(self.0.starts_with(']'), "the array has no end"),
            }
        }
        self.0 = &self.0[1..];
        let of = of.context("of what is this array? @as [] is one of strings")?;
        ensure!(TYPES.iter().any(|(_, known)| *known == of), "an array of the type {of} is not known here");
        words.insert(0, count.to_string());
        Ok(Value { signature: format!("a{of}"), words })
    }

    fn single(&mut self, said: Option<&str>) -> Result<Value> {
        match self.0.chars().next() {
            None => bail!("there is no value"),
            Some(quote @ ('\'' | '"')) => {
                let words = vec![self.quoted(quote)?];
                scalar(said.unwrap_or("s"), "sog", words)
            }
            Some(_) => self.bare(said),
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String> {
        let mut text = String::new();
        let mut chars = self.0.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.0 = &self.0[at + 1..];
                    return Ok(text);
                }
                '\\' => match chars.next().context("the text has no end")?.1 {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    c => text.push(c),
                },
                c => text.push(c),
            }
        }
        bail!("the text has no end")
    }

    fn bare(&mut self, said: Option<&str>) -> Result<Value> {
        let (word, rest) = self.0.split_at(self.word());
        self.0 = rest;
        let words = vec![word.to_owned()];
        match word {
            "true" | "false" => scalar(said.unwrap_or("b"), "b", words),
            _ if word.parse::<i128>().is_ok() => scalar(said.unwrap_or("i"), "ynqiuxtd", words),
            _ if word.parse::<f64>().is_ok() => scalar(said.unwrap_or("d"), "d", words),
            _ => bail!("{word:?} is no value: a text is in quotes"),
        }
    }

    fn end(&self) -> Result<()> {
        let rest = self.0.trim();
        ensure!(rest.is_empty(), "behind the value there is {rest:?}");
        Ok(())
    }
}

fn scalar(signature: &str, fit: &str, words: Vec<String>) -> Result<Value> {
    ensure!(signature.len() == 1 && fit.contains(signature), "{} is not of the type {signature}", words[0]);
    Ok(Value { signature: signature.into(), words })
}

#[cfg(test)]
mod tests {
    use super::property;

    #[test]
    fn values_are_in_busctls_words() {
        for (name, text, words) in [
            ("TimeoutStopUSec", "uint64 90000000", "TimeoutStopUSec t 90000000"),
            ("TimeoutStopSec", "1.5", "TimeoutStopUSec t 1500000"),
            ("TimeoutStopSec", "uint32 90", "TimeoutStopUSec t 90000000"),
            ("CollectMode", " 'inactive' ", "CollectMode s inactive"),
            ("Description", r#""it's \"a\" \\""#, r#"Description s it's "a" \"#),
            ("DefaultDependencies", "true", "DefaultDependencies b true"),
            ("After", "['a.service', \"b.service\"]", "After as 2 a.service b.service"),
            ("After", "@as []", "After as 0"),
            ("AllowedCPUs", "[byte 7, 1]", "AllowedCPUs ay 2 7 1"),
            ("IOWeight", "@t 20", "IOWeight t 20"),
        ] {
            assert_eq!(property(name, text).unwrap().join(" "), words);
        }
    }

    #[test]
    fn what_is_no_value_is_told() {
        for (name, text, why) in [
            ("Description", "a b", "a text is in quotes"),
            ("Description", "'a", "no end"),
            ("Description", "'a' 'b'", "behind the value"),
            ("Description", "", "no value"),
            ("After", "[]", "of what"),
            ("After", "['a'", "no end"),
            ("After", "['a', 1]", "not of the type s"),
            ("After", "[['a']]", "an array in an array"),
            ("After", &"[".repeat(1 << 20), "an array in an array"),
            ("After", &"@as [".repeat(1 << 20), "an array in an array"),
            ("IOWeight", &"byte ".repeat(1 << 20), "a text is in quotes"),
            ("AllowedCPUs", "[byte 7, int32 1]", "of one type"),
            ("After", "@a{sv} []", "of the type {sv}"),
            ("After", "@ 5", "not of the type"),
            ("IOWeight", "uint64 'a'", "not of the type t"),
            ("IOWeight", "@t", "no value"),
            ("IOWeight", "é", "a text is in quotes"),
            ("TimeoutStopSec", "'90'", "number of seconds"),
            ("TimeoutStopSec", "-1", "number of seconds"),
            ("x.y", "1", "no name"),
        ] {
            let error = property(name, text).unwrap_err().to_string();
            assert!(error.contains(why), "{name} {text}: {error}");
        }
    }
}

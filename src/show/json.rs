//! JSON, for a terminal and for programs alike. What a terminal would obey or not show is written as `\uXXXX`: the same
//! data to who parses it, and nothing but letters to who looks at it. (JSON itself asks for that up to U+001F only.)

use super::columns::is_hidden;
use anyhow::Result;
use serde::Serialize;
use std::fmt::Write;

/// In many lines, and the end of the last one.
pub fn pretty(value: &(impl Serialize + ?Sized)) -> Result<String> {
    Ok(plain(serde_json::to_string_pretty(value)? + "\n"))
}

/// In one line, without its end.
pub fn line(value: &(impl Serialize + ?Sized)) -> Result<String> {
    Ok(plain(serde_json::to_string(value)?))
}

/// Outside of its strings JSON has nothing hidden but ends of lines, and in them none of those.
fn plain(json: String) -> String {
    let hidden = |c: &char| is_hidden(*c) && *c != '\n';
    if !json.chars().any(|c| hidden(&c)) {
        return json;
    }
    let mut plain = String::with_capacity(json.len());
    for c in json.chars() {
        match hidden(&c) {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(plain, "\\u{unit:04x}");
            }),
            false => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_written_out_and_read_back() {
        let text = "a\u{7f}\u{9b}31m\u{202e}\u{2066}\u{200f}\u{2028}\u{feff}\u{e0041}\n\t\"é漢";
        let json = line(&text).unwrap();
        assert_eq!(json, r#""a\u007f\u009b31m\u202e\u2066\u200f\u2028\ufeff\udb40\udc41\n\t\"é漢""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        assert_eq!(pretty(&[text]).unwrap(), format!("[\n  {json}\n]\n"));
    }
}

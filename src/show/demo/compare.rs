//! Two sides of a beat: which facts differ, and whether all is as the beat promises.

use super::{beats::Beat, side::Side};
use serde_json::Value;

/// The line above what the look at the host has shown.
pub const HOST: &str = "host$";

/// A fact on both sides.
pub struct Row<'a> {
    pub name: &'a str,
    pub before: String,
    pub after: String,
    pub differs: bool,
}

/// The facts that the beat names, those that change first.
pub fn rows<'a>(beat: &'a Beat, before: &Side, after: &Side) -> Vec<Row<'a>> {
    let row = |name: &'a String| {
        let (old, new) = (told(&before.facts, name), told(&after.facts, name));
        // The number of a namespace is another one for each host; whose it is counts.
        let differs = if name.starts_with("ns.") { whose(&old) != whose(&new) } else { old != new };
        Row { name, before: old, after: new, differs }
    };
    beat.changes.iter().chain(&beat.stays).map(row).collect()
}

fn whose(told: &str) -> Option<&str> {
    told.split_once(' ').map(|(_, whose)| whose)
}

/// A fact as text.
fn told(facts: &Value, name: &str) -> String {
    let found = find(facts, name);
    match (name.split_once('.'), found) {
        (Some(("ns", kind)), Some(inode @ Value::Number(_))) => match facts["host"]["ns"][kind] == *inode {
            true => format!("{inode} host's"),
            false => format!("{inode} its own"),
        },
        (Some((_, what)), Some(Value::Number(bytes))) if what.starts_with("memory") => {
            super::super::columns::bytes(bytes.as_u64().unwrap_or(0))
        }
        (Some(("limits", _)), Some(Value::Null)) => "no limit".into(),
        (_, None | Some(Value::Null)) => "?".into(),
        (_, Some(value)) => plain(value),
    }
}

fn find<'a>(facts: &'a Value, name: &str) -> Option<&'a Value> {
    name.split('.').try_fold(facts, |value, word| value.get(word))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        value => value.to_string(),
    }
}

/// What one side shows: the script's words, those of the look at the host, and how it ended.
pub fn lines(side: &Side) -> Vec<String> {
    let plain = |said: &str| said.lines().map(|line| line.replace('\t', "  ")).collect::<Vec<_>>();
    let mut lines = plain(&side.said);
    if let Some(said) = &side.host_said {
        lines.push(HOST.to_owned());
        lines.extend(plain(said));
    }
    lines.extend(plain(&side.said_last));
    match side.code {
        Some(0) => {}
        Some(code @ 129..) => lines.push(format!("(exit code {code}: signal {})", code - 128)),
        Some(code) => lines.push(format!("(exit code {code})")),
        None => lines.push("(it did not end in time)".into()),
    }
    lines.extend(side.trouble.clone());
    lines
}

/// Each promise that was not kept, in one line.
pub fn broken(beat: &Beat, before: &Side, after: &Side) -> Vec<String> {
    let shown = [before, after].map(lines);
    let mut broken = Vec::new();
    for (stage, own, other, shown) in
        [("before", &beat.before, &beat.after, &shown[0]), ("after", &beat.after, &beat.before, &shown[1])]
    {
        let got = shown.join(" / ");
        if let Some(lost) = missing(own, shown) {
            broken.push(format!("{stage}: no {lost:?} in {got:?}"));
        }
        let common = |line: &&str| own != other && shown.iter().any(|shown| matches(line, shown));
        if let Some(line) = other.lines().find(|line| !own.lines().any(|own| own == *line) && common(line)) {
            broken.push(format!("{stage}: the other stage's {line:?} in {got:?}"));
        }
    }
    for row in rows(beat, before, after) {
        let Row { name, before, after, differs } = &row;
        let is_told = before != "?" || after != "?";
        match beat.changes.iter().any(|change| change == name) {
            true if !differs => broken.push(format!("{name} does not change: {before}, {after}")),
            false if *differs || !is_told => broken.push(format!("{name} changes: {before}, {after}")),
            _ => {}
        }
    }
    broken
}

/// The first line of `pattern` that does not come, in its place.
fn missing<'a>(pattern: &'a str, shown: &[String]) -> Option<&'a str> {
    let mut rest = shown.iter();
    pattern.lines().find(|line| !rest.any(|shown| matches(line, shown)))
}

/// Whether `line` has `pattern` in it. (The end of a number is no number.)
fn matches(pattern: &str, line: &str) -> bool {
    let is_number = pattern.starts_with("[<") || pattern.starts_with("[>");
    let is_inside =
        |start: usize| is_number && line[..start].ends_with(|c: char| c.is_ascii_digit() || c == '.');
    line.char_indices().any(|(start, _)| !is_inside(start) && begins(pattern, &line[start..]))
        || begins(pattern, "")
}

/// Whether `line` begins with `pattern`, where `[..]` is any text, and `[<1.5]` and `[>1.5]` are such numbers.
fn begins(pattern: &str, line: &str) -> bool {
    let Some((plain, (wanted, pattern))) =
        pattern.split_once('[').and_then(|(plain, rest)| Some((plain, rest.split_once(']')?)))
    else {
        return line.starts_with(pattern);
    };
    let Some(line) = line.strip_prefix(plain) else { return false };
    if wanted == ".." {
        return matches(pattern, line);
    }
    let end = line.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(line.len());
    let (number, limit) = (line[..end].parse::<f64>(), wanted[1..].parse::<f64>());
    let (Ok(number), Ok(limit)) = (number, limit) else { return false };
    let fits = if wanted.starts_with('<') { number < limit } else { number > limit };
    fits && begins(pattern, &line[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn any_text_may_stand_between_the_parts() {
        assert!(matches("a[..]c", "xabcx") && matches("abc", "xabcx") && !matches("c[..]a", "xabcx"));
        assert!(
            matches("0m[<0.4]s", "x 0m0.20s")
                && !matches("0m[<0.4]s", "0m1.98s")
                && matches("[>1]s", "0m1.98s")
        );
        assert!(!matches("[<100] ", "1956 .") && matches("[<100] ", "4 ."));
        assert!(!matches("m[>1]s", "0m0.98s") && matches("", "") && !matches("a", ""));
    }

    #[test]
    fn a_namespace_is_the_hosts_or_its_own() {
        let facts = json!({"ns": {"uts": 7}, "host": {"ns": {"uts": 7}}, "limits": {"cpus": null}});
        assert_eq!(told(&facts, "ns.uts"), "7 host's");
        assert_eq!((told(&facts, "limits.cpus"), told(&facts, "gone.it")), ("no limit".into(), "?".into()));
    }

    #[test]
    fn what_is_not_as_promised_is_told() {
        let beat: Beat = toml::from_str(
            r#"does = "d"
            run = "r"
            before = "bad"
            after = "good"
            changes = ["hostname"]
            notes = "n""#,
        )
        .unwrap();
        let side = |said: &str, name: &str| Side {
            said: said.into(),
            code: Some(0),
            facts: json!({"hostname": name}),
            ..Side::default()
        };
        assert!(broken(&beat, &side("bad\n", "a"), &side("good\n", "b")).is_empty());
        assert_eq!(broken(&beat, &side("bad\n", "a"), &side("bad\n", "a")).len(), 3);
    }
}

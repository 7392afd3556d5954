//! Comparisons over the facts, as chapter.toml writes them: `ns.uts != host.ns.uts`.
//!
//! A side is the path of a fact, a number, a quoted string, `true`, `false` or `null`. A fact that could
//! not be read proves nothing: every comparison with it is false, but the one with `null`.

use anyhow::{Result, bail};
use serde_json::Value;

const OPERATORS: &[&str] = &["==", "!=", "<", ">", "contains", "lacks"];

/// Whether `text` holds; an error is a mistake in the chapter, not in the exercise.
pub fn holds(text: &str, facts: &Value) -> Result<bool> {
    let padded = |operator: &&&str| text.contains(&format!(" {operator} "));
    let Some(operator) = OPERATORS.iter().find(padded) else {
        bail!("{text:?} is no comparison: it needs one of {}", OPERATORS.join(" "))
    };
    let (left, right) = text.split_once(&format!(" {operator} ")).unwrap_or_default();
    let (left, right) = (left.trim(), right.trim());
    let (a, b) = (side(left, facts)?, side(right, facts)?);
    if (a.is_null() || b.is_null()) && right != "null" {
        return Ok(false);
    }
    Ok(match *operator {
        "==" => equal(&a, &b),
        "!=" => !equal(&a, &b),
        "<" => a.as_f64() < b.as_f64(),
        ">" => a.as_f64() > b.as_f64(),
        "contains" => contains(&a, &b),
        _ => !contains(&a, &b),
    })
}

/// A text with `{path}` replaced by the facts named.
pub fn fill(text: &str, facts: &Value) -> String {
    let mut parts = text.split('{');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}') {
            Some((path, rest)) => filled += &(plain(find(path, facts)) + rest),
            None => filled += &format!("{{{part}"),
        }
    }
    filled
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "nothing".into(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(" "),
        value => value.to_string(),
    }
}

fn side(text: &str, facts: &Value) -> Result<Value> {
    if let Some(quoted) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return Ok(quoted.into());
    }
    match serde_json::from_str(text) {
        Ok(literal) => Ok(literal),
        Err(_) if text.contains([' ', '"']) => bail!("{text:?} is neither a fact nor a value"),
        Err(_) => Ok(find(text, facts).clone()),
    }
}

/// Each word between dots is a field, a place in a list, or the `name` or `target` of one of its items.
fn find<'a>(path: &str, facts: &'a Value) -> &'a Value {
    path.split('.').fold(facts, |value, word| match value {
        Value::Array(items) => {
            let called = |item: &&Value| item["name"] == word || item["target"] == word;
            let numbered = word.parse::<usize>().ok().and_then(|number| items.get(number));
            numbered.or_else(|| items.iter().find(called)).unwrap_or(&Value::Null)
        }
        value => value.get(word).unwrap_or(&Value::Null),
    })
}

/// 1 and 1.0 are the same number.
fn equal(a: &Value, b: &Value) -> bool {
    a == b || (a.is_number() && a.as_f64() == b.as_f64())
}

fn contains(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(items), b) => items.iter().any(|item| equal(item, b) || item["name"] == *b),
        (Value::Object(fields), Value::String(name)) => fields.contains_key(name),
        (Value::String(text), Value::String(part)) => text.contains(part.as_str()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sides_are_facts_numbers_and_quoted_words() {
        let facts = json!({"a": {"b": 1, "c": "x y"}, "links": [{"name": "lo", "up": true}], "n": 1.0});
        for (text, truth) in [
            ("a.b == 1", true),
            ("a.b == n", true),
            ("a.b != 1", false),
            ("a.c == \"x y\"", true),
            ("a.c contains \"x\"", true),
            ("a.c lacks \"z\"", true),
            ("links contains \"lo\"", true),
            ("links.lo.up == true", true),
            ("a.b < 2", true),
            ("a.b > 2", false),
        ] {
            assert_eq!(holds(text, &facts).unwrap(), truth, "{text}");
        }
        assert_eq!(fill("b is {a.b}, {gone}", &facts), "b is 1, nothing");
    }

    #[test]
    fn what_could_not_be_read_proves_nothing() {
        let facts = json!({"a": 1});
        for text in ["gone == a", "gone != a", "gone == other", "gone lacks \"x\"", "gone < 2"] {
            assert!(!holds(text, &facts).unwrap(), "{text}");
        }
        assert!(holds("gone == null", &facts).unwrap() && !holds("a == null", &facts).unwrap());
    }

    #[test]
    fn what_is_no_comparison_is_an_error() {
        for text in ["a", "a = b", "a b == c"] {
            assert!(holds(text, &json!({})).is_err(), "{text}");
        }
    }
}

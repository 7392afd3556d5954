//! What an image or a container says of itself reaches a terminal as text to read: no control, no mark that turns the
//! direction of what follows, and none that shows nothing.

use crate::{layout, place::Place};
use serde_json::json;

/// C1's "start of a command", a turn to the right, a mark of no width, a separator of lines, and two above 0xffff.
const HIDDEN: &str = "\u{9b}31m\u{202e}\u{200b}\u{2028}\u{2066}\u{e0041}\u{7f}\u{1b}[2J";

fn is_hidden(c: char) -> bool {
    c.is_control() && c != '\n' || HIDDEN.contains(c) && !"31m[2J".contains(c)
}

#[test]
fn what_is_hidden_is_shown_by_every_command_that_prints() {
    let place = Place::new();
    let label = format!("a{HIDDEN}b");
    let config = json!({
        "Labels": { format!("key{HIDDEN}"): label },
        "Env": [format!("WORD={label}")],
        "Cmd": ["/bin/sh", "-c", format!("touch \"/f$WORD\"; : {label}; sleep 300")],
    });
    layout::write(&place.path("layout"), "it", &[layout::busybox()], config);
    place.rubber(&["import", "layout", "it"]).good();
    place.rubber(&["run", "-d", "--name", "one", "it"]).good();
    let begin = std::time::Instant::now();
    while !place.rubber(&["diff", "one"]).out.contains("/f") {
        assert!(begin.elapsed().as_secs() < 20, "the file did not come");
    }
    let bad = format!("no{HIDDEN}thing");
    // A command that prints what others wrote has a line here, and one that fails tells the word that was wrong.
    let commands: &[&[&str]] = &[
        &["images"],
        &["images", "--format", "json"],
        &["inspect", "it"],
        &["image", "inspect", "it"],
        &["history", "--no-trunc", "it"],
        &["ps", "-a"],
        &["ps", "-a", "--format", "json"],
        &["inspect", "one"],
        &["diff", "one"],
        &["diff", "--format", "json", "one"],
        &["top", "one"],
        &["top", "--format", "json", "one"],
        &["stats", "--no-stream"],
        &["volume", "ls"],
        &["facts", "--format", "json"],
        &["run", "--dry-run", "--explain", "it"],
        &["run", "--dry-run", "--explain=json", "it"],
        &["run", "--dry-run", "--format", "oci", "it"],
        &["inspect", &bad],
        &["exec", "one", &bad],
        &["rmi", &bad],
        &["cp", &format!("one:/{bad}"), "there"],
    ];
    let mut told = Vec::new();
    for words in commands {
        let ended = place.rubber(words);
        for text in [&ended.out, &ended.err] {
            if text.chars().any(is_hidden) {
                told.push(format!("{words:?}: {text:?}"));
            }
        }
    }
    let label = place.rubber(&["inspect", "--type", "image", "it"]).good().out;
    place.rubber(&["rm", "-f", "one"]).good();
    assert!(told.is_empty(), "{}", told.join("\n"));
    // And it is said, to a program as it was.
    assert!(label.contains("\\u009b31m\\u202e\\u200b"), "{label}");
    let parsed: serde_json::Value = serde_json::from_str(&label).unwrap();
    assert!(parsed.to_string().contains("\u{9b}31m\u{202e}"), "{parsed}");
}

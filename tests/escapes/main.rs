//! Attacks from inside a container, each tried three times: as containers are by default (it must fail), with the
//! lock that stops it taken off (it must work, or it proves nothing), and in an ordinary user's container.
//!
//! What comes of it is the table in docs/attacks.md: RUBBER_REFRESH=1 writes there what was found.

#[path = "../lab/mod.rs"]
mod lab;
#[path = "../lab/pty.rs"]
mod pty;

#[allow(dead_code, unused_imports, unused_macros)]
#[path = "../oci/bundle.rs"]
mod bundle;

mod attacks;
mod keys;
mod links;
mod newcomers;
mod setuid;
mod stage;
mod table;
mod users;

use attacks::{ATTACKS, Attack, How};
use stage::Stage;
use std::{collections::BTreeMap, path::Path};

/// How each attack goes that can be tried here. A slow machine tries those that depend on the kernel most.
fn all(attempt: impl Fn(&Attack) -> Option<String>) -> BTreeMap<String, String> {
    let depends = ["disk", "keyring", "types", "userns", "forks", "memory", "writes"];
    let is_tried =
        |attack: &&Attack| !lab::few() || attack.needs != "/" || depends.contains(&attack.words[0]);
    let tried = ATTACKS.iter().filter(is_tried);
    tried.filter_map(|attack| Some((attack.name.to_owned(), attempt(attack)?))).collect()
}

#[test]
fn escapes_fail_by_default() {
    let Some(stage) = Stage::new() else { return };
    let found = all(|attack| stage.try_out(attack, attack.with));
    let worked: Vec<_> = found.iter().filter(|(_, result)| result.starts_with("got")).collect();
    assert!(worked.is_empty(), "{worked:#?}");
    assert!(found.len() > if lab::few() { 5 } else { 25 }, "{found:?}");
    table::holds(if lab::is_root() { table::DEFAULT } else { table::USER }, &found);
}

#[test]
fn escapes_work_without_their_lock() {
    let Some(stage) = Stage::new() else { return };
    if !lab::is_root() {
        return lab::skip_this(
            "the locks of an ordinary user's container are two deep: the user namespace is another",
        );
    }
    let found = all(|attack| match attack.how {
        How::Inside => stage.try_out(attack, attack.without),
        _ => stage.bare(attack),
    });
    let failed: Vec<_> = found.iter().filter(|(_, result)| !result.starts_with("got")).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    table::holds(table::WITHOUT, &found);
}

/// An attack that is not in the table would not be missed.
#[test]
fn escapes_are_all_in_the_table() {
    let names: Vec<_> = ATTACKS.iter().map(|attack| attack.name).collect();
    assert_eq!(table::names(), names);
    for attack in ATTACKS {
        assert_eq!(table::cell(attack.name, table::LOCK), attack.lock(), "{}", attack.name);
    }
}

/// Each hole with a number has a test that is there.
#[test]
fn escapes_with_a_number_have_a_test() {
    let text = table::text();
    let rows: Vec<_> = text.lines().filter(|line| line.starts_with("| CVE-")).collect();
    assert!(rows.len() > 5, "{rows:?}");
    for row in rows {
        let mut named = row.split('`').skip(1).step_by(2).collect::<Vec<_>>().into_iter().rev();
        let (Some(test), Some(file)) = (named.next(), named.next()) else { panic!("no test in {row}") };
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{row}: {error}"));
        let is_there = text.contains(&format!("fn {test}(")) || text.contains(&format!("[\"{test}\""));
        assert!(is_there, "{row}");
    }
}

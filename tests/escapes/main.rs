//! Attacks from inside a container, each tried many times: as containers are by default (it must fail), with the
//! lock that stops it taken off (it must work, or it proves nothing), by every other way into a container, and all of
//! this in an ordinary user's container.
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
mod ways;

use attacks::{ATTACKS, Attack, How};
use stage::Stage;
use std::{collections::BTreeMap, path::Path};
use ways::{Way, Ways};

/// A slow machine tries those that depend on the kernel most.
fn tried() -> impl Iterator<Item = &'static Attack> {
    let depends = ["disk", "keyring", "types", "userns", "forks", "memory", "writes"];
    ATTACKS
        .iter()
        .filter(move |attack| !lab::few() || attack.needs != "/" || depends.contains(&attack.words[0]))
}

/// How each attack goes that can be tried here.
fn all(attempt: impl Fn(&Attack) -> Option<String>) -> BTreeMap<String, String> {
    tried().filter_map(|attack| Some((attack.name.to_owned(), attempt(attack)?))).collect()
}

fn worked(found: &BTreeMap<String, String>) -> Vec<String> {
    assert!(found.len() > if lab::few() { 5 } else { 25 }, "{found:?}");
    let worked = found.iter().filter(|(_, result)| result.starts_with("got"));
    worked.map(|(name, result)| format!("{name}: {result}")).collect()
}

#[test]
fn escapes_fail_by_default() {
    let Some(stage) = Stage::new() else { return };
    let found = all(|attack| stage.try_out(attack, attack.with));
    assert_eq!(worked(&found), Vec::<String>::new());
    table::holds(if lab::is_root() { &table::DEFAULT } else { &table::USER }, &found);
}

#[test]
fn escapes_fail_by_every_other_way_in() {
    let Some(stage) = Stage::new() else { return };
    let ways = Ways::new(&stage, tried().collect());
    let found = Way::ALL.map(|way| ways.try_out(way));
    let worked = |(way, found): (Way, &BTreeMap<String, String>)| {
        let is_handed_in = |name: &str| tried().any(|attack| attack.name == name && way.hands_in(attack));
        let mut found = found.clone();
        found.retain(|name, _| !is_handed_in(name));
        worked(&found).into_iter().map(move |told| format!("{way:?}: {told}")).collect::<Vec<_>>()
    };
    let worked: Vec<_> = Way::ALL.into_iter().zip(&found).flat_map(worked).collect();
    assert_eq!(worked, Vec::<String>::new());
    for (way, found) in Way::ALL.into_iter().zip(&found) {
        table::holds(&table::of(way), found);
    }
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
    table::holds(&table::WITHOUT, &found);
}

/// An attack that is not in the table would not be missed.
#[test]
fn escapes_are_all_in_the_table() {
    let names: Vec<_> = ATTACKS.iter().map(|attack| attack.name).collect();
    for column in [table::DEFAULT, table::of(Way::Exec)] {
        assert_eq!(column.names(), names);
    }
    for attack in ATTACKS {
        assert_eq!(table::LOCK.cell(attack.name), attack.lock(), "{}", attack.name);
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

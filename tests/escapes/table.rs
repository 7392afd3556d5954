//! The table in docs/attacks.md, which says what the tests find.

use std::{collections::BTreeMap, fs, path::PathBuf};

/// Its columns.
pub const DEFAULT: usize = 1;
pub const USER: usize = 2;
pub const LOCK: usize = 3;
pub const WITHOUT: usize = 4;

fn file() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/docs/attacks.md").into()
}

pub fn text() -> String {
    fs::read_to_string(file()).unwrap()
}

/// Its cells; None for a line that is no row of it.
fn cells(line: &str) -> Option<Vec<&str>> {
    let cells: Vec<_> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    (cells.len() == WITHOUT + 1 && cells[0] != "attack" && !cells[0].starts_with("---")).then_some(cells)
}

pub fn names() -> Vec<String> {
    text().lines().filter_map(cells).map(|cells| cells[0].to_owned()).collect()
}

pub fn cell(name: &str, column: usize) -> String {
    let text = text();
    let found = text.lines().filter_map(cells).find(|cells| cells[0] == name);
    found.unwrap_or_else(|| panic!("{name} is not in docs/attacks.md"))[column].to_owned()
}

/// As the table writes it: a call and its errno are code.
fn written(result: &str) -> String {
    if result.starts_with("got ") { result.into() } else { format!("`{result}`") }
}

/// Where kernels differ a cell has both, with an "or" between.
fn says(cell: &str, result: &str) -> bool {
    cell.split("` or `").any(|told| told.trim_matches('`') == result)
}

/// Whether the column says what was found.
pub fn holds(column: usize, found: &BTreeMap<String, String>) {
    if std::env::var_os("RUBBER_REFRESH").is_some() {
        return refresh(column, found);
    }
    let differs = |(name, result): (&String, &String)| {
        let told = cell(name, column);
        (!says(&told, result)).then(|| format!("{name}: {result}, and docs/attacks.md says {told}"))
    };
    let wrong: Vec<_> = found.iter().filter_map(differs).collect();
    assert!(wrong.is_empty(), "{}\nRUBBER_REFRESH=1 writes it anew", wrong.join("\n"));
}

/// With a row for each attack, whatever rows there were.
fn refresh(column: usize, found: &BTreeMap<String, String>) {
    let old = text();
    let head = old.lines().position(|line| line.starts_with("| ---")).unwrap();
    let mut lines: Vec<_> = old.lines().take(head + 1).map(str::to_owned).collect();
    for attack in crate::ATTACKS {
        let row = old.lines().filter_map(cells).find(|cells| cells[0] == attack.name);
        let mut row: Vec<_> = row.unwrap_or(vec!["?"; WITHOUT + 1]).into_iter().map(str::to_owned).collect();
        (row[0], row[LOCK]) = (attack.name.into(), attack.lock());
        if let Some(result) = found.get(attack.name).filter(|result| !says(&row[column], result)) {
            row[column] = written(result);
        }
        lines.push(format!("| {} |", row.join(" | ")));
    }
    lines.extend(old.lines().skip(head + 1).skip_while(|line| line.starts_with('|')).map(str::to_owned));
    fs::write(file(), lines.join("\n") + "\n").unwrap();
}

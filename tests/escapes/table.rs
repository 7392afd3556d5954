//! The tables in docs/attacks.md, which say what the tests find: one of `rubber run`, and for root and an ordinary user
//! one each of the other ways in.

use crate::{
    lab,
    ways::{NOT_ASKED_FOR, Way},
};
use std::{collections::BTreeMap, fs, path::PathBuf};

/// Which column, of the table below which title.
pub struct Column {
    title: &'static str,
    number: usize,
    /// Where a result is to be looked for that is "the same".
    same_as: Option<&'static Column>,
}

const RUN: &str = "# Attacks";
const OTHER_WAYS: &str = "## By another way in";
const OTHER_WAYS_OF_USER: &str = "## By another way in, as an ordinary user";

pub const DEFAULT: Column = Column { title: RUN, number: 1, same_as: None };
pub const USER: Column = Column { title: RUN, number: 2, same_as: None };
pub const LOCK: Column = Column { title: RUN, number: 3, same_as: None };
pub const WITHOUT: Column = Column { title: RUN, number: 4, same_as: None };
const CELLS: usize = 5;
const SAME: &str = "the same";

pub fn of(way: Way) -> Column {
    let number = 1 + Way::ALL.iter().position(|other| *other == way).unwrap();
    match lab::is_root() {
        true => Column { title: OTHER_WAYS, number, same_as: Some(&DEFAULT) },
        false => Column { title: OTHER_WAYS_OF_USER, number, same_as: Some(&USER) },
    }
}

fn file() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/docs/attacks.md").into()
}

pub fn text() -> String {
    fs::read_to_string(file()).unwrap()
}

/// The cells of a line; None for one that is no row of such a table.
fn cells(line: &str) -> Option<Vec<String>> {
    let cells: Vec<_> =
        line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").map(str::to_owned).collect();
    (cells.len() == CELLS && cells[0] != "attack" && !cells[0].starts_with("---")).then_some(cells)
}

/// As the table writes it: a call and its errno are code.
fn written(result: &str) -> String {
    match result {
        NOT_ASKED_FOR => result.into(),
        _ if result.starts_with("got ") => result.into(),
        _ => format!("`{result}`"),
    }
}

impl Column {
    /// The lines of its table, and how many there are before them.
    fn rows(&self, text: &str) -> (usize, Vec<String>) {
        let title =
            text.lines().position(|line| line == self.title).unwrap_or_else(|| panic!("{}", self.title));
        let head = title + text.lines().skip(title).position(|line| line.starts_with("| ---")).unwrap();
        let rows = text.lines().skip(head + 1).take_while(|line| line.starts_with('|'));
        (head + 1, rows.map(str::to_owned).collect())
    }

    fn row(&self, name: &str) -> Option<Vec<String>> {
        self.rows(&text()).1.iter().filter_map(|line| cells(line)).find(|cells| cells[0] == name)
    }

    pub fn names(&self) -> Vec<String> {
        self.rows(&text()).1.iter().filter_map(|line| cells(line)).map(|cells| cells[0].clone()).collect()
    }

    pub fn cell(&self, name: &str) -> String {
        let row = self.row(name).unwrap_or_else(|| panic!("{name} is not in docs/attacks.md"));
        row[self.number].clone()
    }

    /// Where kernels differ a cell has both, with an "or" between.
    fn says(&self, cell: &str, name: &str, result: &str) -> bool {
        let is_it = |told: &str| match self.same_as {
            Some(column) if told == SAME => column.says(&column.cell(name), name, result),
            _ => told == written(result),
        };
        // There may be one in what is told, too.
        is_it(cell) || cell.split(" or ").any(is_it)
    }

    /// The cell as it is, if that is true and cannot be said shorter.
    fn renewed(&self, cell: &str, name: &str, result: &str) -> String {
        let is_same = self.same_as.is_some_and(|column| column.says(&column.cell(name), name, result));
        match cell {
            _ if cell != written(result) && self.says(cell, name, result) => cell.into(),
            _ if is_same => SAME.into(),
            _ => written(result),
        }
    }

    /// With a row for each attack, whatever rows there were.
    fn refresh(&self, found: &BTreeMap<String, String>) {
        let old = text();
        let (before, rows) = self.rows(&old);
        let mut lines: Vec<_> = old.lines().take(before).map(str::to_owned).collect();
        for attack in crate::ATTACKS {
            let row = rows.iter().filter_map(|line| cells(line)).find(|cells| cells[0] == attack.name);
            let mut row = row.unwrap_or_else(|| vec!["?".to_owned(); CELLS]);
            row[0] = attack.name.into();
            if self.title == LOCK.title {
                row[LOCK.number] = attack.lock();
            }
            if let Some(result) = found.get(attack.name) {
                row[self.number] = self.renewed(&row[self.number], attack.name, result);
            }
            lines.push(format!("| {} |", row.join(" | ")));
        }
        lines.extend(old.lines().skip(before + rows.len()).map(str::to_owned));
        fs::write(file(), lines.join("\n") + "\n").unwrap();
    }
}

/// Whether the column says what was found.
pub fn holds(column: &Column, found: &BTreeMap<String, String>) {
    if std::env::var_os("RUBBER_REFRESH").is_some() {
        return column.refresh(found);
    }
    let differs = |(name, result): (&String, &String)| {
        let told = column.cell(name);
        let is_told = column.says(&told, name, result);
        (!is_told).then(|| format!("{name}: {result}, and docs/attacks.md says {told}"))
    };
    let wrong: Vec<_> = found.iter().filter_map(differs).collect();
    assert!(wrong.is_empty(), "{}\nRUBBER_REFRESH=1 writes it anew", wrong.join("\n"));
}

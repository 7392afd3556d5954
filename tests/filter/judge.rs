//! What a profile in JSON answers, found out without a filter: call by call, from the text.

use super::probe::ALLOWED;
use serde_json::Value;
use std::collections::BTreeMap;

pub struct Profile(Value);

impl Profile {
    pub fn of(value: Value) -> Profile {
        Profile(value)
    }

    pub fn read(file: &str) -> Profile {
        Profile(serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap())
    }

    /// An errno, or `ALLOWED`.
    pub fn answer(&self, name: &str, arguments: &[u64; 6], capabilities: &[&str]) -> i32 {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let holds = |entry: &&Value| {
            let names = |when: &str, key: &str| -> Vec<String> {
                list(&entry[when][key]).iter().map(|name| name.as_str().unwrap().to_owned()).collect()
            };
            let here = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
            let arches = names("includes", "arches");
            list(&entry["names"]).iter().any(|known| known == name)
                && names("includes", "caps").iter().all(|cap| capabilities.contains(&cap.as_str()))
                && !names("excludes", "caps").iter().any(|cap| capabilities.contains(&cap.as_str()))
                && (arches.is_empty() || arches.iter().any(|arch| arch == here))
                && list(&entry["args"]).iter().all(|argument| {
                    let (is, value) = (
                        arguments[argument["index"].as_u64().unwrap() as usize],
                        argument["value"].as_u64().unwrap(),
                    );
                    match argument["op"].as_str().unwrap() {
                        "SCMP_CMP_EQ" => is == value,
                        "SCMP_CMP_NE" => is != value,
                        "SCMP_CMP_MASKED_EQ" => is & value == argument["valueTwo"].as_u64().unwrap_or(0),
                        op => panic!("{op}"),
                    }
                })
        };
        let entries = list(&self.0["syscalls"]);
        let (action, errno) = match entries.iter().find(holds) {
            Some(entry) => (&entry["action"], &entry["errnoRet"]),
            None => (&self.0["defaultAction"], &self.0["defaultErrnoRet"]),
        };
        match action.as_str().unwrap() {
            "SCMP_ACT_ALLOW" => ALLOWED,
            "SCMP_ACT_ERRNO" => errno.as_u64().unwrap_or(1) as i32,
            action => panic!("{action}"),
        }
    }
}

/// The names of this machine's calls, as our own table has them.
pub fn numbers() -> BTreeMap<u32, String> {
    column(if cfg!(target_arch = "x86_64") { 0 } else { 2 })
}

/// And of those that 32-bit programs make on x86-64.
pub fn numbers_of_i386() -> BTreeMap<u32, String> {
    column(1)
}

fn column(machine: usize) -> BTreeMap<u32, String> {
    let table = include_str!("../../src/filter/calls.rs");
    let mut numbers = BTreeMap::new();
    for entry in table.split("(\"").skip(1) {
        let entry: Vec<_> = entry.split(')').next().unwrap().split(", ").collect();
        let [name, columns @ ..] = &entry[..] else { continue };
        if let Ok(number) = columns[machine].parse() {
            let before = numbers.insert(number, name.trim_end_matches('"').to_owned());
            assert_eq!(before, None, "{number} is {name}, too");
        }
    }
    assert!(numbers.len() > 300, "{numbers:?}");
    numbers
}

pub fn number(name: &str) -> u32 {
    number_here(name).unwrap_or_else(|| panic!("no call {name}"))
}

pub fn number_here(name: &str) -> Option<u32> {
    numbers().into_iter().find(|(_, known)| known == name).map(|(number, _)| number)
}

pub fn number_of_i386(name: &str) -> u32 {
    let number = numbers_of_i386().into_iter().find(|(_, known)| known == name);
    number.unwrap_or_else(|| panic!("no call {name}")).0
}

//! The probe: rubber itself as the container's only program. It tells what it sees, and holds still.

use super::attack::{self, Orders};
use crate::facts;
use anyhow::{Result, bail};
use nix::sys::{socket, stat::stat};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fs, path::Path};

/// Who cannot repeat the nonce has not heard the question.
#[derive(Serialize, Deserialize)]
pub struct Question {
    pub nonce: String,
    /// A file of the host's.
    pub canary: String,
    /// To end with.
    pub code: u8,
}

#[derive(Serialize, Deserialize)]
pub struct Answer {
    pub nonce: String,
    pub inside: Value,
}

/// More than any answer is long. (A seqpacket socket keeps messages apart.)
pub const LONGEST: usize = 200_000;

pub const HELLO: &[u8] = b"hello";

/// Speaks on stdin, which is a socket of the witness's: the kernel tells it who sent what.
pub fn main() -> Result<u8> {
    say(HELLO)?;
    let question: Question = serde_json::from_slice(&hear()?)?;
    say(&serde_json::to_vec(&Answer { nonce: question.nonce.clone(), inside: look(&question) })?)?;
    // Until the witness has looked at us from outside, and closes its end.
    loop {
        let orders = hear()?;
        if orders.is_empty() {
            return Ok(question.code);
        }
        let orders: Orders = serde_json::from_slice(&orders)?;
        for name in &orders.attacks {
            say(&serde_json::to_vec(&attack::attempt(name, &orders))?)?;
        }
    }
}

fn look(question: &Question) -> Value {
    let mut inside = serde_json::to_value(facts::own()).unwrap_or_default();
    inside["devices"] = json!(devices());
    inside["canary"] = json!(fs::read_to_string(&question.canary).ok());
    inside["answers"] = attack::answers();
    // What is written in here should be nobody else's.
    inside["wrote"] = json!(fs::write("/written", &question.nonce).is_ok());
    inside
}

/// Type, number and mode of what is in /dev: `char 1:3 0666`.
fn devices() -> BTreeMap<String, String> {
    let entries = fs::read_dir("/dev").into_iter().flatten().flatten();
    let about = |path: &Path| {
        let found = stat(path).ok()?;
        if found.st_mode & libc::S_IFMT != libc::S_IFCHR {
            return None;
        }
        let (major, minor) = (libc::major(found.st_rdev), libc::minor(found.st_rdev));
        Some(format!("char {major}:{minor} {:04o}", found.st_mode & 0o7777))
    };
    entries
        .filter_map(|entry| Some((entry.file_name().to_string_lossy().into_owned(), about(&entry.path())?)))
        .collect()
}

fn say(bytes: &[u8]) -> Result<()> {
    if bytes.len() > LONGEST {
        bail!("what the probe sees is too long to tell");
    }
    socket::send(0, bytes, socket::MsgFlags::MSG_NOSIGNAL)?;
    Ok(())
}

fn hear() -> Result<Vec<u8>> {
    let mut bytes = vec![0; LONGEST];
    let length = socket::recv(0, &mut bytes, socket::MsgFlags::empty())?;
    bytes.truncate(length);
    Ok(bytes)
}

//! What outlives a run, and what runs beside it.
//!
//! Reading order: `record` (what is written down before anything is made), `find` (which containers there are),
//! `supervise` (waiting for one), `idle` (and taking little room meanwhile), `streams` and `relay` (what goes in and comes out), `log`, `attach`, `waiter`; then what
//! can be done to one: `pause`, `processes`, `usage`, and with its files (`inside`,
//! `copy`, `changes`, `commit`).

pub mod attach;
pub mod caller;
pub mod changes;
pub mod commit;
pub mod copy;
pub mod find;
pub mod idle;
pub mod inside;
pub mod lent;
pub mod log;
pub mod name;
pub mod pause;
pub mod processes;
pub mod record;
pub mod relay;
pub mod streams;
pub mod supervise;
pub mod terminal;
pub mod usage;
pub mod volume;
pub mod waiter;

use anyhow::{Context, Result};

/// Twelve hexadecimal digits that no other container has.
pub fn new_id() -> Result<String> {
    let mut bytes = [0_u8; 6];
    // SAFETY: the buffer is as long as we say. So few bytes always come at once (getrandom(2)).
    nix::errno::Errno::result(unsafe { nix::libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) })
        .context("getrandom()")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The number of a signal: `9`, `KILL`, `SIGKILL`, `kill`, or `RTMIN+3`.
pub fn signal(word: &str) -> Result<i32> {
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = || -> Option<i32> {
        let from_first = name.strip_prefix("RTMIN").map(|more| (nix::libc::SIGRTMIN(), more));
        let (base, more) =
            from_first.or(name.strip_prefix("RTMAX").map(|more| (nix::libc::SIGRTMAX(), more)))?;
        base.checked_add(if more.is_empty() { 0 } else { more.parse::<i32>().ok()? })
    };
    let named = || format!("SIG{name}").parse::<nix::sys::signal::Signal>().ok().map(|signal| signal as i32);
    let number = word.parse::<i32>().ok().or_else(named).or_else(real_time);
    match number.filter(|number| (1..=64).contains(number)) {
        Some(number) => Ok(number),
        None => anyhow::bail!(
            "{word:?} is no signal: they go by name (TERM, SIGKILL) or number (1 to 64), see kill -l"
        ),
    }
}

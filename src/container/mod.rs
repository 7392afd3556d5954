//! What outlives a run, and what runs beside it.

pub mod record;
pub mod supervise;
pub mod terminal;

use anyhow::Result;

/// Twelve hexadecimal digits that no other container has.
pub fn new_id() -> Result<String> {
    let mut bytes = [0_u8; 6];
    // SAFETY: the buffer is as long as we say. So few bytes always come at once (getrandom(2)).
    nix::errno::Errno::result(unsafe { nix::libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

//! The workshop: an exercise is built, run where it can hurt nobody, and the kernel is asked.
//!
//! Reading order: `chapter` (what is to be done), `build` (cargo), `arena` (the throw-away place an attempt
//! runs in), `asked` (for what), `witness` (watches from the arena's side), `probe` (tells what it sees
//! inside), `attack` (what it tries in there) and `targets` (what it tries it on), `expect` (comparisons over
//! what was found), `verdict` and `proof` (what that means), `screen` (what the learner reads), `progress`,
//! `watch`.

mod arena;
mod asked;
mod attack;
mod build;
mod chapter;
mod check;
mod checkout;
mod diff;
mod expect;
pub mod ground;
mod probe;
mod progress;
mod proof;
mod screen;
mod targets;
mod verdict;
mod watch;
mod witness;

pub use chapter::Chapter;
pub use check::{check, check_with, why_not_here};
pub use checkout::Checkout;
pub use diff::diff;
pub use probe::main as probe;
pub use progress::Progress;
pub use verdict::Outcome;
pub use watch::watch;

/// Where an exercise stops until its step is written: says which step, and in which file and line.
#[cfg(feature = "exercise")]
#[track_caller]
pub fn not_yet(step: u8) -> anyhow::Result<()> {
    let at = std::panic::Location::caller();
    // The module's path leads through src/layers/../../: only where it ends is of interest.
    let file = at.file().find("workshop/").map_or(at.file(), |start| &at.file()[start..]);
    let text = format!("{} {step} at {file}:{}", verdict::NOT_YET, at.line());
    Err(crate::Exit(1, text).into())
}

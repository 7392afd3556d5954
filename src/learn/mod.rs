//! The workshop: an exercise is built, run where it can hurt nobody, and the kernel is asked.
//!
//! Reading order: `chapter` (what is to be done), `build` (cargo), `arena` (the throw-away place an attempt
//! runs in), `asked` (for what), `witness` (watches from the arena's side), `probe` (tells what it sees
//! inside), `attack` (what it tries in there) and `targets` (what it tries it on), `expect` (comparisons over
//! what was found), `verdict` and `proof` (what that means), `screen` (what the learner reads), `progress`,
//! `watch`. A chapter without a layer has a config.json instead: `bundle`.

mod anywhere;
mod arena;
mod asked;
mod attack;
mod build;
mod bundle;
mod chapter;
mod check;
mod checkout;
mod diff;
mod editor;
mod expect;
pub mod ground;
mod init;
mod not_yet;
mod pristine;
mod probe;
mod progress;
mod proof;
mod screen;
mod targets;
mod verdict;
mod watch;
mod witness;

pub use bundle::with_own_ids;
pub use chapter::Chapter;
pub use check::{check, check_with, why_not_here};
pub use checkout::Checkout;
pub use diff::{diff, diff_bundle};
pub use editor::tell as tell_editor;
pub use init::{Crates, init, original};
pub use probe::main as probe;
pub use progress::Progress;
pub use verdict::Outcome;
pub use watch::watch;

//! The workshop: an exercise is built, run where it can hurt nobody, and the kernel is asked.
//!
//! Reading order: `chapter` (what is to be done), `build` (cargo), `arena` (the throw-away place an attempt
//! runs in), `witness` (watches from the arena's side), `probe` (tells what it sees inside), `expect`
//! (comparisons over what both found), `verdict` and `screen` (what the learner reads), `progress`, `watch`.

mod arena;
mod build;
mod chapter;
mod check;
mod checkout;
mod diff;
mod editor;
mod expect;
mod ground;
mod init;
mod not_yet;
mod pristine;
mod probe;
mod progress;
mod screen;
mod verdict;
mod watch;
mod witness;

pub use chapter::Chapter;
pub use check::{check, why_not_here};
pub use checkout::Checkout;
pub use diff::diff;
pub use editor::tell as tell_editor;
pub use init::{Crates, init, original};
pub use probe::main as probe;
pub use progress::Progress;
pub use verdict::Outcome;
pub use watch::watch;

//! What is shown to people.

pub mod columns;
// The learner's rubber is to be built in a moment, and only runs.
#[cfg(not(feature = "exercise"))]
pub mod demo;
pub mod facts;
pub mod portrait;

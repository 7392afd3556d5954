//! What is shown to people.

pub mod bars;
pub mod columns;
// It uses what the learner's rubber is built without.
#[cfg(not(feature = "exercise"))]
pub mod demo;
pub mod facts;
pub mod json;
pub mod portrait;

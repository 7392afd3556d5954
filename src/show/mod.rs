//! What is shown to people.

pub mod columns;
pub mod facts;
pub mod portrait;

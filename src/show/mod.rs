//! What is shown to people.

pub mod columns;
pub mod demo;
pub mod facts;
pub mod portrait;

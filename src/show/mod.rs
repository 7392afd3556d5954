//! What is shown to people.

pub mod columns;
#[cfg(not(feature = "exercise"))]
pub mod demo;
pub mod facts;
pub mod portrait;

//! Images as a user meets them: the real binary, a store of its own for each test, nothing left behind.

mod archives;
mod attacks;
mod hostile;
#[path = "../lab/mod.rs"]
mod lab;
mod layouts;
mod place;
mod recipes;
mod store;
mod tars;

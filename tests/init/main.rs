//! `rubber learn init`: a checkout out of the binary, and the whole workshop in it without a network.

#[path = "../lab/mod.rs"]
mod lab;
#[path = "../lab/pty.rs"]
mod pty;

mod offline;
mod writes;

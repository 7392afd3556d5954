//! rubber: build a container one layer at a time.
//!
//! Read in this order: `run` is the whole story on one screen, `layers` tells
//! each chapter of it, `sys` is the only file that asks the kernel to isolate
//! anything, and `narrate` is the only file that tells you of it. `config` is
//! what all of them read. The rest is what a tool needs around that.

// An exercise has not yet called what its solution will.
#![cfg_attr(feature = "exercise", allow(dead_code, unused_imports, unused_variables))]

#[cfg(not(any(feature = "whole", feature = "exercise")))]
compile_error!(
    "rubber is built whole (the default), or with exercises in place of layers: see [features] in Cargo.toml"
);

#[cfg_attr(feature = "exercise", path = "cli/exercise.rs")]
mod cli;
mod config;
mod layers;
mod narrate;
mod run;
mod sys;

mod advice;
mod container;
mod doctor;
mod facts;
mod filter;
mod flock;
mod hide;
mod ids;
mod image;
mod join;
#[cfg_attr(feature = "exercise", path = "learn/not_yet.rs")]
mod learn;
mod oci;
mod place;
mod removal;
mod seal;
mod setuid;
mod show;
mod step;
mod subgroups;
mod surroundings;
mod trust;

use std::process::ExitCode;

fn main() -> ExitCode {
    let ready = surroundings::put_right().and_then(|()| setuid::refuse());
    ready.and_then(|()| cli::main()).unwrap_or_else(report).into()
}

/// An end that is told with an exit code of its own: docker's 126 and 127, or
/// an end that is no failure at all (then there is nothing to say).
#[derive(Debug)]
pub struct Exit(pub u8, pub String);

impl std::error::Error for Exit {}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.1)
    }
}

/// Says what went wrong, and returns the exit code: 125 is a failure of ours.
fn report(error: anyhow::Error) -> u8 {
    let text = format!("{error:#}");
    if !text.is_empty() {
        narrate::say(&format!("rubber: {}\n", narrate::readable(&text)));
    }
    error.downcast_ref::<Exit>().map_or(125, |exit| exit.0)
}

//! Feeds what nobody vouches for to the modules that read it, millions of times, with libFuzzer.
//!
//! rubber is one binary and no library: this is the same program with another `main`. `RUBBER_FUZZ` says which reader
//! has its turn, and tests/fuzz/run is how it is started: in a mount namespace where only one directory can be written.

#![no_main]
#![allow(dead_code, unused_imports, unused_variables)]

#[path = "../../../src/cli/exercise.rs"]
mod cli;
#[path = "../../../src/config.rs"]
mod config;
#[path = "../../../src/layers/mod.rs"]
mod layers;
#[path = "../../../src/narrate.rs"]
mod narrate;
#[path = "../../../src/run.rs"]
mod run;
#[path = "../../../src/sys.rs"]
mod sys;
#[path = "../../../src/advice.rs"]
mod advice;
#[path = "../../../src/container/mod.rs"]
mod container;
#[path = "../../../src/doctor/mod.rs"]
mod doctor;
#[path = "../../../src/facts/mod.rs"]
mod facts;
#[path = "../../../src/filter/mod.rs"]
mod filter;
#[path = "../../../src/ids.rs"]
mod ids;
#[path = "../../../src/image/mod.rs"]
mod image;
#[path = "../../../src/join.rs"]
mod join;
#[path = "../../../src/learn/not_yet.rs"]
mod learn;
#[path = "../../../src/place.rs"]
mod place;
#[path = "../../../src/removal.rs"]
mod removal;
#[path = "../../../src/setuid.rs"]
mod setuid;
#[path = "../../../src/show/mod.rs"]
mod show;
#[path = "../../../src/step.rs"]
mod step;

mod targets;

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|bytes: &[u8]| -> Corpus { targets::run(bytes) });

/// As in src/main.rs, which cannot be taken along: there is its `main`.
#[derive(Debug)]
pub struct Exit(pub u8, pub String);

impl std::error::Error for Exit {}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.1)
    }
}

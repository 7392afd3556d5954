//! The OCI runtime command line: by hand, and driven by podman.

#[path = "../lab/mod.rs"]
mod lab;

mod bundle;
mod containerd;
mod crash;
mod fields;
mod hand;
mod podman;

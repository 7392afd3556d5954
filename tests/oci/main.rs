//! The OCI runtime command line: by hand, and driven by podman and containerd.

#[path = "../lab/mod.rs"]
mod lab;

mod buildah;
mod bundle;
mod conformance;
mod containerd;
mod crash;
mod fields;
mod hand;
mod podman;
mod sections;
mod systemd;
mod written;
mod wrong;

//! The OCI runtime command line: by hand, and driven by podman, containerd and its plugin for Kubernetes.

#[path = "../lab/i386.rs"]
mod i386;
#[path = "../lab/mod.rs"]
mod lab;

mod buildah;
mod bundle;
mod conformance;
mod console;
mod containerd;
mod crash;
mod cri;
mod fields;
mod hand;
mod owners;
mod parameters;
mod podman;
mod rootless;
mod sections;
mod selinux;
mod systemd;
mod table;
mod written;
mod wrong;

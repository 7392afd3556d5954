//! docs/conformance.md, made of the tests: which section of the specification is held by which.

use crate::{buildah, containerd, cri, podman, rootless};
use std::fmt::Write;

/// The sections of the OCI runtime specification 1.2 that say what a runtime on Linux does.
#[rustfmt::skip]
const SECTIONS: &[&str] = &[
    "runtime.md, State", "runtime.md, Lifecycle", "runtime.md, Errors", "runtime.md, Query State", "runtime.md, Create",
    "runtime.md, Start", "runtime.md, Kill", "runtime.md, Delete", "runtime.md, Hooks",
    "config.md, Specification version", "config.md, Root", "config.md, Mounts", "config.md, Process",
    "config.md, POSIX process", "config.md, Linux Process", "config.md, POSIX-platform User", "config.md, Hostname",
    "config.md, Domainname", "config.md, POSIX-platform Hooks", "config.md, Annotations", "config.md, Extensibility",
    "config-linux.md, Default Filesystems", "config-linux.md, Namespaces", "config-linux.md, User namespace mappings",
    "config-linux.md, Offset for Time Namespace", "config-linux.md, Devices", "config-linux.md, Default Devices",
    "config-linux.md, Cgroups Path", "config-linux.md, Cgroup ownership", "config-linux.md, Allowed Device list",
    "config-linux.md, Memory", "config-linux.md, CPU", "config-linux.md, Block IO", "config-linux.md, Huge page limits",
    "config-linux.md, Network", "config-linux.md, PIDs", "config-linux.md, RDMA", "config-linux.md, Unified",
    "config-linux.md, Intel RDT", "config-linux.md, Sysctl", "config-linux.md, Seccomp",
    "config-linux.md, The Container Process State", "config-linux.md, Rootfs Mount Propagation",
    "config-linux.md, Masked Paths", "config-linux.md, Readonly Paths", "config-linux.md, Mount Label",
    "config-linux.md, Personality", "features.md, features",
];

/// What is not as the section has it, and what becomes of who asks for it.
const NOT: &[(&str, &str)] = &[
    (
        "config.md, Linux Process",
        "`apparmorProfile` and `selinuxLabel` are refused where the kernel has none",
    ),
    ("config-linux.md, Allowed Device list", "`update` changes it on version 1 only"),
    ("config-linux.md, Memory", "`kernel` and `checkBeforeUpdate` are ignored"),
    (
        "config-linux.md, Huge page limits",
        "on version 1 tried as a refusal only, where there is no such controller",
    ),
    ("config-linux.md, Network", "tried as a refusal only, where there is no such controller"),
    ("config-linux.md, RDMA", "tried as a refusal only, where there is no such controller"),
    ("config-linux.md, Intel RDT", "`intelRdt` is refused"),
    (
        "config-linux.md, Seccomp",
        "of `architectures` only X86 adds calls to this machine's own; those of X32 get ENOSYS, and 32-bit ARM on AArch64 is \
         ended at its first call, named or not",
    ),
    ("config-linux.md, Mount Label", "refused where the kernel has no SELinux"),
];

const SOURCES: &[(&str, &str)] = &[
    ("hand", include_str!("hand.rs")),
    ("crash", include_str!("crash.rs")),
    ("fields", include_str!("fields.rs")),
    ("sections", include_str!("sections.rs")),
    ("selinux", include_str!("selinux.rs")),
    ("systemd", include_str!("systemd.rs")),
];

/// `/// spec: FILE, SECTION` above a test, and whose test it is.
fn told() -> Vec<(String, String)> {
    let mut all = vec![];
    for (file, text) in SOURCES {
        let mut sections = vec![];
        for line in text.lines() {
            if let Some(section) = line.strip_prefix("/// spec: ") {
                sections.push(section.to_owned());
            } else if let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
                all.extend(sections.drain(..).map(|section| (section, format!("{file}::{name}"))));
            }
        }
    }
    all
}

fn page() -> String {
    let told = told();
    let mut page = String::from(
        "# Conformance\n\nThe OCI runtime specification 1.2, section by section, and the tests in `tests/oci/` that hold `rubber-oci` to \
         it.\nThis page is made of them (`RUBBER_TEST_WRITE=1 cargo test --test oci conformance`), and a test fails when it is \
         stale.\nA test that is named here passes, or the change does not land.\n\n",
    );
    page.push_str(
        "A container that is created and never started waits without end, as with runc: also when the process that would \
         have started it was killed.\n`rubber-oci list` shows it as `created`, and `rubber-oci delete ID` ends it. So does \
         `rubber-oci kill ID KILL`; its pid 1 has no handler for any other signal.\n\n",
    );
    let _ = writeln!(
        page,
        "Beside these, {} things that people do with podman, {} as ordinary users, {} with buildah, {} with containerd's `ctr` and {} that a\nkubelet does with its CRI plugin are \
         tried with rubber in runc's place: `tests/oci/podman.rs`, `rootless.rs`, `buildah.rs`,\n`containerd.rs` and `cri.rs`.\n\n| section | test | result |\n| --- | --- | --- |",
        podman::CASES.len(),
        rootless::CASES.len(),
        buildah::CASES.len(),
        containerd::CASES.len(),
        cri::CASES.len()
    );
    for section in SECTIONS {
        for (_, test) in told.iter().filter(|(of, _)| of == section) {
            let _ = writeln!(page, "| {section} | `{test}` | passes |");
        }
        for (_, why) in NOT.iter().filter(|(of, _)| of == section) {
            let _ = writeln!(page, "| {section} | | {why} |");
        }
    }
    page
}

#[test]
fn every_section_has_a_test_or_a_reason() {
    let told = told();
    for section in SECTIONS {
        let has = told.iter().any(|(of, _)| of == section) || NOT.iter().any(|(of, _)| of == section);
        assert!(has, "{section}: no test says that it is about it");
    }
    for section in told.iter().map(|(of, _)| of.as_str()).chain(NOT.iter().map(|(of, _)| *of)) {
        assert!(SECTIONS.contains(&section), "{section} is no section");
    }
}

#[test]
fn conformance_is_not_stale() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md");
    if std::env::var_os("RUBBER_TEST_WRITE").is_some() {
        std::fs::write(&file, page()).unwrap();
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        there == page(),
        "{file:?} is stale: RUBBER_TEST_WRITE=1 cargo test --test oci conformance writes it anew"
    );
}

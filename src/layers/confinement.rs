//! AppArmor and SELinux: rules of the machine's owner for the next program, kept by the kernel where it has one
//! of them. Which rules, is said before execve(2).

use crate::{
    config::Config,
    narrate,
    place::is,
    sys::{self, mounts::*},
};
use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    sys::statfs::{PROC_SUPER_MAGIC, fstatfs},
};
use std::{
    fs::read_to_string,
    path::{Path, PathBuf},
};

/// Keys belong to a session's keyring, and that passes from process to process: without one of its own a container
/// would hold the caller's, with what is in it (keyrings(7)). No namespace keeps keys apart.
pub fn keyring(_: &Config) -> Result<()> {
    match sys::keyctl_join_session_keyring() {
        Err(error) if is(&error, Errno::ENOSYS) || is(&error, Errno::EPERM) => {
            narrate::note(format_args!(
                "no keys here: the kernel, or a filter that is on us, has none for us"
            ));
            Ok(())
        }
        done => done,
    }
}

/// A key has the SELinux label of who makes it, which is still ours: it is to be the command's. execve(2) forgets it.
pub fn label_keys(config: &Config) -> Result<()> {
    match &config.selinux {
        Some(label) => tell("self/attr/keycreate", label),
        None => Ok(()),
    }
}

pub fn any_label(config: &Config) -> bool {
    config.selinux.is_some()
}

pub fn any(config: &Config) -> bool {
    config.apparmor.is_some() || config.selinux.is_some()
}

/// It takes a /proc in which /proc/self is this process. What is said here is for its children, too.
pub fn confine(config: &Config) -> Result<()> {
    if let Some(profile) = &config.apparmor {
        tell("self/attr/apparmor/exec", &format!("exec {profile}")).with_context(|| no_profile(profile))?;
    }
    match &config.selinux {
        Some(label) => tell("self/attr/exec", label),
        None => Ok(()),
    }
}

/// Writes to the kernel's own file below /proc. One of the image's in its place, or what is mounted over it, would take
/// the label and confine nothing (CVE-2019-16884, CVE-2025-52881).
fn tell(name: &str, value: &str) -> Result<()> {
    let root = sys::open_directory(Path::new("/"))?;
    let proc = openat_nofollow(&root, "proc".as_ref())?;
    let is_proc = || Ok::<_, anyhow::Error>(fstatfs(&proc)?.filesystem_type() == PROC_SUPER_MAGIC);
    ensure!(narrate::is_dry() || is_proc()?, "no /proc is mounted, by which the kernel is told {value:?}");
    write_below_proc(&proc, name, value)
}

/// `--security-opt apparmor=PROFILE`: it has to be loaded, or the program would fail to start much later.
pub fn known_profile(name: &str) -> Result<String> {
    let enabled = read_to_string("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
    ensure!(
        enabled.trim() == "Y",
        "--security-opt apparmor={name}: this kernel does not have AppArmor, or it is off (cat /sys/kernel/security/lsm)"
    );
    // Only root may read the list, and only where it is mounted; anybody else is told by the kernel in the end.
    if let Ok(loaded) = read_to_string("/sys/kernel/security/apparmor/profiles") {
        let is_loaded =
            loaded.lines().any(|line| line.rsplit_once(" (").is_some_and(|(known, _)| known == name));
        ensure!(is_loaded, no_profile(name));
    }
    Ok(name.into())
}

fn no_profile(name: &str) -> String {
    format!("AppArmor has no profile {name} loaded (aa-status lists them, apparmor_parser loads one)")
}

/// What of a process's SELinux label is another one's: user, role, type and level.
#[derive(Default)]
pub struct Label(Vec<(usize, String)>);

impl Label {
    pub fn set(&mut self, word: &str) -> Result<()> {
        if word == "disable" {
            self.0.clear();
            return Ok(());
        }
        let part = word.split_once(':').and_then(|(name, value)| {
            let place = ["user", "role", "type", "level"].iter().position(|known| *known == name)?;
            (!value.is_empty()).then(|| (place, value.to_owned()))
        });
        match part {
            Some(part) => self.0.push(part),
            None => bail!(
                "--security-opt label={word}: it is disable, or user, role, type or level with a value behind a colon"
            ),
        }
        Ok(())
    }

    /// The caller's own label with these parts in it; none where none was asked for.
    pub fn whole(&self) -> Result<Option<String>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        ensure!(
            PathBuf::from("/sys/fs/selinux/enforce").exists(),
            "--security-opt label=…: this kernel does not have SELinux, or it is off (cat /sys/kernel/security/lsm)"
        );
        let own = read_to_string("/proc/self/attr/current").context("cannot read our own SELinux label")?;
        let mut parts: Vec<_> =
            own.trim_end_matches(['\0', '\n']).splitn(4, ':').map(str::to_owned).collect();
        parts.resize(4, "s0".into());
        for (place, value) in &self.0 {
            parts[*place].clone_from(value);
        }
        Ok(Some(parts.join(":")))
    }
}

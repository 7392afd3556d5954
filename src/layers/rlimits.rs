//! The limits each process has by itself, older than cgroups: setrlimit(2). And its place in the queue when
//! the kernel has to kill somebody.

use super::Layer;
use crate::{config::Config, hide, sys};
use anyhow::{Context, Result};
use nix::{libc, sys::resource::Resource};
use std::path::Path;

/// As in `--ulimit nofile=1024`.
pub const NAMES: &[(&str, Resource)] = &[
    ("as", Resource::RLIMIT_AS),
    ("core", Resource::RLIMIT_CORE),
    ("cpu", Resource::RLIMIT_CPU),
    ("data", Resource::RLIMIT_DATA),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("locks", Resource::RLIMIT_LOCKS),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("nice", Resource::RLIMIT_NICE),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("rss", Resource::RLIMIT_RSS),
    ("rtprio", Resource::RLIMIT_RTPRIO),
    ("rttime", Resource::RLIMIT_RTTIME),
    ("sigpending", Resource::RLIMIT_SIGPENDING),
    ("stack", Resource::RLIMIT_STACK),
];

pub fn any(config: &Config) -> bool {
    !config.limits.rlimits.is_empty()
}

/// Where more is allowed than we have: that takes CAP_SYS_RESOURCE, which is about to go.
pub fn raise(config: &Config) -> Result<()> {
    for (resource, limit) in known(config) {
        let (soft, hard) = nix::sys::resource::getrlimit(resource).context("prlimit64")?;
        if limit.hard > hard {
            sys::prlimit64(resource, soft, limit.hard)?;
        }
    }
    Ok(())
}

/// The last thing before the command: with few files or little memory we could not do the rest ourselves.
pub fn set(config: &Config) -> Result<()> {
    known(config).try_for_each(|(resource, limit)| sys::prlimit64(resource, limit.soft, limit.hard))
}

fn known(config: &Config) -> impl Iterator<Item = (Resource, &crate::config::Rlimit)> {
    let resource = |name: &str| NAMES.iter().find(|(known, _)| *known == name).map(|(_, resource)| *resource);
    config.limits.rlimits.iter().filter_map(move |limit| Some((resource(&limit.name)?, limit)))
}

pub fn any_score(config: &Config) -> bool {
    config.limits.oom_score_adj.is_some()
}

/// In the supervisor, for the first process to be born with, where an ordinary user's hides from others: its files in /proc
/// are root's from then on.
pub fn any_early_score(config: &Config) -> bool {
    any_score(config) && config.layers.contains(Layer::Userns) && hide::is_needed(config)
}

/// `--oom-score-adj`: proc_pid_oom_score_adj(5).
pub fn oom_score(config: &Config) -> Result<()> {
    match config.limits.oom_score_adj {
        Some(score) => sys::write(Path::new("/proc/self/oom_score_adj"), &score.to_string()),
        None => Ok(()),
    }
}

const _: () = assert!(libc::RLIM_INFINITY == u64::MAX);

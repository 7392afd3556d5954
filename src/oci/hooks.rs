//! Hooks: programs that whoever wrote the config.json has run at certain moments, with the container's state on
//! stdin (config.md, "POSIX-platform Hooks").

use super::{
    given,
    story::{self, Word},
};
use crate::{config::Config, sys};
use anyhow::{Context, Result, bail};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        memfd::{MFdFlags, memfd_create},
        signal::Signal,
    },
    unistd::Pid,
};
use serde::Deserialize;
use serde_json::Value;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::File,
    io::{self, Seek, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

#[derive(Default)]
pub struct Hooks {
    pub create_container: Vec<Hook>,
    pub start_container: Vec<Hook>,
    /// Of any kind: also those that are our maker's to run.
    pub any: bool,
    /// The container's state, as our maker last told it.
    state: RefCell<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Hook {
    pub path: PathBuf,
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub env: Vec<String>,
    /// Seconds.
    pub timeout: Option<i64>,
}

impl Hooks {
    pub fn of(raw: &Value) -> Result<Hooks> {
        Ok(Hooks {
            create_container: given::hooks(raw, "createContainer")?,
            start_container: given::hooks(raw, "startContainer")?,
            any: raw["hooks"].is_object(),
            ..Hooks::default()
        })
    }

    pub fn know(&self, state: String) {
        self.state.replace(state);
    }

    pub fn told(&self) -> String {
        self.state.borrow().clone()
    }
}

/// Whether anybody wants to be told the container's state while it is made.
pub fn any_told(config: &Config) -> bool {
    config.bundle.hooks.any || config.bundle.listener.is_some()
}

/// `prestart` and `createRuntime` are run by our maker, who is outside.
pub fn have_runtimes_run(config: &Config) -> Result<()> {
    config.bundle.hooks.know(story::tell(config, &Word::Made)?);
    Ok(())
}

pub fn any_create_container(config: &Config) -> bool {
    !config.bundle.hooks.create_container.is_empty()
}

pub fn create_container(config: &Config) -> Result<()> {
    let hooks = &config.bundle.hooks;
    run(&hooks.create_container, &hooks.state.borrow())
}

pub fn any_start_container(config: &Config) -> bool {
    !config.bundle.hooks.start_container.is_empty()
}

pub fn start_container(config: &Config) -> Result<()> {
    let hooks = &config.bundle.hooks;
    run(&hooks.start_container, &hooks.state.borrow())
}

/// One after the other, until one fails.
pub fn run(hooks: &[Hook], state: &str) -> Result<()> {
    hooks.iter().try_for_each(|hook| one(hook, state).with_context(|| format!("hook {:?}", hook.path)))
}

/// Nothing of ours but stdout and stderr; and its stdin can be read to its end or not at all.
fn one(hook: &Hook, state: &str) -> Result<()> {
    let mut input = File::from(memfd_create(c"state", MFdFlags::MFD_CLOEXEC)?);
    input.write_all(state.trim_end().as_bytes())?;
    input.rewind()?;
    let mut command = Command::new(&hook.path);
    if let Some(name) = hook.args.first() {
        command.arg0(name).args(&hook.args[1..]);
    }
    let env = hook.env.iter().filter_map(|entry| entry.split_once('='));
    command.env_clear().envs(env.collect::<BTreeMap<_, _>>()).stdin(Stdio::from(input));
    // Nobody reads its answer any more when we are gone. What our caller has open is not for it: a startContainer hook's
    // program is the image's, and what others run is among the container's processes (CVE-2024-21626 is of this kind).
    // SAFETY: two system calls, between fork and execve.
    unsafe {
        command.pre_exec(|| {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            sys::close_range(3).map_err(io::Error::other)
        })
    };
    let mut child = sys::started(command.spawn()).context("cannot start it")?;
    if !ends_in_time(&child, hook.timeout)? {
        child.kill()?;
        child.wait()?;
        bail!("it did not end in {} s", hook.timeout.unwrap_or_default());
    }
    match child.wait()? {
        ended if ended.success() => Ok(()),
        ended => bail!("it ended with {ended}"),
    }
}

fn ends_in_time(child: &Child, seconds: Option<i64>) -> Result<bool> {
    let Some(seconds) = seconds else { return Ok(true) };
    let pidfd = sys::pidfd_open(Pid::from_raw(child.id().try_into()?))?;
    let milliseconds = i32::try_from(seconds.saturating_mul(1000)).unwrap_or(i32::MAX);
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, PollTimeout::try_from(milliseconds)?)? > 0)
}

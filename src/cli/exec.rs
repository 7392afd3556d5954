//! `rubber exec`: run a command in a container that runs.

use super::{environment, privileges, run};
use crate::{
    config::Config,
    container::{
        find::{self, Container, State},
        streams::{Pipes, Streams},
        waiter::{self, Fate},
    },
    image::Store,
    join::{self, Target},
    narrate::{self, Form, Narrator},
    seal, sys,
};
use anyhow::{Result, bail};
use std::{
    ffi::OsString,
    io::{IsTerminal, stdin, stdout},
    os::unix::net::UnixStream,
    path::PathBuf,
};

/// Run a command in a container that runs
#[derive(clap::Args)]
pub struct Exec {
    /// Its name, its id, or the beginning of its id
    container: String,
    #[arg(required = true, value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
    /// Keep stdin open for the command (without -t it always is)
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal of its own
    #[arg(short, long)]
    tty: bool,
    /// Leave it in the background; what it prints is lost
    #[arg(short, long)]
    detach: bool,
    /// Set a variable, NAME=VALUE; NAME alone takes the caller's value
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<OsString>,
    /// Set the variables of a file, one NAME=VALUE or NAME a line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Directory to start in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// User and group, names (the image's) or numbers
    #[arg(short, long, value_name = "USER[:GROUP]", allow_hyphen_values = true)]
    user: Option<String>,
    /// Give a capability that the container does not have
    #[arg(long, value_name = "CAP")]
    cap_add: Vec<String>,
    /// Give all capabilities
    #[arg(long)]
    privileged: bool,
    /// Tell each step and each system call, with its result, on stderr
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    explain: Option<run::Explain>,
}

impl Exec {
    pub fn main(self, store: &Store) -> Result<u8> {
        seal::seal_program()?;
        let form = match self.explain {
            Some(run::Explain::Json) => Form::Json,
            Some(run::Explain::Text) => Form::Text,
            None => Form::Silent,
        };
        narrate::start(Narrator { form, ..Narrator::default() });
        let container = find::find(store, &self.container)?;
        let may_be_left = self.detach || self.tty && self.interactive && stdin().is_terminal();
        let waiter = match may_be_left.then(|| waiter::split(&container.name)).transpose()? {
            Some(Err(Fate::Ended(code))) => return Ok(code),
            Some(Err(Fate::LetGo)) => return Ok(0),
            Some(Ok(waiter)) => waiter,
            None => None,
        };
        let config = self.config(container)?;
        *config.streams.waiter.borrow_mut() = waiter;
        sys::umask(0o022)?;
        join::join(&config)
    }

    /// The container's own, but for what was asked for.
    fn config(&self, container: Container) -> Result<Config> {
        if let State::Paused(_) = container.state {
            bail!("container {0} is paused: rubber unpause {0}", container.name);
        }
        let (pid, pidfd) = container.pidfd()?;
        let was = container.record.config;
        let mut env = was.env.clone();
        for file in &self.env_file {
            environment::set_file(&mut env, file)?;
        }
        environment::set_all(&mut env, &self.env)?;
        if self.tty || stdout().is_terminal() {
            environment::set_terminal(&mut env);
        }
        let env = environment::last_of_each(&env);
        environment::refuse_too_much(&self.command, &env, &was.limits)?;
        let workdir = self.workdir.clone().unwrap_or(was.workdir.clone());
        if !workdir.is_absolute() {
            bail!("--workdir {workdir:?} must start with a slash: it is a directory of the container's");
        }
        let capabilities = match self.privileged || !self.cap_add.is_empty() {
            true => privileges::with(&was.capabilities, &self.cap_add, self.privileged, was.layers)?,
            false => was.capabilities.clone(),
        };
        Ok(Config {
            command: self.command.clone(),
            env,
            workdir,
            user: self.user.clone().filter(|user| !user.is_empty()).unwrap_or(was.user.clone()),
            capabilities,
            interactive: self.interactive,
            tty: self.tty,
            init: false,
            streams: self.streams()?,
            target: Some(Target::open(pid, pidfd)?),
            ..was
        })
    }

    fn streams(&self) -> Result<Streams> {
        let mut streams = Streams {
            terminal: self.tty.then(UnixStream::pair).transpose()?,
            in_background: self.detach,
            ..Streams::default()
        };
        if !self.tty {
            streams.pipes = if self.detach { Some(Pipes::of_background(false)?) } else { Pipes::lent()? };
        }
        if self.detach {
            streams.tell_start()?;
        }
        Ok(streams)
    }
}

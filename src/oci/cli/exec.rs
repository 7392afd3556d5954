//! exec: its words, and the process they make.

use crate::{
    container::streams::Streams,
    oci::{
        exec::{Wish, exec},
        facts, life,
        state::{Container, States},
    },
};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::{os::unix::net::UnixStream, path::PathBuf};

#[derive(Args)]
pub struct Exec {
    id: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// A file with a process, as config.json has it
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Do not wait for its end
    #[arg(short, long)]
    detach: bool,
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// The socket that its pidfd is sent to
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Also in a container that is paused: it waits with it
    #[arg(long)]
    ignore_paused: bool,
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// User and group, numbers
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,
    /// Give it one more capability
    #[arg(short, long, value_name = "CAP")]
    cap: Vec<String>,
    #[arg(long)]
    no_new_privs: bool,
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
}

impl Exec {
    pub fn main(self, states: &States) -> Result<u8> {
        let container = states.find(&self.id)?;
        let process: oci_spec::runtime::Process = serde_json::from_value(self.process(&container)?)
            .context("it is no process of the OCI runtime specification")?;
        let has_terminal = process.terminal().unwrap_or(false);
        let streams = match (&self.console_socket, has_terminal) {
            (Some(socket), true) => life::console(socket)?,
            (None, true) if self.detach => {
                bail!("cannot allocate tty if rubber-oci will detach without setting console socket")
            }
            (None, true) => Streams { terminal: Some(UnixStream::pair()?), ..Streams::default() },
            (Some(_), false) => {
                bail!("cannot use console socket if rubber-oci will not detach or allocate tty")
            }
            (None, false) => Streams::default(),
        };
        let wish = Wish {
            process,
            pid_file: self.pid_file,
            pidfd_socket: self.pidfd_socket,
            is_detached: self.detach,
            ignores_pause: self.ignore_paused,
            preserve_fds: self.preserve_fds,
        };
        exec(&container, &wish, streams)
    }

    /// A file's, or the container's own with what was asked for.
    fn process(&self, container: &Container) -> Result<Value> {
        if let Some(file) = &self.process {
            return facts::read(file);
        }
        ensure!(!self.command.is_empty(), "exec needs a command, or --process FILE");
        let mut process = container.record.config["process"].clone();
        process["args"] = json!(self.command);
        process["terminal"] = json!(self.tty);
        if let Some(cwd) = &self.cwd {
            process["cwd"] = json!(cwd);
        }
        if self.no_new_privs {
            process["noNewPrivileges"] = json!(true);
        }
        let mut env = process["env"].as_array().cloned().unwrap_or_default();
        env.extend(self.env.iter().map(|entry| json!(entry)));
        process["env"] = json!(env);
        if let Some(user) = &self.user {
            let (uid, gid) = user.split_once(':').map_or((&user[..], None), |(uid, gid)| (uid, Some(gid)));
            let number = |word: &str| {
                word.parse::<u32>().with_context(|| format!("--user {user}: a number is needed"))
            };
            process["user"]["uid"] = json!(number(uid)?);
            // As runc: who names no group has the container's, and not root's.
            if let Some(gid) = gid {
                process["user"]["gid"] = json!(number(gid)?);
            }
        }
        let mut groups = process["user"]["additionalGids"].as_array().cloned().unwrap_or_default();
        groups.extend(self.additional_gids.iter().map(|gid| json!(gid)));
        process["user"]["additionalGids"] = json!(groups);
        for set in ["bounding", "effective", "permitted"] {
            let mut all = process["capabilities"][set].as_array().cloned().unwrap_or_default();
            all.extend(self.cap.iter().map(|one| json!(one)));
            process["capabilities"][set] = json!(all);
        }
        Ok(process)
    }
}

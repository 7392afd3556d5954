//! The command line: runc's words, before and after the id.

mod exec;
mod update;

use super::{
    events, facts, given,
    life::{self, Force, Groups, Whom},
    log::{self, Format},
    state::{Container, States, Status},
};
use crate::{
    container::{self, streams::Streams},
    seal,
    show::{columns, json},
};
use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand};
use serde_json::Value;
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// What runc exits with when a command could not be executed in a container.
const NOT_EXECUTED: u8 = 255;

/// Run containers from OCI bundles, as podman, containerd and others ask for it
#[derive(Parser)]
#[command(name = "rubber-oci", version = VERSION, max_term_width = 100)]
struct Cli {
    /// Where the containers' states are kept [default: /run/rubber-oci, or $XDG_RUNTIME_DIR/rubber-oci]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Write what goes wrong into a file as well
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How it is written there
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: Format,
    /// Accepted, as runc does: there is nothing more to tell
    #[arg(long)]
    debug: bool,
    /// Have systemd make the cgroup: cgroupsPath is slice:prefix:name
    #[arg(long)]
    systemd_cgroup: bool,
    /// Who makes the cgroups, as crun has it: cgroupfs, systemd, or disabled, and then nobody does
    #[arg(long, value_name = "MANAGER", default_value = "cgroupfs", value_parser = ["cgroupfs", "systemd", "disabled"])]
    cgroup_manager: String,
    /// Accepted, as runc does: whether cgroups are ours to make is found out
    #[arg(long, value_name = "true|false|auto", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rootless: Option<String>,
    #[command(subcommand)]
    command: Command,
}

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\nspec: 1.2.0");

// Only the flags of the command that was typed are looked at.
#[derive(Subcommand)]
#[command(defer = true)]
enum Command {
    /// Make a container, which then waits to be started
    Create(New),
    /// Start the command of a container that is made
    Start { id: String },
    /// Make a container, start it, and wait for its end
    Run {
        #[command(flatten)]
        new: New,
        /// Do not wait
        #[arg(short, long)]
        detach: bool,
    },
    /// Print a container's state
    State { id: String },
    /// Send a container's first process a signal
    Kill {
        id: String,
        #[arg(default_value = "SIGTERM")]
        signal: String,
        /// Send it to all its processes
        #[arg(short, long)]
        all: bool,
    },
    /// Remove a container that has ended
    Delete {
        id: String,
        /// Kill it first; and it is no error if there is none
        #[arg(short, long)]
        force: bool,
    },
    /// Run another command in a container
    Exec(Box<exec::Exec>),
    /// List the containers
    List {
        #[arg(short, long, value_name = "table|json", default_value = "table")]
        format: String,
        /// Only their ids
        #[arg(short, long)]
        quiet: bool,
    },
    /// List the processes of a container
    Ps {
        #[arg(short, long, value_name = "table|json", default_value = "table")]
        format: String,
        id: String,
        /// Options of ps(1)
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Stop all processes of a container where they are
    Pause { id: String },
    /// Let a paused container go on
    Resume { id: String },
    /// Change a container's limits
    Update(Box<update::Update>),
    /// Print what a container uses, again and again until it ends
    Events {
        id: String,
        /// Once
        #[arg(long)]
        stats: bool,
        /// How long to wait in between
        #[arg(long, value_name = "TIME", default_value = "5s", value_parser = humantime::parse_duration)]
        interval: Duration,
    },
    /// Print what this runtime can do
    Features,
    /// Write a config.json to begin with
    Spec {
        /// The directory it is written into
        #[arg(short, long, value_name = "DIR", default_value = ".")]
        bundle: PathBuf,
        /// For who is not root: a user namespace, in which they are
        #[arg(long)]
        rootless: bool,
    },
}

#[derive(Args)]
struct New {
    id: String,
    /// The directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Write the number of its first process into a file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// The socket that its terminal is sent to
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// The socket that a pidfd of its first process is sent to
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Accepted, as runc does: the root is always swapped
    #[arg(long)]
    no_pivot: bool,
    /// Accepted, as runc does
    #[arg(long)]
    no_new_keyring: bool,
    /// Give it that many descriptors above 2
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
}

/// Does what `words` say, and returns the exit code: what goes wrong is told where the client looks for it.
pub fn main(words: Vec<OsString>) -> Result<u8> {
    // Who runs /proc/self/exe in a container gets hold of a program that nobody can write to. First of all, as what
    // was done before would be done again.
    let enters = words.iter().any(|word| ["create", "run", "exec"].iter().any(|name| word == name));
    let covered = if enters { seal::seal_program() } else { Ok(()) };
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return Ok(u8::from(error.use_stderr()));
        }
    };
    let logged = cli.log.as_deref().map_or(Ok(()), |file| log::start(file, cli.log_format));
    let code = if let Command::Exec(_) = cli.command { NOT_EXECUTED } else { 1 };
    Ok(logged.and(covered).and_then(|()| cli.main()).unwrap_or_else(|error| {
        log::error(&format!("{error:#}"));
        code
    }))
}

impl Cli {
    fn main(self) -> Result<u8> {
        let states = States::open(self.root)?;
        let find = |id: &str| states.find(id);
        let groups = match &*self.cgroup_manager {
            "disabled" => Groups::Left,
            "systemd" => Groups::BySystemd,
            _ if self.systemd_cgroup => Groups::BySystemd,
            _ => Groups::ByUs,
        };
        match self.command {
            Command::Create(new) => create(&states, new, groups).map(|_| 0),
            Command::Start { id } => life::start(&find(&id)?).map(|()| 0),
            Command::Run { new, detach: true } => {
                create(&states, new, groups).and_then(|it| started(&it)).map(|()| 0)
            }
            Command::Run { new, detach: false } => run(&states, new, groups),
            Command::State { id } => {
                let container = find(&id)?;
                print(&container.state(container.status())).map(|()| 0)
            }
            Command::Kill { id, signal, all } => {
                let whom = if all { Whom::All } else { Whom::First };
                life::kill(&find(&id)?, container::signal(&signal)?, whom).map(|()| 0)
            }
            Command::Delete { id, force } => delete(&states, &id, force).map(|()| 0),
            Command::Exec(exec) => exec.main(&states),
            Command::List { format, quiet } => list(&states, &format, quiet).map(|()| 0),
            Command::Ps { format, id, args } => facts::processes(&find(&id)?, &format, &args).map(|()| 0),
            Command::Pause { id } => life::pause(&find(&id)?).map(|()| 0),
            Command::Resume { id } => life::resume(&find(&id)?).map(|()| 0),
            Command::Update(update) => update.main(&states).map(|()| 0),
            Command::Events { id, stats, interval } => events(&find(&id)?, stats, interval).map(|()| 0),
            Command::Features => print(&facts::features()).map(|()| 0),
            Command::Spec { bundle, rootless } => facts::write_spec(&bundle, rootless).map(|()| 0),
        }
    }
}

impl New {
    fn wish(self, groups: Groups) -> Result<life::Wish> {
        let New { id, bundle, pid_file, console_socket, pidfd_socket, preserve_fds, .. } = self;
        let file = given::read(&bundle)?;
        Ok(life::Wish { id, file, pid_file, console_socket, pidfd_socket, preserve_fds, groups })
    }
}

fn create(states: &States, new: New, groups: Groups) -> Result<Container> {
    let wish = new.wish(groups)?;
    let streams = match (&wish.console_socket, wish.file.has_terminal()) {
        (Some(socket), true) => life::console(socket)?,
        (None, true) => bail!("cannot allocate tty if rubber-oci will detach without setting console socket"),
        (Some(_), false) => bail!("cannot use console socket if rubber-oci will not detach or allocate tty"),
        (None, false) => Streams::default(),
    };
    life::create(states, &wish, streams)
}

/// What cannot be started has no use for anybody.
fn started(container: &Container) -> Result<()> {
    life::start(container).inspect_err(|_| {
        let _ = life::delete(container, Force::Yes);
    })
}

fn run(states: &States, new: New, groups: Groups) -> Result<u8> {
    ensure!(
        new.console_socket.is_none(),
        "cannot use console socket if rubber-oci will not detach or allocate tty"
    );
    life::run(states, &new.wish(groups)?)
}

fn delete(states: &States, id: &str, force: bool) -> Result<()> {
    match states.find(id) {
        Ok(container) => life::delete(&container, if force { Force::Yes } else { Force::No }),
        Err(_) if force => life::delete_remains(states, id),
        Err(error) => Err(error),
    }
}

fn events(container: &Container, only_once: bool, interval: Duration) -> Result<()> {
    let id = &container.record.id;
    ensure!(container.status() != Status::Stopped, "container with id {id} is not running");
    if only_once { events::once(container) } else { events::follow(container, interval) }
}

fn list(states: &States, format: &str, quiet: bool) -> Result<()> {
    let all = states.all()?;
    let text = match format {
        _ if quiet => all.iter().map(|container| format!("{}\n", container.record.id)).collect(),
        "json" => {
            let states: Vec<_> = all.iter().map(|container| container.state(container.status())).collect();
            json::line(&states)? + "\n"
        }
        "table" => facts::table(&all),
        other => bail!("--format {other}: it is table or json"),
    };
    columns::print(&text)
}

fn print(value: &Value) -> Result<()> {
    columns::print(&json::pretty(value)?)
}

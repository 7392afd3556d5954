//! The command line: words in, one sentence per command out.

mod attach;
mod clean;
mod commit;
mod cp;
mod demo;
mod diff;
mod doctor;
mod end;
mod ends;
mod environment;
mod exec;
mod export;
mod facts;
mod history;
mod image;
mod images;
mod import;
mod inspect;
mod layers;
mod learn;
mod limits;
mod logs;
mod mounts;
mod names;
mod namespaces;
mod pages;
mod pause;
mod portrait;
mod privileges;
mod ps;
mod pull;
mod rename;
mod rmi;
mod run;
mod save;
mod security;
mod stats;
mod sysctls;
mod tag;
mod top;
mod volume;

use crate::image::Store;
use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Build a Linux container one layer at a time, in the open
#[derive(Parser)]
#[command(version, max_term_width = 100, disable_help_subcommand = true)]
struct Cli {
    /// Where images and containers are kept [default: /var/lib/rubber, or ~/.local/share/rubber without root]
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

// Only the flags of the command that was typed are looked at: `run` is in a hurry.
#[derive(Subcommand)]
#[command(defer = true)]
enum Command {
    /// Run a command in a new container
    Run(Box<run::Run>),
    /// Run a command in a container that runs
    Exec(Box<exec::Exec>),
    /// List the containers
    Ps(ps::Ps),
    /// Print what a container has printed
    Logs(logs::Logs),
    /// Go back to a container in the background
    Attach(attach::Attach),
    /// Ask containers to end, and make them after a while
    Stop(end::Stop),
    /// Send containers a signal
    Kill(end::Kill),
    /// Wait until containers have ended, and print their exit codes
    Wait(end::Wait),
    /// Remove containers that have ended
    Rm(end::Rm),
    /// Copy files into a container, and out of one
    Cp(cp::Cp),
    /// List what a container has changed in its root
    Diff(diff::Diff),
    /// Make an image of what a container has become
    Commit(commit::Commit),
    /// Write a container's files as a tar archive
    Export(export::Export),
    /// Stop all processes of containers where they are
    Pause(pause::Pause),
    /// Let paused containers go on
    Unpause(pause::Unpause),
    /// Give a container another name
    Rename(rename::Rename),
    /// List the processes of a container
    Top(top::Top),
    /// Show what containers use
    Stats(stats::Stats),
    /// Print all that is known of containers and images
    Inspect(inspect::Inspect),
    /// List the images in the store
    Images(images::Images),
    /// Make an image from an archive of images or of a root filesystem, or from a directory
    Import(import::Import),
    /// Write images as an archive that others read
    Save(save::Save),
    /// Give an image another name
    Tag(tag::Tag),
    /// Show how an image was made
    History(history::History),
    /// Get images from a registry
    Pull(pull::Pull),
    /// Remove images, and the layers that no other image uses
    Rmi(rmi::Rmi),
    /// All of these for images, as docker has them, and prune
    Image(image::Image),
    /// List, make and remove named volumes
    Volume(volume::Volume),
    /// Show every step rubber takes to make a container
    Layers(layers::Layers),
    /// Show what a process sees, and what the kernel says of it
    Facts(facts::Args),
    /// Examine this machine: what works, what does not, and the fix
    Doctor(doctor::Doctor),
    /// Build each layer yourself, and have the kernel confirm it
    Learn(learn::Learn),
    /// Show what each layer changes: the same command without it and with it
    Demo(demo::Demo),
    /// Remove what killed containers and imports have left behind
    Clean(clean::Clean),
    /// Print a script that completes commands and flags in your shell
    Completions(pages::Completions),
    /// Write manual pages into a directory
    Man(pages::Man),
    #[command(hide = true)]
    Portrait(portrait::Args),
    /// A process of the demos' stand-in host
    #[command(hide = true)]
    Serve,
}

/// How a list is printed: for people, or for programs.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Does what the command line says, and returns the exit code.
pub fn main() -> Result<u8> {
    if let Some(words) = crate::oci::words() {
        return crate::oci::main(words);
    }
    let Cli { root, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(error),
    };
    let store = || Store::open(root.clone());
    match command {
        Command::Run(run) => run.main(root),
        Command::Exec(exec) => exec.main(&store()?),
        Command::Ps(ps) => ps.main(&store()?).map(|()| 0),
        Command::Logs(logs) => logs.main(&store()?).map(|()| 0),
        Command::Attach(attach) => attach.main(&store()?),
        Command::Stop(stop) => stop.main(&store()?).map(|()| 0),
        Command::Kill(kill) => kill.main(&store()?).map(|()| 0),
        Command::Wait(wait) => wait.main(&store()?).map(|()| 0),
        Command::Rm(rm) => rm.main(&store()?).map(|()| 0),
        Command::Cp(cp) => cp.main(&store()?).map(|()| 0),
        Command::Diff(diff) => diff.main(&store()?).map(|()| 0),
        Command::Commit(commit) => commit.main(&store()?).map(|()| 0),
        Command::Export(export) => export.main(&store()?).map(|()| 0),
        Command::Pause(pause) => pause.main(&store()?).map(|()| 0),
        Command::Unpause(unpause) => unpause.main(&store()?).map(|()| 0),
        Command::Rename(rename) => rename.main(&store()?).map(|()| 0),
        Command::Top(top) => top.main(&store()?).map(|()| 0),
        Command::Stats(stats) => stats.main(&store()?).map(|()| 0),
        Command::Inspect(inspect) => inspect.main(&store()?).map(|()| 0),
        Command::Images(images) => images.main(&store()?).map(|()| 0),
        Command::Import(import) => import.main(&store()?).map(|()| 0),
        Command::Save(save) => save.main(&store()?).map(|()| 0),
        Command::Tag(tag) => tag.main(&store()?).map(|()| 0),
        Command::History(history) => history.main(&store()?).map(|()| 0),
        Command::Image(image) => image.main(&store()?).map(|()| 0),
        Command::Pull(pull) => pull.main(&store()?).map(|()| 0),
        Command::Rmi(rmi) => rmi.main(&store()?).map(|()| 0),
        Command::Volume(volume) => volume.main(&store()?).map(|()| 0),
        Command::Layers(layers) => layers.main().map(|()| 0),
        Command::Facts(args) => facts::main(&args),
        Command::Doctor(doctor) => doctor.main(root.as_deref()),
        Command::Learn(learn) => learn.main(),
        Command::Demo(demo) => demo.main(store()?),
        Command::Clean(clean) => clean.main(&store()?).map(|()| 0),
        Command::Completions(completions) => completions.main().map(|()| 0),
        Command::Man(man) => man.main().map(|()| 0),
        Command::Portrait(args) => portrait::main(&args),
        Command::Serve => crate::show::demo::service::main(),
    }
}

/// clap knows how to say what is wrong; the exit code is docker's (the workshop has its own, see `learn`).
fn usage(error: clap::Error) -> Result<u8> {
    let _ = error.print();
    let code = if std::env::args_os().nth(1).is_some_and(|word| word == "learn") { 2 } else { 125 };
    Ok(if error.use_stderr() { code } else { 0 })
}

fn line(text: &str) -> Result<()> {
    crate::show::columns::print(&format!("{text}\n"))
}

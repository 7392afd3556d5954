//! Whose stdin, stdout and stderr the command gets: the caller's, a terminal of its own (`-t`), or pipes: where they are
//! files of the caller's, and where what is printed is written down (`-d`).

use super::{lent, terminal, waiter::Waiter};
use crate::{config::Config, narrate};
use anyhow::Result;
use nix::fcntl::OFlag;
use std::{
    cell::{Cell, RefCell},
    fs::{File, OpenOptions},
    io::{PipeReader, PipeWriter, Write, pipe},
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::OpenOptionsExt,
    },
    rc::Rc,
};

#[derive(Default)]
pub struct Streams {
    pub terminal: Option<terminal::Channel>,
    pub pipes: Option<Pipes>,
    /// What comes out is written down.
    pub is_logged: bool,
    /// Nobody watches (`-d`).
    pub in_background: bool,
    /// The process that waits for us and can be let go.
    pub waiter: RefCell<Option<Waiter>>,
    pub runs: Rc<Cell<bool>>,
    /// The container's end goes when the command runs, or when it never will.
    pub start: Option<Start>,
}

pub struct Start {
    reader: RefCell<Option<PipeReader>>,
    writer: RefCell<Option<PipeWriter>>,
}

pub struct Pipes {
    /// None: nothing can be typed.
    pub stdin: Option<Inlet>,
    /// The caller's own, as nobody need read along.
    pub callers_stdin: bool,
    /// None: the caller's own.
    pub stdout: Option<Outlet>,
    pub stderr: Option<Outlet>,
    pub copies: Copies,
}

/// Which of the pipes stand for a file of the caller's, and are copied as they are.
#[derive(Clone, Copy, PartialEq)]
pub enum Copies {
    None,
    Stdin,
    All,
}

/// A pipe: the container's end, then ours. Each side lets go of the other's after the fork.
pub struct End<A, B>(RefCell<Option<A>>, RefCell<Option<B>>);

impl<A, B> End<A, B> {
    fn new(theirs: A, ours: B) -> End<A, B> {
        End(RefCell::new(Some(theirs)), RefCell::new(Some(ours)))
    }

    /// Our end, once; theirs is closed on this side.
    pub fn take_ours(&self) -> Option<B> {
        self.0.take();
        self.1.take()
    }

    /// The same, and theirs stays open.
    pub fn take_both(&self) -> Option<(A, B)> {
        self.0.take().zip(self.1.take())
    }

    fn take_theirs(&self) -> Option<A> {
        self.1.take();
        self.0.take()
    }
}

type Inlet = End<PipeReader, PipeWriter>;
type Outlet = End<PipeWriter, PipeReader>;

fn inlet() -> Result<Inlet> {
    Ok(pipe().map(|(reader, writer)| End::new(reader, writer))?)
}

fn outlet() -> Result<Outlet> {
    Ok(pipe().map(|(reader, writer)| End::new(writer, reader))?)
}

impl Pipes {
    /// For a command in the background.
    pub fn of_background(open_stdin: bool) -> Result<Pipes> {
        let stdin = open_stdin.then(inlet).transpose()?;
        let (stdout, stderr) = (Some(outlet()?), Some(outlet()?));
        Ok(Pipes { stdin, callers_stdin: false, stdout, stderr, copies: Copies::None })
    }

    /// For one whose caller watches, and what it prints is written down.
    pub fn logged() -> Result<Pipes> {
        (1..=2).try_for_each(|stream| lent::is_file(stream).map(drop))?;
        let stdin = lent::is_file(0)?.then(inlet).transpose()?;
        let copies = if stdin.is_some() { Copies::Stdin } else { Copies::None };
        Ok(Pipes { stdin, callers_stdin: true, stdout: Some(outlet()?), stderr: Some(outlet()?), copies })
    }

    /// In the place of what of the caller's streams cannot be handed in. None where all can.
    pub fn lent() -> Result<Option<Pipes>> {
        let files = [lent::is_file(0)?, lent::is_file(1)?, lent::is_file(2)?];
        if !files.contains(&true) {
            return Ok(None);
        }
        let stdin = files[0].then(inlet).transpose()?;
        let stdout = files[1].then(outlet).transpose()?;
        let stderr = match &stdout {
            Some(End(writer, _)) if files[2] && lent::are_one() => {
                let both = writer.borrow().as_ref().map(PipeWriter::try_clone).transpose()?;
                Some(End(RefCell::new(both), RefCell::new(None)))
            }
            _ => files[2].then(outlet).transpose()?,
        };
        Ok(Some(Pipes { stdin, callers_stdin: true, stdout, stderr, copies: Copies::All }))
    }
}

impl Streams {
    /// Has the start told: see `started`.
    pub fn tell_start(&mut self) -> Result<()> {
        let (reader, writer) = pipe()?;
        let (reader, writer) = (RefCell::new(Some(reader)), RefCell::new(Some(writer)));
        self.start = Some(Start { reader, writer });
        Ok(())
    }

    /// For the supervisor: at its end, without a byte, the command runs.
    pub fn started(&self) -> Option<PipeReader> {
        let start = self.start.as_ref()?;
        start.writer.take();
        start.reader.take()
    }

    /// The descriptor that says so to the supervisor.
    pub fn start(&self) -> Option<RawFd> {
        self.start.as_ref()?.writer.borrow().as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Whether the command came to run: whoever finds out says so in here.
    pub fn runs(&self) -> Rc<Cell<bool>> {
        self.runs.clone()
    }

    /// Whether none of the caller's files may stay open in the container.
    pub fn are_copied(&self) -> bool {
        self.in_background || self.pipes.as_ref().is_some_and(|pipes| pipes.copies != Copies::None)
    }

    pub fn waiter(&self) -> Option<Waiter> {
        self.waiter.take()
    }

    /// For pid 1: it will never run.
    pub fn failed(&self) {
        if let Some(mut writer) = self.start.as_ref().and_then(|start| start.writer.take()) {
            let _ = writer.write_all(b"x");
        }
    }

    /// For an init, which stays: its child is the command.
    pub fn let_go(&self) {
        if let Some(start) = &self.start {
            start.writer.take();
        }
    }
}

/// Takes them, inside. What is still to be said by rubber goes on to its caller.
pub fn take(config: &Config) -> Result<()> {
    terminal::take(config)?;
    let Some(pipes) = &config.streams.pipes else { return Ok(()) };
    if narrate::is_dry() {
        return Ok(());
    }
    narrate::keep_listener();
    match &pipes.stdin {
        Some(stdin) => stdin.take_theirs().map(nix::unistd::dup2_stdin).transpose().map(drop)?,
        None if pipes.callers_stdin => {}
        None => nix::unistd::dup2_stdin(null()?)?,
    }
    let theirs = |pipe: &Option<Outlet>| pipe.as_ref().and_then(End::take_theirs);
    theirs(&pipes.stdout).map(nix::unistd::dup2_stdout).transpose()?;
    theirs(&pipes.stderr).map(nix::unistd::dup2_stderr).transpose()?;
    Ok(())
}

/// By a relative name where it is the host's, see `run`; and a container need not have one.
fn null() -> Result<File> {
    let open =
        |name| OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(name);
    Ok(open("dev/null").or_else(|_| open("/dev/null"))?)
}

//! Copies what goes in and comes out of a container, where that are not simply the caller's own streams:
//! between its terminal or its pipes on one side, and on the other the caller, the log and whoever attached.

use super::{
    attach::Door,
    caller::{self, Caller, Typed},
    lent::Lent,
    log::{Log, Stream},
    streams::{Copies, Pipes},
    terminal,
    waiter::Waiter,
};
use crate::{config::Config, narrate};
use anyhow::Result;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    libc,
    poll::PollFlags,
    sys::signalfd::SignalFd,
};
use std::{
    cell::Cell,
    fs::File,
    io::{ErrorKind, PipeReader, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    rc::Rc,
};

/// What can be waited for.
#[derive(Clone, Copy, PartialEq)]
pub enum Event {
    /// The container's terminal comes out.
    Terminal,
    /// Something was printed.
    Printed(usize),
    /// A file of the caller's can be copied to or from.
    Lent(usize),
    /// There is room again for what was typed.
    Room,
    Typed,
    Started,
    Door,
    Client(usize),
}

#[derive(Default)]
pub struct Relay {
    /// Where the container's terminal will come from.
    channel: Option<UnixStream>,
    terminal: Option<File>,
    outlets: Vec<(Stream, File)>,
    lent: Vec<Lent>,
    /// Something that was printed could not be copied to where it was to go.
    lost: bool,
    inlet: Option<File>,
    /// Typed, but not taken by the container yet.
    typed: Vec<u8>,
    caller: Option<Caller>,
    log: Option<Log>,
    /// The container's, beside which its log and its door are; none for who has only joined it.
    dir: Option<PathBuf>,
    door: Option<Door>,
    started: Option<PipeReader>,
    runs: Rc<Cell<bool>>,
    waiter: Option<Waiter>,
}

impl Relay {
    /// For who has nothing to copy.
    pub fn none() -> Relay {
        Relay::default()
    }

    /// After the fork, on rubber's side.
    pub fn start(config: &Config) -> Result<Relay> {
        let streams = &config.streams;
        let (started, waiter, runs) = (streams.started(), streams.waiter(), streams.runs());
        let mut relay = Relay { started, waiter, runs, ..Relay::default() };
        if streams.terminal.is_none() && streams.pipes.is_none() {
            return Ok(relay);
        }
        relay.dir = config.target.is_none().then(|| config.dir.clone());
        relay.open_log(streams.is_logged)?;
        relay.caller = (!streams.in_background).then(|| Caller::new(config.interactive));
        if let Some((ours, _)) = &streams.terminal {
            relay.channel = Some(ours.try_clone()?);
        }
        if let Some(pipes) = &streams.pipes {
            relay.take_pipes(pipes)?;
        }
        relay.open_door(streams.in_background)?;
        Ok(relay)
    }

    fn take_pipes(&mut self, pipes: &Pipes) -> Result<()> {
        let outlets = [(Stream::Stdout, 1, &pipes.stdout), (Stream::Stderr, 2, &pipes.stderr)];
        for (stream, number, pipe) in outlets {
            let Some(reader) = pipe.as_ref().and_then(|pipe| pipe.take_ours()) else { continue };
            let file = nonblocking(OwnedFd::from(reader))?;
            match pipes.copies {
                Copies::All => self.lent.push(Lent::outlet(file.into(), number)),
                _ => self.outlets.push((stream, file)),
            }
        }
        let Some(stdin) = &pipes.stdin else { return Ok(()) };
        if pipes.copies == Copies::None {
            let inlet = stdin.take_ours().map(|writer| nonblocking(OwnedFd::from(writer)));
            self.inlet = inlet.transpose()?;
        } else if let Some((reader, writer)) = stdin.take_both() {
            self.lent.push(Lent::stdin(writer.into(), reader.into()));
        }
        Ok(())
    }

    fn open_log(&mut self, wanted: bool) -> Result<()> {
        if let Some(dir) = self.dir.as_ref().filter(|_| wanted) {
            self.log = Some(Log::open(dir.with_extension("log"))?);
        }
        Ok(())
    }

    fn open_door(&mut self, wanted: bool) -> Result<()> {
        if let Some(dir) = self.dir.as_ref().filter(|_| wanted) {
            self.door = Some(Door::open(&dir.with_extension("attach"))?);
        }
        Ok(())
    }

    pub fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    /// What to wait for now.
    pub fn events(&self) -> Vec<(Event, BorrowedFd<'_>, PollFlags)> {
        let mut events = Vec::new();
        let mut wait = |event, fd, flags| events.push((event, fd, flags));
        if let Some(channel) = &self.channel {
            wait(Event::Terminal, channel.as_fd(), PollFlags::POLLIN);
        }
        for (n, (_, file)) in self.outlets.iter().enumerate() {
            wait(Event::Printed(n), file.as_fd(), PollFlags::POLLIN);
        }
        for (n, (fd, flags)) in self.lent.iter().enumerate().filter_map(|(n, lent)| Some((n, lent.event()?)))
        {
            wait(Event::Lent(n), fd, flags);
        }
        if let Some(started) = &self.started {
            wait(Event::Started, started.as_fd(), PollFlags::POLLIN);
        }
        if let Some(inlet) = self.inlet.as_ref().filter(|_| !self.typed.is_empty()) {
            wait(Event::Room, inlet.as_fd(), PollFlags::POLLOUT);
        }
        let takes = self.inlet.is_some() && self.typed.is_empty();
        if takes && self.caller.as_ref().is_some_and(|caller| caller.reads) {
            wait(Event::Typed, Caller::fd(), PollFlags::POLLIN);
        }
        if let Some(door) = &self.door {
            wait(Event::Door, door.listener(), PollFlags::POLLIN);
            for (n, client) in door.clients().enumerate().filter(|_| self.typed.is_empty()) {
                wait(Event::Client(n), client, PollFlags::POLLIN);
            }
        }
        events
    }

    pub fn take(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Terminal => match self.channel.take() {
                Some(channel) => self.take_over(terminal::receive(&channel)?),
                None => Ok(()),
            },
            Event::Printed(n) => self.show(n),
            Event::Lent(n) => {
                let passed = self.lent[n].pass();
                self.note_loss(self.lent[n].name(), passed);
                Ok(())
            }
            Event::Room => self.hand_in(),
            Event::Typed => self.read_typed(),
            Event::Started => self.note_start(),
            Event::Door => self.door.as_mut().map_or(Ok(()), Door::answer),
            Event::Client(n) => self.hear_client(n),
        }
    }

    fn take_over(&mut self, terminal: Option<File>) -> Result<()> {
        let Some(terminal) = terminal else { return Ok(()) };
        let terminal = nonblocking(terminal.into())?;
        self.outlets = vec![(Stream::Stdout, terminal.try_clone()?)];
        self.inlet = Some(terminal.try_clone()?);
        self.terminal = Some(terminal);
        self.resize(caller::window().filter(|_| self.caller.is_some()));
        self.caller.as_mut().map_or(Ok(()), Caller::make_raw)
    }

    /// The window has a new size: the caller's, unless another was told.
    pub fn resize(&self, size: Option<libc::winsize>) {
        let (Some(terminal), Some(size)) = (&self.terminal, size) else { return };
        // SAFETY: the call reads one winsize, which is ours.
        unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &size) };
    }

    /// Passes on what the container printed. EIO: nobody inside has its terminal open any more.
    fn show(&mut self, n: usize) -> Result<()> {
        let Some((stream, file)) = self.outlets.get_mut(n) else { return Ok(()) };
        let (stream, mut bytes) = (*stream, [0; 16384]);
        match file.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => {
                self.outlets.remove(n);
                if self.terminal.take().is_some() {
                    self.inlet = None;
                    if let Some(caller) = &mut self.caller {
                        caller.restore();
                    }
                }
            }
            Ok(count) => self.tell(stream, &bytes[..count]),
        }
        Ok(())
    }

    /// A command that prints to where there is no room is told by a pipe that breaks; what became of it, is for us to tell.
    /// (Of a fifo nobody reads any more that is all there is to it.)
    fn note_loss<T>(&mut self, stream: &str, passed: Result<T, Errno>) {
        if let Err(errno) = passed
            && errno != Errno::EPIPE
        {
            self.lost = true;
            narrate::warn(format_args!("cannot copy the command's {stream}: {errno}"));
        }
    }

    fn tell(&mut self, stream: Stream, bytes: &[u8]) {
        if let Some(log) = &mut self.log {
            log.write(stream, bytes);
        }
        if let Some(caller) = &self.caller {
            caller.show(stream, bytes);
        }
        if let Some(door) = &mut self.door {
            door.tell(stream, bytes);
        }
    }

    fn read_typed(&mut self) -> Result<()> {
        let Some(caller) = &mut self.caller else { return Ok(()) };
        match caller.read() {
            Typed::Bytes(bytes) => self.typed.extend(bytes),
            Typed::End => self.end_of_input(),
            Typed::Detach => return self.detach(),
        }
        self.hand_in()
    }

    /// The end of a pipe is said to a terminal with Ctrl-D.
    fn end_of_input(&mut self) {
        match self.terminal {
            Some(_) => self.typed.push(4),
            None => self.inlet = None,
        }
    }

    fn hand_in(&mut self) -> Result<()> {
        let Some(inlet) = self.inlet.as_mut().filter(|_| !self.typed.is_empty()) else { return Ok(()) };
        match inlet.write(&self.typed) {
            Ok(count) => drop(self.typed.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.typed.clear(),
        }
        Ok(())
    }

    fn hear_client(&mut self, n: usize) -> Result<()> {
        let Some(door) = &mut self.door else { return Ok(()) };
        match door.hear(n) {
            super::attach::Said::Nothing => Ok(()),
            super::attach::Said::Typed(bytes) => {
                self.typed.extend(bytes);
                self.hand_in()
            }
            super::attach::Said::Window(size) => {
                self.resize(Some(size));
                Ok(())
            }
        }
    }

    /// The command runs, or has failed and told so.
    fn note_start(&mut self) -> Result<()> {
        let Some(mut started) = self.started.take() else { return Ok(()) };
        let told = started.read(&mut [0])?;
        self.runs.set(told == 0);
        if told == 0 && self.caller.is_none() { self.leave_caller() } else { Ok(()) }
    }

    /// From here on the container is in the background.
    fn detach(&mut self) -> Result<()> {
        if self.waiter.is_none() {
            return Ok(());
        }
        self.caller = None;
        self.open_log(self.log.is_none())?;
        self.open_door(true)?;
        self.leave_caller()
    }

    fn leave_caller(&mut self) -> Result<()> {
        self.waiter.take().map_or(Ok(()), Waiter::let_go)
    }

    /// What is still on its way out when the command has ended. Returns the exit code.
    pub fn drain(&mut self, code: u8, signals: Option<&SignalFd>) -> u8 {
        let _ = self.note_start();
        if let Some(channel) = self.channel.take() {
            let _ = channel.set_nonblocking(true);
            let _ = terminal::receive(&channel).and_then(|terminal| self.take_over(terminal));
        }
        for _ in 0..64 {
            for n in (0..self.outlets.len()).rev() {
                let _ = self.show(n);
            }
        }
        for mut lent in std::mem::take(&mut self.lent) {
            let finished = lent.finish(signals);
            self.note_loss(lent.name(), finished);
        }
        self.caller = None;
        if let Some(door) = self.door.take() {
            door.close(code);
        }
        if self.lost && code == 0 { 125 } else { code }
    }
}

fn nonblocking(fd: OwnedFd) -> Result<File> {
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(fd.into())
}

//! One side of a beat: the script at one stage, what it printed, and what the kernel said of its process.
//!
//! The script is held twice, before its first command and after its last, until the process that runs it has
//! been looked at. It says so with a mark on its output, which is a socket, and the kernel adds who sent it.

use super::{
    Ground,
    beats::{Beat, Stage},
    bundle,
    stand_in::{self, SECRET, StandIn},
};
use crate::{
    facts::{self, Facts},
    sys,
};
use anyhow::{Context, Result};
use nix::{
    cmsg_space,
    poll::{PollFd, PollFlags, poll},
    sys::{
        socket::{
            AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials, recvmsg,
            setsockopt, socketpair, sockopt::PassCred,
        },
        wait::WaitPidFlag,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{IoSliceMut, PipeWriter, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const MARK: u8 = 0o36;
/// More than any beat takes, also where the machine is busy.
const PATIENCE: Duration = Duration::from_secs(30);
const MOST: usize = 1 << 16;
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What came of it.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Side {
    /// What the script printed, and rubber before it.
    pub said: String,
    /// What the look at the host printed.
    pub host_said: Option<String>,
    /// What rubber still had to say when the script was done.
    pub said_last: String,
    /// As a shell has it; `None` when it did not end in time.
    pub code: Option<u8>,
    /// Of the process that ran the script, or of a bundle's first one; the host's are in `host`.
    pub facts: Value,
    /// Why there is nothing of the above.
    pub trouble: Option<String>,
}

/// Starts a stand-in host in which the beat runs at `stage`.
pub fn start(ground: &Ground, beat: &Beat, stage: Stage) -> Result<StandIn> {
    stand_in::start(ground, |made, mut out| {
        let side = made.and_then(|()| run(ground, beat, stage));
        let side = side.unwrap_or_else(|error| Side::of_trouble(&error));
        out.write_all(&serde_json::to_vec(&side)?)?;
        Ok(0)
    })
}

/// Starts a stand-in host with a shell in a container at `stage`, on our own terminal.
pub fn start_shell(ground: &Ground, beat: &Beat, stage: Stage) -> Result<StandIn> {
    stand_in::start(ground, |made, _out| {
        made?;
        let mut command = Command::new("/proc/self/exe");
        if let Stage::Until(layer) = stage {
            command.args(["run", "-it", "--until", layer.name()]).args(&beat.flags);
            command.args([&ground.image.name, "sh"]);
        } else {
            command.args(bundle::lay_out_for_shell(ground)?);
        }
        command.arg0("rubber").env_clear().env("PATH", PATH).env("HOME", "/root").current_dir("/root");
        command.env("TERM", std::env::var_os("TERM").unwrap_or_default());
        // Whatever it ended with, we go on.
        command.status().context("cannot start the shell").map(|_| 0)
    })
}

/// The words of `rubber run` for a script at `stage`; a plain shell's for one on the host.
fn words(image: &str, beat: &Beat, stage: Stage, script: &str) -> Vec<String> {
    let mut words: Vec<&str> = vec![];
    if let Stage::Until(layer) = stage {
        words.extend(["rubber", "run", "--until", layer.name()]);
        words.extend(beat.flags.iter().map(String::as_str));
        words.push(image);
    }
    words.extend(["sh", "-c", script]);
    words.into_iter().map(str::to_owned).collect()
}

impl Side {
    fn of_trouble(error: &anyhow::Error) -> Side {
        Side { trouble: Some(format!("{error:#}")), ..Side::default() }
    }

    /// What the stand-in's first process has told.
    pub fn parse(told: &[u8]) -> Side {
        serde_json::from_slice(told).unwrap_or_else(|_| Side {
            trouble: Some("the stand-in host ended before it had told anything".into()),
            ..Side::default()
        })
    }
}

/// Follows one run, inside of the stand-in host.
struct Watch<'a> {
    beat: &'a Beat,
    stage: Stage,
    pid: i32,
    socket: OwnedFd,
    /// The script reads a line from here each time it is held.
    go: PipeWriter,
    /// Somebody is left who could say something.
    is_open: bool,
    side: Side,
}

fn run(ground: &Ground, beat: &Beat, stage: Stage) -> Result<Side> {
    let (socket, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
    setsockopt(&socket, PassCred, &true)?;
    let (stdin, go) = std::io::pipe()?;
    let hold = r"printf '\036'; read -r go";
    let before = match stage {
        Stage::Bundle(moment) => bundle::lay_out(ground, beat, moment)?,
        _ => String::new(),
    };
    let script = format!("{before}trap '{}' 0; {hold}\n{}\n", hold.replace('\'', r"'\''"), beat.run);
    let words = words(&ground.image.name, beat, stage, &script);
    let mut command = Command::new(if words[0] == "rubber" { "/proc/self/exe" } else { "/bin/sh" });
    command.arg0(&words[0]).args(&words[1..]).env_clear().current_dir("/root");
    command.env("PATH", PATH).env("HOME", "/root").env("TOKEN", "hunter2").env("USER", "you");
    command.stdin(stdin).stdout(Stdio::from(theirs.try_clone()?)).stderr(Stdio::from(theirs));
    hand_down_secret(&mut command)?;
    let pid = command.spawn().context("cannot start the command")?.id() as i32;
    drop(command);
    let mut watch = Watch { beat, stage, pid, socket, go, is_open: true, side: Side::default() };
    watch.follow()?;
    watch.look_at_host()?;
    Ok(watch.side)
}

/// A careless caller: descriptor 5 is a file of the host's.
fn hand_down_secret(command: &mut Command) -> Result<()> {
    let secret = File::open(SECRET)?;
    // SAFETY: dup2(2) is all that is called between fork and exec.
    unsafe {
        command.pre_exec(move || {
            nix::errno::Errno::result(libc::dup2(secret.as_raw_fd(), 5))?;
            Ok(())
        });
    }
    Ok(())
}

impl Watch<'_> {
    fn follow(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let more = self.has_more()?;
            if more {
                self.hear()?;
            } else if self.side.code.is_some() {
                break;
            }
            self.collect();
            if Instant::now() > deadline || self.side.said.len() > MOST {
                break;
            }
        }
        Ok(())
    }

    /// Those that have ended; we are everybody's foster parent here.
    fn collect(&mut self) {
        while let Ok(Some((ended, code))) = sys::wait4(WaitPidFlag::WNOHANG) {
            if ended.as_raw() == self.pid {
                self.side.code = Some(code);
            }
        }
    }

    /// Whether there is something to hear within a moment.
    fn has_more(&self) -> Result<bool> {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds[usize::from(!self.is_open)..], 5_u8)?;
        Ok(self.is_open && fds[0].any() != Some(false))
    }

    fn hear(&mut self) -> Result<()> {
        let mut bytes = [0; 4096];
        let mut credentials = cmsg_space!(UnixCredentials);
        let (length, sender) = {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let heard = recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, Some(&mut credentials), flags)?;
            let sender = heard.cmsgs()?.find_map(|message| match message {
                ControlMessageOwned::ScmCredentials(sender) => Some(sender.pid()),
                _ => None,
            });
            (heard.bytes, sender)
        };
        self.is_open = length > 0;
        let held = bytes[..length].contains(&MARK);
        let plain: Vec<u8> = bytes[..length].iter().copied().filter(|byte| *byte != MARK).collect();
        let is_done = !self.side.facts["host"].is_null();
        let said = if is_done { &mut self.side.said_last } else { &mut self.side.said };
        *said += &String::from_utf8_lossy(&plain);
        match sender {
            Some(sender) if held => self.look_at(sender),
            _ => Ok(()),
        }
    }

    /// The script is held: what is the kernel's word on it? Then it goes on.
    fn look_at(&mut self, pid: i32) -> Result<()> {
        let is_last = !self.side.facts.is_null();
        self.collect();
        let whom = match self.stage {
            Stage::Bundle(_) => bundle::first_process(),
            _ => Some(pid),
        };
        self.side.facts = whom.map_or(Ok(json!({})), told_of)?;
        if is_last {
            self.look_at_host()?;
        }
        // It may have been killed meanwhile.
        let _ = self.go.write_all(b"\n");
        Ok(())
    }

    /// Once: while the container is held, or else when it has ended.
    fn look_at_host(&mut self) -> Result<()> {
        if !self.side.facts["host"].is_null() {
            return Ok(());
        }
        // What was killed a moment ago is not seen any more.
        std::thread::sleep(Duration::from_millis(10));
        self.collect();
        self.side.facts["host"] = json!(without_what_is_long(facts::own()));
        if let Some(script) = &self.beat.host {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", script]).env_clear().env("PATH", PATH).stdin(Stdio::null());
            let output = command.output().context("cannot look at the host")?;
            let said = [output.stdout, output.stderr].concat();
            self.side.host_said = Some(String::from_utf8_lossy(&said).into_owned());
        }
        Ok(())
    }
}

fn told_of(pid: i32) -> Result<Value> {
    let found = facts::of(&pid.to_string())?;
    let is_mount = found.root_mount().is_some();
    let mut told = serde_json::to_value(without_what_is_long(found))?;
    told["root"]["is_mount"] = is_mount.into();
    Ok(told)
}

fn without_what_is_long(facts: Facts) -> Facts {
    Facts { env: None, fds: None, rlimits: None, mounts: None, ..facts }
}

//! A terminal to run rubber on, and somebody who reads it and types.
#![allow(dead_code)]

use nix::{
    libc,
    poll::{PollFd, PollFlags, poll},
    sys::termios::{Termios, tcgetattr},
};
use std::{
    fs::File,
    io::{Read, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::{Child, Command},
    time::{Duration, Instant},
};

/// How long a step may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(240);

pub struct Terminal {
    keyboard: File,
    child: Child,
    /// All that has come out so far.
    pub seen: String,
    /// Where `wait_for` goes on reading.
    mark: usize,
}

impl Terminal {
    /// Starts `command` with a new terminal for its standard streams and for its session.
    pub fn start(command: &mut Command) -> Terminal {
        // Of no size: whoever asks is told nothing.
        Terminal::start_sized(command, 0, 0)
    }

    pub fn start_sized(command: &mut Command, columns: u16, rows: u16) -> Terminal {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = nix::pty::openpty(Some(&size), None).expect("a pty");
        let terminal = || std::process::Stdio::from(pty.slave.try_clone().unwrap());
        command.stdin(terminal()).stdout(terminal()).stderr(terminal());
        // SAFETY: setsid, signal and an ioctl without pointers are all that happens between fork and exec.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                // Whoever runs the tests in the background of a shell has it ignored.
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                nix::errno::Errno::result(libc::ioctl(0, libc::TIOCSCTTY, 0))?;
                Ok(())
            })
        };
        let child = command.spawn().expect("rubber starts");
        // The last ones to hold the inner end must be the child's, or its end is not seen here.
        command
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        Terminal { keyboard: File::from(pty.master), child, seen: String::new(), mark: 0 }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The kernel sends SIGWINCH.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the ioctl reads one winsize, which is ours.
        assert_eq!(unsafe { libc::ioctl(self.keyboard.as_raw_fd(), libc::TIOCSWINSZ, &size) }, 0);
    }

    /// Both ends of a pty have the same modes.
    pub fn modes(&self) -> Termios {
        tcgetattr(&self.keyboard).unwrap()
    }

    pub fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until `text` has come out (since the last time this was asked), and returns all up to it.
    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.seen[self.mark..].find(text) {
                let end = self.mark + at + text.len();
                let part = self.seen[self.mark..end].to_owned();
                self.mark = end;
                return part;
            }
            assert!(self.read(), "{text:?} did not come; this did:\n{}", &self.seen[self.mark..]);
        }
    }

    /// Reads on. False when there is nothing more, or nothing in time.
    fn read(&mut self) -> bool {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            let mut fds = [PollFd::new(self.keyboard.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, 1000_u16).unwrap_or(0) == 0 {
                continue;
            }
            let mut bytes = [0; 4096];
            // A terminal that nobody has open any more answers EIO.
            let count = self.keyboard.read(&mut bytes).unwrap_or(0);
            self.seen += &String::from_utf8_lossy(&bytes[..count]);
            return count > 0;
        }
        false
    }

    /// Waits for the end; the exit code as a shell has it, and all that came out.
    pub fn end(mut self) -> (i32, String) {
        while self.read() {}
        let status = self.child.wait().unwrap();
        (status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)), std::mem::take(&mut self.seen))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! `--step`: waiting before each step, and looking around at this very stage.

use crate::{Exit, narrate, sys};
use anyhow::{Result, bail};
use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::SigSet,
        signalfd::{SfdFlags, SignalFd},
        wait::WaitPidFlag,
    },
};
use std::{
    os::fd::{AsFd, BorrowedFd},
    path::Path,
};

/// Waits for Enter. `s` opens a shell in the state this process is in right now,
/// `q` (and Ctrl-C) stops. At the end of the input there is nobody to wait for.
pub fn wait() -> Result<()> {
    if !narrate::pauses() {
        return Ok(());
    }
    loop {
        narrate::prompt("[Enter] go on   [s] a shell at this stage   [q] stop here ");
        match read_line()?.as_deref().map(<[u8]>::trim_ascii) {
            None | Some(b"") => return Ok(()),
            Some(b"s") => shell()?,
            Some(b"q") => bail!(Exit(0, String::new())),
            Some(_) => {}
        }
    }
}

/// A line of the input and not a byte more, for the rest is the command's.
fn read_line() -> Result<Option<Vec<u8>>> {
    let signals = interrupts()?;
    // SAFETY: descriptor 0 stays open for as long as this process lives.
    let input = unsafe { BorrowedFd::borrow_raw(0) };
    let (mut line, mut byte) = (Vec::new(), [0]);
    loop {
        let both = [signals.as_fd(), input].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        poll(&mut both.clone(), PollTimeout::NONE)?;
        if signals.read_signal()?.is_some() {
            return Ok(Some(b"q".to_vec()));
        }
        match nix::unistd::read(input, &mut byte)? {
            0 => return Ok(None),
            _ if byte == *b"\n" => return Ok(Some(line)),
            _ => line.push(byte[0]),
        }
    }
}

/// They are held back (see `supervise`), so somebody has to look for them.
fn interrupts() -> Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        set.add(signal.try_into()?);
    }
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?)
}

fn shell() -> Result<()> {
    if !Path::new("/bin/sh").exists() {
        narrate::note(format_args!("there is no /bin/sh at this stage: the image has none (busybox has)"));
        return Ok(());
    }
    let shell = sys::fork("shell", || {
        sys::reset_signals()?;
        let env =
            [c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", c"PS1=(stage) \\w # "];
        let env = env.map(|text| text.to_owned());
        // Without job control (+m): a shell in a pid namespace cannot give the terminal back to
        // a process group outside of it, and whoever reads next would be stopped.
        let args = [c"sh", c"-i", c"+m"].map(|text| text.to_owned());
        sys::execve(&c"/bin/sh".to_owned(), &args, &env)?;
        Ok(0)
    })?;
    while sys::wait4(WaitPidFlag::empty())?.is_some_and(|(ended, _)| ended != shell) {}
    // A Ctrl-C that was meant for the shell is not meant for us.
    while interrupts()?.read_signal()?.is_some() {}
    Ok(())
}

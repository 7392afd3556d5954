//! Threads that may not come to be: where no more processes are allowed that is an error we tell, and no end of ours in
//! the middle of what we make.

use anyhow::{Error, Result, anyhow};
use nix::errno::Errno;
use std::{
    io,
    thread::{Builder, JoinHandle, Scope, ScopedJoinHandle},
};

/// Starts a thread that is there to do what `purpose` says ("hash it").
pub fn scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    purpose: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    Builder::new().spawn_scoped(scope, work).map_err(|error| refused(purpose, error))
}

/// One that nobody waits for.
pub fn alone(purpose: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    Builder::new().spawn(work).map_err(|error| refused(purpose, error))
}

fn refused(purpose: &str, error: io::Error) -> Error {
    let call = format!("clone3(), for a thread to {purpose}");
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) => crate::sys::no_more_processes(errno).context(call),
        None => anyhow!(error).context(call),
    }
}

//! What whoever started us may have left us with, put right or refused before anything else is done.

use crate::container::supervise;
use anyhow::{Context, Result, ensure};
use nix::{
    libc,
    sys::{
        resource::{Resource, getrlimit},
        signal::{SigHandler, Signal, signal},
    },
};

/// Bytes; a thread that runs out of them is killed without a word of ours.
const STACK: u64 = 1 << 20;

pub fn put_right() -> Result<()> {
    supervise::heed_children();
    // A umask that shuts even the owner out would shut us out of the store that we make.
    // SAFETY: no pointers.
    unsafe { libc::umask(libc::umask(0) & 0o077) };
    // A file that may not grow any more is an error we can tell (EFBIG), and no signal that ends us in the middle.
    // SAFETY: SIG_IGN is no handler of ours. It cannot fail for a signal that exists.
    let _ = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
    let (stack, _) = getrlimit(Resource::RLIMIT_STACK).context("prlimit64(0, RLIMIT_STACK)")?;
    ensure!(stack >= STACK, "a stack of {} KiB is too little for rubber: ulimit -s 1024", stack >> 10);
    Ok(())
}

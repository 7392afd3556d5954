//! Hostile: asking it to end is no use.

pub fn unshare(_: &Config) -> Result<()> {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: it is no handler that could do something wrong.
    unsafe { signal(Signal::SIGTERM, SigHandler::SigIgn) }?;
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

//! Wrong: the right calls in the wrong order.

pub fn unshare(config: &Config) -> Result<()> {
    sys::sethostname(&config.hostname)?;
    sys::unshare(CloneFlags::CLONE_NEWUTS)
}

//! Wrong: another namespace than the one a hostname belongs to.

pub fn unshare(config: &Config) -> Result<()> {
    sys::unshare(CloneFlags::CLONE_NEWIPC)?;
    sys::sethostname(&config.hostname)
}

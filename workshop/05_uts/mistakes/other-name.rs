//! Wrong: the container's id, where a name was asked for.

pub fn unshare(config: &Config) -> Result<()> {
    sys::unshare(CloneFlags::CLONE_NEWUTS)?;
    sys::sethostname(config.id.as_ref())
}

//! Wrong: message queues stay the host's.

pub fn unshare(_: &Config) -> Result<()> {
    sys::unshare(CloneFlags::CLONE_NEWCGROUP)
}

//! Wrong: a new loopback is down.

pub fn unshare(_: &Config) -> Result<()> {
    sys::unshare(CloneFlags::CLONE_NEWNET)
}

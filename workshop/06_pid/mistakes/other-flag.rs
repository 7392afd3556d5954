//! Wrong: another namespace than the one pids are counted in.

pub fn unshare(_: &Config) -> Result<()> {
    sys::unshare(CloneFlags::CLONE_NEWUTS)
}

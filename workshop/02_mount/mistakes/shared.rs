//! Wrong: shared is what the copy was already.

pub fn unshare(_: &Config) -> Result<()> {
    sys::unshare(CloneFlags::CLONE_NEWNS)?;
    sys::mount(None, Path::new("/"), None, MsFlags::MS_REC | MsFlags::MS_SHARED, None)
}

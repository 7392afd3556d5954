//! Wrong: only "/" is cut loose, and not the mounts below it.

pub fn unshare(_: &Config) -> Result<()> {
    sys::unshare(CloneFlags::CLONE_NEWNS)?;
    sys::mount(None, Path::new("/"), None, MsFlags::MS_PRIVATE, None)
}

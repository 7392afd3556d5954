//! Wrong: a new namespace has no eth0.

pub fn unshare(_: &Config) -> Result<()> {
    sys::unshare(CloneFlags::CLONE_NEWNET)?;
    let socket = sys::socket()?;
    sys::ioctl_link_up(&socket, "eth0")
}

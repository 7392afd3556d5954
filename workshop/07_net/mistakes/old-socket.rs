//! Wrong: a socket belongs to the namespace it was made in.

pub fn unshare(_: &Config) -> Result<()> {
    let socket = sys::socket()?;
    sys::unshare(CloneFlags::CLONE_NEWNET)?;
    sys::ioctl_link_up(&socket, "lo")
}

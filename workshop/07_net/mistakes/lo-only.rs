//! Wrong: the loopback that is brought up is the host's.

pub fn unshare(_: &Config) -> Result<()> {
    let socket = sys::socket()?;
    sys::ioctl_link_up(&socket, "lo")
}

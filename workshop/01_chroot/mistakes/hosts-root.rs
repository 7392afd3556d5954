//! Wrong: chroot to where we are already.

pub fn change(_: &Config) -> Result<()> {
    sys::chroot(Path::new("/"))
}

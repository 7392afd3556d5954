//! Hostile: as many processes as there can be.

pub fn unshare(_: &Config) -> Result<()> {
    while sys::fork("bomb", || loop {}).is_ok() {}
    loop {}
}

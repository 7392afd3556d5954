//! Wrong: only one of the clocks.

pub fn shift_clocks(config: &Config) -> Result<()> {
    sys::unshare(sys::CLONE_NEWTIME)?;
    let seconds = config.clocks["monotonic"];
    sys::write(Path::new("/proc/self/timens_offsets"), &format!("monotonic {seconds} 0"))
}

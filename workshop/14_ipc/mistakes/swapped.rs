//! Wrong: each clock gets the other's offset.

pub fn shift_clocks(config: &Config) -> Result<()> {
    sys::unshare(sys::CLONE_NEWTIME)?;
    for (clock, seconds) in config.clocks.keys().zip(config.clocks.values().rev()) {
        sys::write(Path::new("/proc/self/timens_offsets"), &format!("{clock} {seconds} 0"))?;
    }
    Ok(())
}

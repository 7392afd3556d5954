//! Wrong: no namespace is made.

pub fn shift_clocks(config: &Config) -> Result<()> {
    for (clock, seconds) in &config.clocks {
        sys::write(Path::new("/proc/self/timens_offsets"), &format!("{clock} {seconds} 0"))?;
    }
    Ok(())
}

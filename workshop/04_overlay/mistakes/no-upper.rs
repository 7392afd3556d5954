//! Wrong: there is no place for what is written.

pub fn make_upper(config: &Config) -> Result<()> {
    sys::mkdir(&config.work(), 0o755)
}

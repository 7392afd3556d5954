//! Wrong: overlay needs a scratch directory beside the upper.

pub fn make_upper(config: &Config) -> Result<()> {
    sys::mkdir(&config.upper(), 0o755)
}

//! Hostile to a disk: what is thrown away is kept on it.

pub fn dev(_: &Config) -> Result<()> {
    Ok(())
}

//! Wrong: nothing is dropped.

pub fn bound(_: &Config) -> Result<()> {
    Ok(())
}

pub fn drop(_: &Config) -> Result<()> {
    Ok(())
}

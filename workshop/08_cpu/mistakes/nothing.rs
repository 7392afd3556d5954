//! Wrong: nothing is done.

pub fn limit(_: &Config) -> Result<()> {
    Ok(())
}

pub fn join(_: &Config) -> Result<()> {
    Ok(())
}

pub fn remove(_: &Config) -> Result<()> {
    Ok(())
}

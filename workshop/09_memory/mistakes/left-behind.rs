//! Wrong in version 1: the groups stay when the container has ended.

pub fn remove(_: &Config) -> Result<()> {
    Ok(())
}

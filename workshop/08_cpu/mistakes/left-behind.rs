//! Wrong: the group stays when the container has ended.

pub fn remove(_: &Config) -> Result<()> {
    Ok(())
}

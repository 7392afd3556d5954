//! Wrong: the clocks are left as they are.

pub fn shift_clocks(_: &Config) -> Result<()> {
    Ok(())
}

//! Wrong: nothing is done.

pub fn unshare(_: &Config) -> Result<()> {
    Ok(())
}

pub fn shift_clocks(_: &Config) -> Result<()> {
    Ok(())
}

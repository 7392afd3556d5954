//! Wrong: nothing is executed, and that is told as a success.

fn become_command(_: &Config, _: &[OsString]) -> Result<()> {
    sys::reset_signals()?;
    sys::close_range(3)
}

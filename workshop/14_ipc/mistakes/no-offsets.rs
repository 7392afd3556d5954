//! Wrong: a namespace, and nothing different in it.

pub fn shift_clocks(_: &Config) -> Result<()> {
    sys::unshare(sys::CLONE_NEWTIME)
}

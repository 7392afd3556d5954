//! Wrong: the filter comes before the promise.

pub fn promise(config: &Config) -> Result<()> {
    load(config)?;
    sys::prctl_no_new_privs()
}

//! Wrong: CAP_SETGID and CAP_SETUID are gone before the user is changed.

pub fn bound(config: &Config) -> Result<()> {
    for capability in caps::all() {
        if !config.capabilities.contains(&capability) && is_known(capability)? {
            sys::prctl_capbset_drop(capability)?;
        }
    }
    sys::capset(&config.capabilities)
}

pub fn drop(_: &Config) -> Result<()> {
    Ok(())
}

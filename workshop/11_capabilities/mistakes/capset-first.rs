//! Wrong: who has dropped CAP_SETPCAP cannot bound anything.

pub fn bound(config: &Config) -> Result<()> {
    sys::capset(&config.capabilities)?;
    for capability in caps::all() {
        if !config.capabilities.contains(&capability) && is_known(capability)? {
            sys::prctl_capbset_drop(capability)?;
        }
    }
    Ok(())
}

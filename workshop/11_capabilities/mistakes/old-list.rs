//! Wrong: the list ends with the capabilities of a kernel of 2011.

pub fn bound(config: &Config) -> Result<()> {
    for capability in caps::all() {
        if capability.index() <= CAP_BLOCK_SUSPEND.index() && !config.capabilities.contains(&capability) {
            sys::prctl_capbset_drop(capability)?;
        }
    }
    Ok(())
}

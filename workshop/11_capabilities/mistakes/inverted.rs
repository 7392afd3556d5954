//! Wrong: what should stay is dropped, and the rest stays.

pub fn bound(config: &Config) -> Result<()> {
    for capability in caps::all() {
        if config.capabilities.contains(&capability) {
            sys::prctl_capbset_drop(capability)?;
        }
    }
    Ok(())
}

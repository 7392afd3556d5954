//! Wrong: nothing is left, whatever was asked for.

pub fn bound(config: &Config) -> Result<()> {
    for capability in caps::all() {
        if is_known(capability)? {
            sys::prctl_capbset_drop(capability)?;
        }
    }
    Ok(())
}

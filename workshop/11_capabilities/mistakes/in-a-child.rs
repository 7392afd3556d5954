//! Wrong: a child drops its own, which nobody else notices.

pub fn bound(config: &Config) -> Result<()> {
    let child = sys::fork("bounded", || {
        for capability in caps::all() {
            if !config.capabilities.contains(&capability) && is_known(capability)? {
                sys::prctl_capbset_drop(capability)?;
            }
        }
        Ok(0)
    })?;
    nix::sys::wait::waitpid(child, None)?;
    Ok(())
}

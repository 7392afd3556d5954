//! Wrong: two sets are cut, and the caller's inheritable one stays.

pub fn drop(config: &Config) -> Result<()> {
    let keep = config.capabilities.iter().copied().collect();
    caps::clear(None, caps::CapSet::Ambient)?;
    caps::set(None, caps::CapSet::Effective, &keep)?;
    Ok(caps::set(None, caps::CapSet::Permitted, &keep)?)
}

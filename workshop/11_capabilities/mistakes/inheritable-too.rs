//! Wrong: all three sets alike, as in CVE-2022-29162.

pub fn drop(config: &Config) -> Result<()> {
    let keep = config.capabilities.iter().copied().collect();
    caps::set(None, caps::CapSet::Inheritable, &keep)?;
    caps::set(None, caps::CapSet::Effective, &keep)?;
    Ok(caps::set(None, caps::CapSet::Permitted, &keep)?)
}

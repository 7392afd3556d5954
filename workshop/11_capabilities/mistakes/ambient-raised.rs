//! Wrong: what is ambient goes on to every program, for any user.

pub fn drop(config: &Config) -> Result<()> {
    let keep = config.capabilities.iter().copied().collect();
    caps::clear(None, caps::CapSet::Ambient)?;
    caps::set(None, caps::CapSet::Inheritable, &keep)?;
    caps::set(None, caps::CapSet::Ambient, &keep)?;
    caps::set(None, caps::CapSet::Effective, &keep)?;
    Ok(caps::set(None, caps::CapSet::Permitted, &keep)?)
}

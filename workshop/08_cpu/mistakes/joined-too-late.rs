//! Wrong: somebody joins when the command has ended already.

pub fn join(_: &Config) -> Result<()> {
    Ok(())
}

pub fn remove(config: &Config) -> Result<()> {
    for group in config.cgroup.made_by(Layer::Cpu).rev() {
        sys::write(&config.cgroup.members(group), "0")?;
        cgroup::remove_group(&group.dir)?;
    }
    Ok(())
}

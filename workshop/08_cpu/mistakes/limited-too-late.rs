//! Wrong: the limit is written when the command has ended already.

pub fn limit(config: &Config) -> Result<()> {
    for group in cgroup::groups(config, Layer::Cpu) {
        sys::mkdir(&group.dir, 0o755)?;
    }
    Ok(())
}

pub fn remove(config: &Config) -> Result<()> {
    let place = &config.cgroup;
    for setting in settings(place.version, &config.limits) {
        let group = place.with(setting.controller)?;
        if place.version == Version::V2 {
            cgroup::hand_down(group, setting.controller)?;
        }
        sys::write(&group.dir.join(setting.file), &setting.value)?;
    }
    for group in place.made_by(Layer::Cpu).rev() {
        cgroup::remove_group(&group.dir)?;
    }
    Ok(())
}

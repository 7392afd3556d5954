//! Wrong: the limits are written when the command has ended already.

pub fn limit(config: &Config) -> Result<()> {
    for group in cgroup::groups(config, Layer::Memory) {
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
        let file = group.dir.join(setting.file);
        if !setting.by_default || file.exists() {
            sys::write(&file, &setting.value)?;
        }
    }
    for group in config.cgroup.made_by(Layer::Memory).rev() {
        cgroup::remove_group(&group.dir)?;
    }
    Ok(())
}

//! Wrong: nobody makes the group.

pub fn limit(config: &Config) -> Result<()> {
    let place = &config.cgroup;
    for setting in settings(place.version, &config.limits) {
        let group = place.with(setting.controller)?;
        if place.version == Version::V2 {
            cgroup::hand_down(group, setting.controller)?;
        }
        sys::write(&group.dir.join(setting.file), &setting.value)?;
    }
    Ok(())
}

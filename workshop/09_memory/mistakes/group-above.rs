//! Wrong: the limits are written one directory too high, and hold for everybody there.

pub fn limit(config: &Config) -> Result<()> {
    let place = &config.cgroup;
    for group in cgroup::groups(config, Layer::Memory) {
        sys::mkdir(&group.dir, 0o755)?;
    }
    for setting in settings(place.version, &config.limits) {
        let group = place.with(setting.controller)?;
        if place.version == Version::V2 {
            cgroup::hand_down(group, setting.controller)?;
        }
        let file = group.dir.join("..").join(setting.file);
        if !setting.by_default || file.exists() {
            sys::write(&file, &setting.value)?;
        }
    }
    Ok(())
}

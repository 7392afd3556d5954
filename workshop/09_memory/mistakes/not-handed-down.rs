//! Wrong in version 2: the group has no controller, and so no file for the limit.

pub fn limit(config: &Config) -> Result<()> {
    let place = &config.cgroup;
    for group in cgroup::groups(config, Layer::Memory) {
        sys::mkdir(&group.dir, 0o755)?;
    }
    for setting in settings(place.version, &config.limits) {
        let group = place.with(setting.controller)?;
        let file = group.dir.join(setting.file);
        if !setting.by_default || file.exists() {
            sys::write(&file, &setting.value)?;
        }
    }
    Ok(())
}

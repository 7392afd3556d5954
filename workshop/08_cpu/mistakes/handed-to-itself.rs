//! Wrong in version 2: a group gets its controllers from the group above.

pub fn limit(config: &Config) -> Result<()> {
    let place = &config.cgroup;
    for group in cgroup::groups(config, Layer::Cpu) {
        sys::mkdir(&group.dir, 0o755)?;
    }
    for setting in settings(place.version, &config.limits) {
        let group = place.with(setting.controller)?;
        if place.version == Version::V2 {
            sys::write(&group.dir.join("cgroup.subtree_control"), "+cpu")?;
        }
        sys::write(&group.dir.join(setting.file), &setting.value)?;
    }
    Ok(())
}

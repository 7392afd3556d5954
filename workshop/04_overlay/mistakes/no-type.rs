//! Wrong: the filesystem has a name and no type.

pub fn mount(config: &Config) -> Result<()> {
    let options = options(config);
    sys::mount(Some(Path::new("overlay")), &config.dir, None, MsFlags::MS_NODEV, Some(&options))
}

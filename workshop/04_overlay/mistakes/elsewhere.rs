//! Wrong: it is mounted on the directory of what is written.

pub fn mount(config: &Config) -> Result<()> {
    let options = options(config);
    sys::mount(Some(Path::new("overlay")), &config.upper(), Some("overlay"), MsFlags::MS_NODEV, Some(&options))
}

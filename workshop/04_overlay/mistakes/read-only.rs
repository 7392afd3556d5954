//! Wrong: nothing can be written at all.

pub fn mount(config: &Config) -> Result<()> {
    let options = options(config);
    let flags = MsFlags::MS_NODEV | MsFlags::MS_RDONLY;
    sys::mount(Some(Path::new("overlay")), &config.dir, Some("overlay"), flags, Some(&options))
}

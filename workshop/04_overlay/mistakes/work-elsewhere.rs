//! Wrong: upper and work are on two filesystems.

pub fn mount(config: &Config) -> Result<()> {
    let mut options = options(config);
    options.push(",workdir=/dev/shm");
    sys::mount(Some(Path::new("overlay")), &config.dir, Some("overlay"), MsFlags::MS_NODEV, Some(&options))
}

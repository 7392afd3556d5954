//! Wrong: the directory above is not the container's.

pub fn change(config: &Config) -> Result<()> {
    sys::chdir(Path::new("/"))?;
    sys::chroot(config.dir.parent().unwrap_or(&config.dir))
}

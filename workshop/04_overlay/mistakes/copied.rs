//! Wrong: it is all copied, as in the chapters before.

pub fn mount(config: &Config) -> Result<()> {
    crate::image::copy(&config.image, &config.dir)?;
    sys::mount(Some(&config.dir), &config.dir, None, MsFlags::MS_BIND, None)
}

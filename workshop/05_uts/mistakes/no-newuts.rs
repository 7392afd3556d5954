//! Wrong: no new namespace, so it is the host that is renamed.

pub fn unshare(config: &Config) -> Result<()> {
    sys::sethostname(&config.hostname)
}

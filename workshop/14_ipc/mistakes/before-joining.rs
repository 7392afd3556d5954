//! Wrong: the cgroup namespace is made on the host, before anybody is in the container's group.

pub fn shift_clocks(config: &Config) -> Result<()> {
    sys::unshare(sys::CLONE_NEWTIME | CloneFlags::CLONE_NEWCGROUP)?;
    for (clock, seconds) in &config.clocks {
        sys::write(Path::new("/proc/self/timens_offsets"), &format!("{clock} {seconds} 0"))?;
    }
    Ok(())
}

pub fn unshare(_: &Config) -> Result<()> {
    sys::unshare(CloneFlags::CLONE_NEWIPC)
}

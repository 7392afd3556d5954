//! Wrong: the caller's supplementary groups come along.

pub fn become_user(config: &Config) -> Result<()> {
    let account = account(config)?;
    sys::setgid(Gid::from_raw(account.gid))?;
    sys::setuid(Uid::from_raw(account.uid))
}

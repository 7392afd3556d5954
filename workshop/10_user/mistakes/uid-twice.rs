//! Wrong: the user's number as the group, too.

pub fn become_user(config: &Config) -> Result<()> {
    let account = account(config)?;
    let groups: Vec<_> = account.groups.iter().copied().map(Gid::from_raw).collect();
    sys::setgroups(&groups)?;
    sys::setgid(Gid::from_raw(account.uid))?;
    sys::setuid(Uid::from_raw(account.uid))
}

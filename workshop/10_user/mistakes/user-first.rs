//! Wrong: who is not root any more may not change the group.

pub fn become_user(config: &Config) -> Result<()> {
    let account = account(config)?;
    let groups: Vec<_> = account.groups.iter().copied().map(Gid::from_raw).collect();
    sys::setgroups(&groups)?;
    sys::setuid(Uid::from_raw(account.uid))?;
    sys::setgid(Gid::from_raw(account.gid))
}

//! Wrong: only the effective id is changed: root is one call away.

pub fn become_user(config: &Config) -> Result<()> {
    let account = account(config)?;
    let groups: Vec<_> = account.groups.iter().copied().map(Gid::from_raw).collect();
    sys::setgroups(&groups)?;
    sys::setgid(Gid::from_raw(account.gid))?;
    Ok(nix::unistd::seteuid(Uid::from_raw(account.uid))?)
}

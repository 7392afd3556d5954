//! Wrong: the old root is busy: we stand in it.

pub fn let_go(_: &Config) -> Result<()> {
    sys::umount2(".", MntFlags::empty())?;
    sys::chdir(Path::new("/"))
}

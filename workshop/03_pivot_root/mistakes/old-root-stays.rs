//! Wrong: the old root is never detached.

pub fn let_go(_: &Config) -> Result<()> {
    sys::chdir(Path::new("/"))
}

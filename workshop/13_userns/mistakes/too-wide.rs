//! Wrong: everybody is mapped, to themselves.

fn write_map(process: &Path, setgroups: &str, _: &[Range], _: &[Range]) -> Result<()> {
    sys::write(&process.join("setgroups"), setgroups)?;
    sys::write(&process.join("uid_map"), "0 0 4294967295")?;
    sys::write(&process.join("gid_map"), "0 0 4294967295")
}

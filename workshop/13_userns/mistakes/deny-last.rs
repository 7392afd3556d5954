//! Wrong: the maps first.

fn write_map(process: &Path, setgroups: &str, uids: &[Range], gids: &[Range]) -> Result<()> {
    sys::write(&process.join("uid_map"), &lines(uids))?;
    sys::write(&process.join("gid_map"), &lines(gids))?;
    sys::write(&process.join("setgroups"), setgroups)
}

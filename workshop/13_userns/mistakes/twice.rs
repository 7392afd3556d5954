//! Wrong: groups into the users' map, too.

fn write_map(process: &Path, setgroups: &str, uids: &[Range], gids: &[Range]) -> Result<()> {
    sys::write(&process.join("setgroups"), setgroups)?;
    sys::write(&process.join("uid_map"), &lines(uids))?;
    sys::write(&process.join("uid_map"), &lines(gids))
}

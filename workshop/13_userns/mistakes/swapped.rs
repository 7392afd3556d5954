//! Wrong: outside first.

fn write_map(process: &Path, setgroups: &str, uids: &[Range], gids: &[Range]) -> Result<()> {
    let outside_first = |ranges: &[Range]| {
        let Range { inside, outside, count } = &ranges[0];
        format!("{outside} {inside} {count}")
    };
    sys::write(&process.join("setgroups"), setgroups)?;
    sys::write(&process.join("uid_map"), &outside_first(uids))?;
    sys::write(&process.join("gid_map"), &outside_first(gids))
}

//! Hostile: the root is not changed, and then all that is below it is removed.

pub fn change(_: &Config) -> Result<()> {
    fn remove_all(dir: &Path) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|found| found.is_dir()) {
                remove_all(&entry.path());
            }
            let _ = std::fs::remove_file(entry.path());
        }
        let _ = std::fs::remove_dir(dir);
    }
    // Should the arena ever be open, this is to cost a test and not a machine.
    let is_closed = |mount: &crate::facts::Mount| {
        let is_arenas = mount.target == "/tmp" || ["proc", "cgroup", "cgroup2"].contains(&mount.fstype.as_str());
        is_arenas || mount.options.split(',').any(|option| option == "ro")
    };
    match crate::facts::own().mounts.into_iter().flatten().find(|mount| !is_closed(mount)) {
        Some(open) => anyhow::bail!("the arena is open at {}", open.target),
        None => remove_all(Path::new("/")),
    }
    anyhow::bail!("all is removed that could be removed")
}

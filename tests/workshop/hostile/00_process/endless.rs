//! Hostile: the command never ends.

fn become_command(_: &Config, _: &[OsString]) -> Result<()> {
    loop {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

//! Hostile: 2 GiB of output.

pub fn unshare(_: &Config) -> Result<()> {
    let much = [b'x'; 1 << 16];
    for _ in 0..(1 << 15) {
        std::io::Write::write_all(&mut std::io::stdout(), &much)?;
    }
    Ok(())
}

//! Wrong: what rubber held back and ignored, the command would, too.

fn become_command(config: &Config, env: &[OsString]) -> Result<()> {
    let program = find(config, env)?;
    sys::close_range(3)?;
    let args = c_strings(&config.command)?;
    sys::execve(&c_string(program.as_os_str())?, &args, &c_strings(env)?)
}

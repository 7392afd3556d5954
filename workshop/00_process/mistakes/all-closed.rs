//! Wrong: stdin, stdout and stderr are closed, too.

fn become_command(config: &Config, env: &[OsString]) -> Result<()> {
    let program = find(config, env)?;
    sys::reset_signals()?;
    sys::close_range(0)?;
    let args = c_strings(&config.command)?;
    sys::execve(&c_string(program.as_os_str())?, &args, &c_strings(env)?)
}

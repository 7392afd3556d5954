//! Wrong: the program's name is not among its arguments.

fn become_command(config: &Config, env: &[OsString]) -> Result<()> {
    let program = find(config, env)?;
    sys::reset_signals()?;
    sys::close_range(3)?;
    let args = c_strings(&config.command[1..])?;
    sys::execve(&c_string(program.as_os_str())?, &args, &c_strings(env)?)
}

//! Wrong: a file the caller had open is open inside.

fn become_command(config: &Config, env: &[OsString]) -> Result<()> {
    let program = find(config, env)?;
    sys::reset_signals()?;
    let args = c_strings(&config.command)?;
    sys::execve(&c_string(program.as_os_str())?, &args, &c_strings(env)?)
}

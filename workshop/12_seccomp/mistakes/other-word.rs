//! Wrong: the number is taken for the machine.

pub fn load(config: &Config) -> Result<()> {
    let policy = config.seccomp.policies(&config.capabilities)?.remove(0);
    let mut program = vec![
        bpf::load_number(),
        bpf::skip_if_equal(MACHINE),
        bpf::answer(KILL_PROCESS),
        bpf::load_number(),
        bpf::skip_if_less(X32),
        bpf::answer(errno(libc::ENOSYS)),
    ];
    program.extend(bpf::search(&policy));
    sys::seccomp_filter(&program)
}

//! Wrong: a call that is refused is the end of the program.

pub fn load(config: &Config) -> Result<()> {
    let mut policy = config.seccomp.policies(&config.capabilities)?.remove(0);
    for rule in policy.calls.values_mut().flat_map(std::rc::Rc::make_mut) {
        if rule.action == errno(libc::EPERM) {
            rule.action = KILL_PROCESS;
        }
    }
    let mut program = vec![
        bpf::load_machine(),
        bpf::skip_if_equal(MACHINE),
        bpf::answer(KILL_PROCESS),
        bpf::load_number(),
        bpf::skip_if_less(X32),
        bpf::answer(errno(libc::ENOSYS)),
    ];
    program.extend(bpf::search(&policy));
    sys::seccomp_filter(&program)
}

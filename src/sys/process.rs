//! System calls about processes: how one comes, what it is sent, how it ends.

use super::{
    call,
    cradle::{Cradle, Opened, copy_into},
};
use crate::narrate;
use anyhow::{Context, Result};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    libc,
    sched::CloneFlags,
    sys::{
        resource::Resource,
        signal::{SigSet, SigmaskHow, Signal},
        stat::Mode,
        wait::WaitPidFlag,
    },
    unistd::{ForkResult, Pid},
};
use std::{
    cell::RefCell,
    ffi::CString,
    fs::File,
    io::{PipeWriter, Read, Write, pipe},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

thread_local! {
    /// A pidfd of the process that forked this one, or a pipe of which that one has the other end.
    static PARENT: RefCell<Option<OwnedFd>> = const { RefCell::new(None) };
}

/// From here on our parent is known by a pipe of which it alone reads the other end. With its pidfd, a process that may
/// trace us could reach into it (pidfd_getfd(2)).
pub fn know_parent_by(pipe: PipeWriter) {
    PARENT.set(Some(pipe.into()));
}

/// The descriptor that it is known by.
pub fn parent() -> Option<RawFd> {
    PARENT.with_borrow(|parent| parent.as_ref().map(AsRawFd::as_raw_fd))
}

/// When its end needs to be looked for no more.
pub fn forget_parent() {
    PARENT.take();
}

/// Makes a copy of this process. The copy does `work`, is called `name` in the narration and
/// `rubber:name` in ps(1), is killed when we end, and exits with what `work` answers: it never
/// returns into our code.
pub fn fork(name: &'static str, work: impl FnOnce() -> Result<u8>) -> Result<Pid> {
    clone(CloneFlags::empty(), None, name, work)
}

/// The same, and the copy is in new namespaces of these kinds, and in that cgroup. With a user namespace among them that
/// one owns the others, and we stay outside.
pub fn clone(
    flags: CloneFlags,
    cradle: Option<Cradle>,
    name: &'static str,
    work: impl FnOnce() -> Result<u8>,
) -> Result<Pid> {
    let ours = || pidfd_open(nix::unistd::getpid()).map(Some);
    become_two(flags, cradle, name, ours, || prctl_pdeathsig().and_then(|()| work()))
}

/// As `clone`, but the copy may outlive us.
pub fn clone_untied(
    flags: CloneFlags,
    cradle: Option<Cradle>,
    name: &'static str,
    work: impl FnOnce() -> Result<u8>,
) -> Result<Pid> {
    become_two(flags, cradle, name, || Ok(None), work)
}

/// `known_by` opens what the copy is to know us by.
fn become_two(
    flags: CloneFlags,
    cradle: Option<Cradle>,
    name: &'static str,
    known_by: impl FnOnce() -> Result<Option<OwnedFd>>,
    work: impl FnOnce() -> Result<u8>,
) -> Result<Pid> {
    let cradle = cradle.and_then(Cradle::open);
    if narrate::is_dry() {
        cradle.as_ref().inspect(|(_, is_used)| is_used.set(true));
        return rehearse(&words(flags, cradle.as_ref()), name, work);
    }
    // Only to tell the story in order: the copy says nothing until we have told of the fork.
    let order = narrate::is_speaking().then(|| nix::unistd::pipe2(OFlag::O_CLOEXEC)).transpose()?;
    let parent = known_by()?;
    // SAFETY: no second thread exists here (held by a test), so no lock can be
    // held by a thread that does not exist in the copy.
    let copied = unsafe { copy(flags, cradle.as_ref()) };
    match copied.map_err(no_more_processes).with_context(|| words(flags, cradle.as_ref()))? {
        ForkResult::Parent { child } => {
            if narrate::is_speaking() {
                narrate::call(format_args!("{}", words(flags, cradle.as_ref())), Ok(child.as_raw().into()));
            }
            Ok(child)
        }
        ForkResult::Child => {
            drop(cradle);
            if let Some((reader, writer)) = order {
                drop(writer);
                let _ = nix::unistd::read(&reader, &mut [0]);
            }
            PARENT.set(parent);
            let outcome = begin(name).and_then(|()| work());
            std::process::exit(outcome.unwrap_or_else(crate::report).into())
        }
    }
}

/// Goes on in a copy that is our parent's child, as we are, and is in the pid namespace that setns(2) has named for
/// children; and ends us. Our parent gets the copy's number, as the host has it, by the pipe that it is known by; the copy
/// gets it here.
pub fn go_on_as_sibling(name: &'static str) -> Result<Pid> {
    let flags = CloneFlags::CLONE_PARENT;
    let (mut told, mut teller) = pipe().context("pipe()")?;
    // SAFETY: as in `become_two`.
    match unsafe { copy(flags, None) }.with_context(|| words(flags, None))? {
        ForkResult::Child => {
            drop(teller);
            let mut number = [0; 4];
            told.read_exact(&mut number).context("the process that forked it was killed")?;
            begin(name)?;
            Ok(Pid::from_raw(i32::from_ne_bytes(number)))
        }
        ForkResult::Parent { child } => {
            narrate::call(format_args!("{}", words(flags, None)), Ok(child.as_raw().into()));
            let number = child.as_raw().to_ne_bytes();
            let outcome = PARENT.take().map_or(Ok(()), |pipe| File::from(pipe).write_all(&number));
            std::process::exit(i32::from(outcome.and_then(|()| teller.write_all(&number)).is_err()))
        }
    }
}

/// Whether `pid` is a child of ours that has not been waited for.
pub fn is_child(pid: Pid) -> bool {
    let how = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    nix::sys::wait::waitid(nix::sys::wait::Id::Pid(pid), how).is_ok()
}

/// What to do where the kernel makes no more processes and threads for us.
pub fn no_more_processes(errno: Errno) -> anyhow::Error {
    let error = anyhow::Error::new(errno);
    match errno {
        Errno::EAGAIN => anyhow::anyhow!(
            "{errno}\n        no more processes or threads are allowed: ulimit -u, or pids.max of the cgroup we are in"
        ),
        _ => error,
    }
}

/// The same for what std has started, which may have been refused for other reasons.
pub fn started<T>(made: std::io::Result<T>) -> Result<T> {
    made.map_err(|error| match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EAGAIN) => no_more_processes(Errno::EAGAIN),
        _ => error.into(),
    })
}

/// As strace(1) tells it.
fn words(flags: CloneFlags, cradle: Option<&Opened>) -> String {
    let group = cradle.filter(|(_, is_used)| is_used.get()).map(|(group, _)| group.as_raw_fd());
    match (group, flags.is_empty()) {
        (Some(group), is_plain) => {
            let kinds = if is_plain { String::new() } else { super::kinds(flags) + "|" };
            let rest = "exit_signal=SIGCHLD, stack=NULL, stack_size=0";
            format!("clone3({{flags={kinds}CLONE_INTO_CGROUP, {rest}, cgroup={group}}}, 88)")
        }
        (None, true) => "fork()".into(),
        (None, false) => format!("clone(child_stack=NULL, flags={}|SIGCHLD)", super::kinds(flags)),
    }
}

/// # Safety
/// As fork(2).
unsafe fn copy(flags: CloneFlags, cradle: Option<&Opened>) -> nix::Result<ForkResult> {
    if let Some((group, is_used)) = cradle {
        // Before there is a copy, which would not see it.
        is_used.set(true);
        match unsafe { copy_into(flags, group) } {
            Err(_) => is_used.set(false),
            copied => return copied,
        }
    }
    if flags.is_empty() {
        return unsafe { nix::unistd::fork() };
    }
    // No stack of its own: as in fork(2), it goes on with a copy of ours.
    let flags = i64::from(flags.bits() | libc::SIGCHLD);
    which(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })
}

pub(super) fn which(made: libc::c_long) -> nix::Result<ForkResult> {
    match Errno::result(made)? {
        0 => Ok(ForkResult::Child),
        pid => Ok(ForkResult::Parent { child: Pid::from_raw(pid as i32) }),
    }
}

fn begin(name: &'static str) -> Result<()> {
    narrate::speaker(name);
    if !narrate::is_dry() {
        nix::sys::prctl::set_name(&CString::new(format!("rubber:{name}"))?)?;
    }
    Ok(())
}

/// A dry run tells both lives in one process, one after the other.
fn rehearse(text: &str, name: &'static str, work: impl FnOnce() -> Result<u8>) -> Result<Pid> {
    narrate::intent(format_args!("{text}"));
    let before = narrate::who();
    let rehearsed = begin(name).and_then(|()| work());
    narrate::speaker(before);
    rehearsed.map(|_| Pid::from_raw(0))
}

/// Asks to be killed when the process that forked us ends, however it ends: a
/// container must not outlive its rubber. It may have ended before we asked:
/// then we end here and now.
pub fn prctl_pdeathsig() -> Result<()> {
    call(format_args!("prctl(PR_SET_PDEATHSIG, SIGKILL)"), || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
    })?;
    PARENT.with_borrow(|parent| match parent {
        Some(parent) if is_readable(parent.as_fd()) => std::process::exit(125),
        _ => Ok(()),
    })
}

/// Whether `fd` has something to say right now. A pidfd has, once its process
/// has ended (pidfd_open(2)).
fn is_readable(fd: BorrowedFd) -> bool {
    let mut fds = [nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLIN)];
    nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

pub fn pidfd_open(pid: Pid) -> Result<OwnedFd> {
    // SAFETY: the call makes a new descriptor (close-on-exec) and takes no pointers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })
        .with_context(|| format!("pidfd_open({pid}, 0)"))?;
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Collects a child that has ended: its pid, and its exit code or 128 + n for
/// signal n, as in the shell. `None` while all of them run.
///
/// By hand and not with nix, whose signal type has no real-time signals: a
/// command ended by one would be an error of ours.
pub fn wait4(flags: WaitPidFlag) -> Result<Option<(Pid, u8)>> {
    if narrate::is_dry() {
        narrate::intent(format_args!("wait4(-1)"));
        return Ok(None);
    }
    let mut status = 0;
    // SAFETY: `status` is ours, and no rusage is asked for.
    let ended =
        Errno::result(unsafe { libc::waitpid(-1, &mut status, flags.bits()) }).context("wait4(-1)")?;
    if ended == 0 {
        return Ok(None);
    }
    let status = Ended(status);
    narrate::call(format_args!("wait4(-1, {status})"), Ok(ended.into()));
    Ok(Some((Pid::from_raw(ended), status.code())))
}

/// A wait status, told as strace(1) does.
struct Ended(i32);

impl Ended {
    fn code(&self) -> u8 {
        match libc::WIFEXITED(self.0) {
            true => libc::WEXITSTATUS(self.0) as u8,
            false => 128 + libc::WTERMSIG(self.0) as u8,
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match libc::WIFEXITED(self.0) {
            true => write!(f, "exit code {}", self.code()),
            false => write!(f, "signal {}", libc::WTERMSIG(self.0)),
        }
    }
}

pub fn execve(program: &CString, args: &[CString], env: &[CString]) -> Result<()> {
    let text = format!("execve({program:?}, {args:?}, {} variables)", env.len());
    // Told before it is made: when it works, there is nobody left to tell it.
    narrate::intent(format_args!("{text}"));
    if narrate::is_dry() {
        return Ok(());
    }
    let Err(errno) = nix::unistd::execve(program, args, env);
    narrate::call(format_args!("execve({program:?}, ...)"), Err(errno));
    Err(errno).context(text)
}

pub fn setsid() -> Result<()> {
    call(format_args!("setsid()"), || nix::unistd::setsid().map(|session| session.as_raw())).map(drop)
}

pub fn kill(pid: Pid, signal: i32) -> Result<()> {
    // SAFETY: no pointers. (nix's signals have no real-time ones.)
    call(format_args!("kill({pid}, {signal})"), || {
        Errno::result(unsafe { libc::kill(pid.as_raw(), signal) }).map(drop)
    })
}

/// To the very process, whatever has become of its number.
pub fn pidfd_send_signal(pidfd: &OwnedFd, signal: i32) -> Result<()> {
    // SAFETY: no pointers: without a siginfo the signal is as kill(2) sends it.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, 0, 0) };
    match Errno::result(sent) {
        Err(Errno::ESRCH) => Ok(()),
        sent => sent.map(drop).with_context(|| format!("pidfd_send_signal({signal})")),
    }
}

/// Finds the System V message queue of this key, or makes it where `flags` say so.
pub fn msgget(key: i32, flags: i32) -> Result<i32> {
    // SAFETY: no pointers.
    call(format_args!("msgget({key:#x}, {flags:#o})"), || Errno::result(unsafe { libc::msgget(key, flags) }))
}

/// What a queue takes and gives: a number above 0 that says what kind it is, and the text.
#[repr(C)]
struct Message {
    kind: libc::c_long,
    text: [u8; 64],
}

/// Puts a message of at most 64 bytes into the queue.
pub fn msgsnd(queue: i32, text: &[u8]) -> Result<()> {
    let mut message = Message { kind: 1, text: [0; 64] };
    message.text[..text.len()].copy_from_slice(text);
    // SAFETY: the message is ours, and as long as that.
    call(format_args!("msgsnd({queue}, ..., {}, IPC_NOWAIT)", text.len()), || {
        let sent = unsafe { libc::msgsnd(queue, (&raw const message).cast(), text.len(), libc::IPC_NOWAIT) };
        Errno::result(sent).map(drop)
    })
}

/// Takes the first message out of the queue, if there is one.
pub fn msgrcv(queue: i32) -> Result<Vec<u8>> {
    let mut message = Message { kind: 0, text: [0; 64] };
    // SAFETY: as above, and the kernel writes no more than 64 bytes of text.
    let length = call(format_args!("msgrcv({queue}, ..., 64, 0, IPC_NOWAIT)"), || {
        let got = unsafe { libc::msgrcv(queue, (&raw mut message).cast(), 64, 0, libc::IPC_NOWAIT) };
        Errno::result(got).map(|length| length as usize)
    })?;
    Ok(message.text[..length].to_vec())
}

/// Hides this process's memory and /proc/PID/exe from whoever is in the
/// container with it.
pub fn prctl_not_dumpable() -> Result<()> {
    call(format_args!("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE)"), || nix::sys::prctl::set_dumpable(false))
}

/// Has every descriptor from `first` on closed by the execve that follows. Not before: if that
/// fails, somebody still has to be told.
pub fn close_range(first: u32) -> Result<()> {
    // SAFETY: no pointers, and nothing is closed while anybody uses it.
    call(format_args!("close_range({first}, {}, CLOSE_RANGE_CLOEXEC)", u32::MAX), || {
        let cloexec = libc::CLOSE_RANGE_CLOEXEC;
        Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, cloexec) }).map(drop)
    })
}

/// The same for one, which need not be open. Not told: there would be thousands of lines.
pub fn fcntl_close_on_exec(fd: i32) -> Result<()> {
    // SAFETY: no pointers, and nothing is closed yet.
    match Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }) {
        Err(Errno::EBADF) => Ok(()),
        set => set.map(drop).with_context(|| format!("fcntl({fd}, F_SETFD, FD_CLOEXEC)")),
    }
}

/// Limits this process, and those it makes: `u64::MAX` is no limit.
pub fn prlimit64(resource: Resource, soft: u64, hard: u64) -> Result<()> {
    let word = |limit: u64| if limit == u64::MAX { "RLIM64_INFINITY".into() } else { limit.to_string() };
    let (cur, max) = (word(soft), word(hard));
    call(format_args!("prlimit64(0, {resource:?}, {{rlim_cur={cur}, rlim_max={max}}}, NULL)"), || {
        nix::sys::resource::setrlimit(resource, soft, hard)
    })
}

/// Overwrites our environment, where the kernel has put it: it can be read there for as long as we are this program.
pub fn wipe_environment() {
    unsafe extern "C" {
        static mut environ: *mut *mut libc::c_char;
    }
    // SAFETY: there is one thread. The list ends with a null pointer, and each string, which is ours to write to, with a 0.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            (*entry).write_bytes(0, libc::strlen(*entry));
            entry = entry.add(1);
        }
        environ = std::ptr::null_mut();
    }
}

/// Closes every descriptor from `first` to `last`, where there are any; one by one where the kernel is older than 5.9.
pub fn close_now(first: u32, last: u32) -> Result<()> {
    if first > last {
        return Ok(());
    }
    // SAFETY: no pointers; the caller vouches that nobody in here uses any of them.
    match Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }) {
        Err(Errno::ENOSYS) => {
            let (most, _) = nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE)?;
            for fd in first..=last.min(most.min(1 << 20) as u32) {
                // Most of them are not open.
                let _ = nix::unistd::close(fd as RawFd);
            }
            Ok(())
        }
        closed => closed.map(drop).with_context(|| format!("close_range({first}, {last}, 0)")),
    }
}

pub fn umask(mode: u32) -> Result<()> {
    let mode = Mode::from_bits_truncate(mode);
    // SAFETY: no pointers. (For the C library it cannot fail, but a filter of system calls may have it fail.)
    call(format_args!("umask(0{:o})", mode.bits()), || {
        Errno::result(unsafe { libc::syscall(libc::SYS_umask, mode.bits()) }).map(|old| old as i32)
    })
    .map(drop)
}

/// Every signal back to what it does by default, and none held back.
pub fn reset_signals() -> Result<()> {
    if narrate::is_dry() {
        return Ok(());
    }
    // The kernel's own sigaction, with SIG_DFL and nothing else set: the C library hides
    // two of the signals, and a caller may ignore those too. KILL and STOP cannot be set.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        // SAFETY: the kernel reads one sigaction, which is ours, and writes nothing.
        let set = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), 0, 8) };
        if ![libc::SIGKILL, libc::SIGSTOP].contains(&signal) {
            Errno::result(set).with_context(|| format!("rt_sigaction({signal}, SIG_DFL)"))?;
        }
    }
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
        .context("rt_sigprocmask(SIG_SETMASK, [])")
}

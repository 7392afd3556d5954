//! A tracer that makes one system call of a start fail: ptrace(2), by hand, because strace(1) counts the calls of
//! each process alike and could not fail the third one of pid 1 alone.

use super::*;
use nix::libc;
use std::{
    collections::BTreeMap,
    io::Error,
    os::unix::process::CommandExt,
    process::{Child, Command},
    time::{Duration, Instant},
};

/// One call: the process's place in the order of births, and the call's among those of that process.
pub type Place = (usize, usize);

/// What is done to a call.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub place: Place,
    pub errno: i32,
}

/// What became of a start.
#[derive(Default)]
pub struct Traced {
    /// The calls of each process, by their numbers and first arguments, in its order.
    pub calls: Vec<Vec<(i64, u64)>>,
    /// The call that was made to fail; none where it never came to it.
    pub failed: Option<i64>,
    /// The descriptors that a process that was forked had, with what each is, when it gave up its powers, and when it was
    /// about to become another program: and that call's number.
    pub open: Vec<(i64, Vec<(String, String)>)>,
    /// What the kernel said of the command when it began.
    pub picture: Option<String>,
    /// As wait(2) has it; none where it did not end.
    pub status: Option<i32>,
}

struct Tracee {
    born: usize,
    is_inside: bool,
    answers: Option<i64>,
}

const OPTIONS: i32 = libc::PTRACE_O_EXITKILL
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACESYSGOOD;

fn ptrace(request: libc::c_uint, pid: i32, address: usize, data: usize) -> Result<i64, Error> {
    // SAFETY: whoever calls passes what the request wants: a number, or a pointer to what is ours.
    match unsafe { libc::ptrace(request, pid, address, data) } {
        -1 => Err(Error::last_os_error()),
        answer => Ok(answer),
    }
}

/// Runs it to its end. `None` where nobody may trace.
pub fn trace(command: &mut Command, fault: Option<Fault>, seconds: u64) -> Option<Traced> {
    // SAFETY: only ptrace(2) is called between fork and exec.
    unsafe {
        command.pre_exec(|| ptrace(libc::PTRACE_TRACEME, 0, 0, 0).map(drop));
    }
    let mut child = command.spawn().ok()?;
    let first = child.id() as i32;
    let mut status = 0;
    // SAFETY: the status is ours. It stops at its execve.
    unsafe { libc::waitpid(first, &mut status, libc::__WALL) };
    if !libc::WIFSTOPPED(status) || ptrace(libc::PTRACE_SETOPTIONS, first, 0, OPTIONS as usize).is_err() {
        let _ = child.kill();
        return None;
    }
    ptrace(libc::PTRACE_SYSCALL, first, 0, 0).ok()?;
    let traced = Tracer { first, fault, ..Tracer::default() }.follow(&child, Duration::from_secs(seconds));
    Some(traced)
}

#[derive(Default)]
struct Tracer {
    first: i32,
    fault: Option<Fault>,
    known: BTreeMap<i32, Tracee>,
    traced: Traced,
}

impl Tracer {
    fn follow(mut self, child: &Child, patience: Duration) -> Traced {
        self.know(self.first);
        let begin = Instant::now();
        loop {
            let mut status = 0;
            // SAFETY: the status is ours. Other tests' children are other threads' (__WNOTHREAD).
            let pid =
                unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD | libc::WNOHANG) };
            match pid {
                0 if begin.elapsed() > patience => {
                    // It hangs, and with it goes all of its own.
                    for pid in self.known.keys() {
                        // SAFETY: no pointers; they are ours, and stay so until we have waited for them.
                        unsafe { libc::kill(*pid, libc::SIGKILL) };
                    }
                    self.traced.status = None;
                    self.first = 0;
                }
                0 => std::thread::sleep(Duration::from_micros(100)),
                -1 => return self.traced,
                pid if libc::WIFSTOPPED(status) => self.stopped(pid, status),
                pid => {
                    self.known.remove(&pid);
                    if pid == self.first {
                        assert_eq!(pid, child.id() as i32);
                        self.traced.status = Some(status);
                    }
                }
            }
        }
    }

    fn know(&mut self, pid: i32) {
        if !self.known.contains_key(&pid) {
            let born = self.traced.calls.len();
            self.traced.calls.push(vec![]);
            self.known.insert(pid, Tracee { born, is_inside: false, answers: None });
        }
    }

    fn stopped(&mut self, pid: i32, status: i32) {
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        let mut pass = 0;
        match event {
            0 if signal == libc::SIGTRAP | 0x80 => self.call(pid),
            // A child's first stop may come before its birth is told.
            0 if signal == libc::SIGSTOP => self.know(pid),
            0 => pass = signal,
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                let mut born = 0_u64;
                if ptrace(libc::PTRACE_GETEVENTMSG, pid, 0, (&raw mut born) as usize).is_ok() {
                    self.know(born as i32);
                }
            }
            libc::PTRACE_EVENT_EXEC => {
                let mounts = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/mnt")).ok();
                if mounts(&pid.to_string()) == mounts("self") {
                    // It goes on as itself, seen in another way.
                    let _ = ptrace(libc::PTRACE_SYSCALL, pid, 0, 0);
                    return;
                }
                // Not rubber any more: what it does is its own affair.
                self.traced.picture = picture::of(pid).or(self.traced.picture.take());
                self.known.remove(&pid);
                let _ = ptrace(libc::PTRACE_DETACH, pid, 0, 0);
                return;
            }
            _ => {}
        }
        let _ = ptrace(libc::PTRACE_SYSCALL, pid, 0, pass as usize);
    }

    /// It is about to make a call, or has made it.
    fn call(&mut self, pid: i32) {
        self.know(pid);
        let Some(tracee) = self.known.get_mut(&pid) else { return };
        let Some(mut registers) = registers(pid) else { return };
        tracee.is_inside = !tracee.is_inside;
        if !tracee.is_inside {
            if let Some(answer) = tracee.answers.take() {
                registers.rax = answer as u64;
                set_registers(pid, &registers);
            }
            return;
        }
        let number = registers.orig_rax as i64;
        let calls = &mut self.traced.calls[tracee.born];
        calls.push((number, registers.rdi));
        if tracee.born > 0 && [libc::SYS_capset, libc::SYS_execve].contains(&number) {
            self.traced.open.push((number, descriptors(pid)));
        }
        let place = (tracee.born, calls.len() - 1);
        if let Some(fault) = self.fault.filter(|fault| fault.place == place) {
            self.traced.failed = Some(number);
            tracee.answers = Some(-i64::from(fault.errno));
            // A call that does nothing, and that no filter minds; what it answers is put right at its end.
            registers.orig_rax = libc::SYS_getpid as u64;
            set_registers(pid, &registers);
        }
    }
}

fn descriptors(pid: i32) -> Vec<(String, String)> {
    let all = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let words = |path: &std::path::Path| path.to_string_lossy().into_owned();
    all.map(|one| {
        let place = std::fs::read_link(one.path()).unwrap_or_default();
        (words(one.file_name().as_ref()), words(&place))
    })
    .collect()
}

fn registers(pid: i32) -> Option<libc::user_regs_struct> {
    // SAFETY: all zeroes are registers.
    let mut registers = unsafe { std::mem::zeroed() };
    let read = ptrace(libc::PTRACE_GETREGS, pid, 0, (&raw mut registers) as usize);
    read.ok().map(|_| registers)
}

fn set_registers(pid: i32, registers: &libc::user_regs_struct) {
    let _ = ptrace(libc::PTRACE_SETREGS, pid, 0, (&raw const *registers) as usize);
}

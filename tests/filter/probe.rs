//! This very program as a container's command: it asks the filter it is under what it says to a call, and the call
//! is never made. For that it loads a filter of its own, which hands what is asked to a second thread; and of two
//! filters the stricter one is heard, so only what rubber's allows ever gets there.

use super::{
    i386,
    lab::{rubber, text},
};
use nix::{errno::Errno, libc};
use std::{collections::BTreeMap, io::Write, path::Path};

/// No errno: the call was let through.
pub const ALLOWED: i32 = 0;
/// The process was killed for it.
pub const KILLED: i32 = -1;

/// Marks, in the last argument, a call that is a question.
const QUESTION: u64 = 0x5ec0_dead_beef;
/// What our own filter's thread answers; no call of the kernel's ever does.
const PASSED: i32 = 4000;

pub const DEFAULT_CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

pub type Question = (u32, [u64; 5]);
pub type Answers = BTreeMap<Question, i32>;

pub fn plain(numbers: impl IntoIterator<Item = u32>) -> Vec<Question> {
    numbers.into_iter().map(|number| (number, [0; 5])).collect()
}

/// Asks in a container that is run with `flags`; none, and loudly, where no probe can run.
pub fn answers(flags: &[&str], questions: &[Question]) -> Option<Answers> {
    answers_to("", BUSYBOX, flags, questions)
}

/// The same of the calls that a 32-bit program makes, which a 64-bit one can make, too; in an image of such programs.
pub fn answers_to_i386(flags: &[&str], questions: &[Question]) -> Option<Answers> {
    answers_to(OF_I386, i386::image()?, flags, questions)
}

const BUSYBOX: &str = "busybox";
const OF_I386: &str = "i386,";

fn answers_to(machine: &str, image: &str, flags: &[&str], questions: &[Question]) -> Option<Answers> {
    let list: Vec<_> = questions
        .iter()
        .map(|(number, arguments)| format!("{number}:{}", arguments.map(|word| word.to_string()).join(":")))
        .collect();
    let said = probe(image, flags, &format!("{machine}{}", list.join(",")))?;
    let mut answers = Answers::new();
    for line in said.lines().filter_map(|line| line.strip_prefix("answer ")) {
        let numbers: Vec<i64> = line
            .split(' ')
            .map(|word| word.parse::<u64>().map_or_else(|_| word.parse().unwrap(), |n| n as i64))
            .collect();
        let arguments: Vec<_> = numbers[2..].iter().map(|word| *word as u64).collect();
        let answer = match numbers[1] as i32 {
            PASSED => ALLOWED,
            errno => errno,
        };
        answers.insert((numbers[0] as u32, arguments.try_into().unwrap()), answer);
    }
    assert_eq!(answers.len(), questions.len(), "{said}");
    Some(answers)
}

/// What becomes of calls by the numbers of other machines; made, so they are harmless ones.
pub fn foreign(flags: &[&str]) -> Option<BTreeMap<String, i32>> {
    let said = probe(BUSYBOX, flags, "foreign")?;
    let lines = said.lines().filter_map(|line| line.strip_prefix("foreign "));
    Some(
        lines
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(name, answer)| (name.into(), answer.parse().unwrap()))
            .collect(),
    )
}

fn probe(image: &str, flags: &[&str], asked: &str) -> Option<String> {
    probe_in(&std::env::current_exe().unwrap(), image, flags, asked)
}

/// Who this program is when it is `program`, which may have a setuid bit.
pub fn effective_user(program: &Path, flags: &[&str]) -> String {
    let said = probe_in(program, BUSYBOX, flags, "user").unwrap();
    said.lines().find_map(|line| line.strip_prefix("user ")).unwrap().to_owned()
}

/// The session keyring of a container's command, and of one that joins it later.
pub fn session_keyrings() -> [i64; 2] {
    let volume = format!("{}:/probe:ro", std::env::current_exe().unwrap().display());
    let name = format!("keys-{}", std::process::id());
    let flags = [
        "-d",
        "--name",
        &name,
        "--security-opt",
        "seccomp=unconfined",
        "-e",
        "RUBBER_PROBE=session",
        "-v",
        &volume,
    ];
    let probe = ["/probe", "--exact", "probe::asks_when_it_is_one", "--nocapture"];
    let script = format!("{}; sleep 100", probe.join(" "));
    let output = rubber([&["run"], &flags[..], &["busybox", "sh", "-c", &script]].concat()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let joined = rubber([&["exec", &name], &probe[..]].concat()).output().unwrap();
    let logs = || text(&rubber(["logs", &name]).output().unwrap().stdout);
    let begin = std::time::Instant::now();
    while !logs().contains("session ") && begin.elapsed().as_secs() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let said = logs();
    rubber(["rm", "-f", &name]).output().unwrap();
    [said, text(&joined.stdout)].map(|said| {
        let found = said.lines().find_map(|line| line.strip_prefix("session ")).map(str::to_owned);
        found.unwrap_or_else(|| panic!("{said}{joined:?}")).parse().unwrap()
    })
}

fn probe_in(program: &Path, image: &str, flags: &[&str], asked: &str) -> Option<String> {
    let volume = format!("{}:/probe:ro", program.display());
    let asked = format!("RUBBER_PROBE={asked}");
    let mut words = vec!["run", "-v", &volume, "-e", &asked];
    words.extend(flags);
    words.extend([
        image,
        "/probe",
        "--exact",
        "probe::asks_when_it_is_one",
        "--nocapture",
        "--test-threads=1",
    ]);
    let output = rubber(words).output().unwrap();
    assert!(output.status.success(), "{flags:?}: {}{}", text(&output.stdout), text(&output.stderr));
    Some(text(&output.stdout))
}

/// In a container, this is the probe; else nothing.
#[test]
fn asks_when_it_is_one() {
    let Ok(asked) = std::env::var("RUBBER_PROBE") else { return };
    let mut out = String::from("\n");
    if asked == "session" {
        out += &format!("session {}\n", session_keyring());
    } else if asked == "user" {
        out += &format!("user {}\n", nix::unistd::geteuid());
    } else if asked == "foreign" {
        for (name, answer) in foreign_answers() {
            out += &format!("foreign {name} {answer}\n");
        }
    } else {
        let is_of_i386 = asked.starts_with(OF_I386);
        let questions: Vec<Vec<u64>> = asked
            .trim_start_matches(OF_I386)
            .split(',')
            .map(|question| question.split(':').map(|word| word.parse().unwrap()).collect())
            .collect();
        for (question, answer) in
            questions.iter().zip(ask(questions.clone(), if is_of_i386 { ask_as_i386 } else { ask_as_usual }))
        {
            let arguments: Vec<_> = question[1..].iter().map(u64::to_string).collect();
            out += &format!("answer {} {answer} {}\n", question[0], arguments.join(" "));
        }
    }
    std::io::stdout().write_all(out.as_bytes()).unwrap();
}

/// The serial number of this process's session keyring, or a negative errno.
pub fn session_keyring() -> i64 {
    // SAFETY: KEYCTL_GET_KEYRING_ID (0) of KEY_SPEC_SESSION_KEYRING (-3), which is made if there is none.
    let id = unsafe { libc::syscall(libc::SYS_keyctl, 0, -3, 1) };
    if id == -1 { -i64::from(Errno::last_raw()) } else { id }
}

/// One thread asks, and another one answers what came through.
fn ask(questions: Vec<Vec<u64>>, ask: fn(&[u64]) -> i32) -> Vec<i32> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let (done, end) = std::sync::mpsc::channel();
    let asker = std::thread::spawn(move || {
        let listener = load_own_filter();
        sender.send(listener).unwrap();
        let answers: Vec<i32> = questions.iter().map(|question| ask(question)).collect();
        done.send(()).unwrap();
        answers
    });
    let listener = receiver.recv().unwrap();
    while end.try_recv().is_err() {
        answer_one(listener);
    }
    asker.join().unwrap()
}

fn ask_as_usual(question: &[u64]) -> i32 {
    let word = |n: usize| question[n] as libc::c_long;
    // SAFETY: the call is answered by a filter and never made.
    let answer = unsafe { libc::syscall(word(0), word(1), word(2), word(3), word(4), word(5), QUESTION) };
    assert_eq!(answer, -1, "{question:?} was made");
    Errno::last_raw()
}

/// By an interrupt, with half of each argument.
#[cfg(target_arch = "x86_64")]
fn ask_as_i386(question: &[u64]) -> i32 {
    let words: Vec<u32> = question.iter().chain(&[QUESTION]).map(|word| *word as u32).collect();
    let answer: u64;
    // SAFETY: seven words are read. The call is answered by a filter and never made; what it changes is named, but
    // for the two registers that are the compiler's, which are put back.
    unsafe {
        std::arch::asm!(
            "push rbx", "push rbp",
            "mov ebx, [rax + 4]", "mov ecx, [rax + 8]", "mov edx, [rax + 12]",
            "mov esi, [rax + 16]", "mov edi, [rax + 20]", "mov ebp, [rax + 24]",
            "mov eax, [rax]",
            "int 0x80",
            "pop rbp", "pop rbx",
            inlateout("rax") words.as_ptr() as u64 => answer,
            out("rcx") _, out("rdx") _, out("rsi") _, out("rdi") _,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    let errno = -(answer as i32);
    assert!(errno > 0, "{question:?} was made");
    errno
}

#[cfg(not(target_arch = "x86_64"))]
fn ask_as_i386(_: &[u64]) -> i32 {
    unreachable!("there is no such way here")
}

const SET_LISTENER: u64 = 8;
const NOTIF_RECV: libc::Ioctl = 0xc050_2100_u32 as libc::Ioctl;
const NOTIF_SEND: libc::Ioctl = 0xc018_2101_u32 as libc::Ioctl;

fn load_own_filter() -> i32 {
    let load = |offset: u32| libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: offset };
    let is = |value: u64, jt: u8, jf: u8| libc::sock_filter { code: 0x15, jt, jf, k: value as u32 };
    let answer = |k: u32| libc::sock_filter { code: 0x06, jt: 0, jf: 0, k };
    let last = 16 + 8 * 5;
    let program = [
        load(last),
        is(QUESTION, 0, 4),
        load(last + 4),
        is(QUESTION >> 32, 1, 0),
        // A 32-bit call has no upper half.
        is(0, 0, 1),
        answer(libc::SECCOMP_RET_USER_NOTIF),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    let about = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel reads the program, and makes a descriptor.
    let listener = unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, SET_LISTENER, &about)
    };
    Errno::result(listener).unwrap() as i32
}

/// Answers the next question that got here, if there is one.
fn answer_one(listener: i32) {
    let mut ready = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
    // SAFETY: one pollfd of ours; a struct seccomp_notif has 80 bytes and begins with the id, and
    // a struct seccomp_notif_resp has 24: id, value, error, flags.
    unsafe {
        if libc::poll(&mut ready, 1, 20) < 1 {
            return;
        }
        let mut question = [0_u64; 10];
        if libc::ioctl(listener, NOTIF_RECV, &mut question) == 0 {
            let mut answer = [question[0], 0, u64::from((-PASSED) as u32)];
            libc::ioctl(listener, NOTIF_SEND, &mut answer);
        }
    }
}

fn foreign_answers() -> Vec<(&'static str, i32)> {
    let call = |number: i64| {
        // SAFETY: a call that takes no pointers, or none.
        let answer = unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) };
        if answer == -1 { Errno::last_raw() } else { ALLOWED }
    };
    let mut answers =
        vec![("x32", call(0x4000_0000 + libc::SYS_getpid)), ("beyond", call(900)), ("minus one", call(-1))];
    #[cfg(target_arch = "x86_64")]
    answers.push(("int80", old_call()));
    answers
}

/// getpid as a 32-bit program asks for it, in a process of its own: 0 if it got an answer, else whether it died.
#[cfg(target_arch = "x86_64")]
fn old_call() -> i32 {
    // SAFETY: the child makes two calls and is gone.
    unsafe {
        match libc::fork() {
            0 => {
                std::arch::asm!("int 0x80", inlateout("eax") 20 => _, lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _);
                libc::_exit(0)
            }
            child => {
                let mut status = 0;
                libc::waitpid(child, &mut status, 0);
                if libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSYS {
                    KILLED
                } else {
                    ALLOWED
                }
            }
        }
    }
}

//! What is different about the calls of 32-bit x86: two of them are many.

use super::{Comparison::Equal, Condition, Rule};

/// Calls that are also made through socketcall(2): its first argument is their number, from 1.
#[rustfmt::skip]
const SOCKETCALL: &[&str] = &[
    "socket", "bind", "connect", "listen", "accept", "getsockname", "getpeername", "socketpair", "send", "recv",
    "sendto", "recvfrom", "shutdown", "setsockopt", "getsockopt", "sendmsg", "recvmsg", "accept4", "recvmmsg",
    "sendmmsg",
];

/// And through ipc(2).
#[rustfmt::skip]
const IPC: &[(&str, u64)] = &[
    ("semop", 1), ("semget", 2), ("semctl", 3), ("semtimedop", 4), ("msgsnd", 11), ("msgrcv", 12), ("msgget", 13),
    ("msgctl", 14), ("shmat", 21), ("shmdt", 22), ("shmget", 23), ("shmctl", 24),
];

/// The other way to make the call of this name, if there is one, and its number there.
pub fn through(name: &str) -> Option<(&'static str, u64)> {
    if let Some(index) = SOCKETCALL.iter().position(|call| *call == name) {
        return Some(("socketcall", index as u64 + 1));
    }
    IPC.iter().find(|call| call.0 == name).map(|call| ("ipc", call.1))
}

/// Rules for one call, as they are for the other way to make it. What was its first argument is in memory now: a rule
/// that asks for that is one for every call of this number, as libseccomp has it.
pub fn only(which: u64, rules: &[Rule]) -> Vec<Rule> {
    let here = Condition::new(0, Equal(which));
    let rule = |rule: &Rule| {
        let others = rule.conditions.iter().copied().filter(|condition| condition.argument != 0);
        Rule { conditions: std::iter::once(here).chain(others).collect(), action: rule.action }
    };
    rules.iter().map(rule).collect()
}

//! The kernel's own small machine for filters (classic BPF: bpf(4) in BSD's words, linux/filter.h in ours): one
//! register, comparisons that jump forwards, and a `return` that is the answer. No loops, so it always ends.

use super::{Action, Comparison::*, Condition, KILL_PROCESS, Policy, Rule, errno, machine::Machine};
use nix::libc::{self, sock_filter};
use std::rc::Rc;

/// Where in `struct seccomp_data` things are, in bytes: seccomp(2).
const NUMBER: u32 = 0;
const MACHINE: u32 = 4;
const ARGUMENTS: u32 = 16;

const fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Goes on `then` instructions further if the comparison holds, and `otherwise` further if not.
const fn jump(comparison: u32, k: u32, then: u8, otherwise: u8) -> sock_filter {
    let code = (libc::BPF_JMP | comparison | libc::BPF_K) as u16;
    sock_filter { code, jt: then, jf: otherwise, k }
}

const fn load(offset: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

pub fn load_machine() -> sock_filter {
    load(MACHINE)
}

pub fn load_number() -> sock_filter {
    load(NUMBER)
}

pub fn answer(action: Action) -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, action.0)
}

/// Leaves the next instruction out if the register has this value.
pub fn skip_if_equal(value: u32) -> sock_filter {
    jump(libc::BPF_JEQ, value, 1, 0)
}

/// Leaves the next instruction out if the register has less than this.
pub fn skip_if_less(value: u32) -> sock_filter {
    jump(libc::BPF_JGE, value, 0, 1)
}

/// Code for the machine that is in the register; it is passed over where another one is.
pub fn only_for(machine: Machine, code: &[sock_filter]) -> Vec<sock_filter> {
    let pass_over = statement(libc::BPF_JMP | libc::BPF_JA, code.len() as u32);
    [&[skip_if_equal(machine.word()), pass_over], code].concat()
}

/// All of a filter, as the layer `seccomp` puts it together and explains it.
pub fn whole(policies: &[Policy]) -> Vec<sock_filter> {
    let mut program = vec![load_machine()];
    for policy in policies {
        let mut answers = vec![load_number(), skip_if_less(0x4000_0000), answer(errno(libc::ENOSYS))];
        answers.extend(search(policy));
        program.extend(only_for(policy.machine, &answers));
    }
    program.push(answer(KILL_PROCESS));
    program
}

/// Answers by the number in the register. It halves the runs again and again, so that any of hundreds of calls
/// is found with eight or nine comparisons.
pub fn search(policy: &Policy) -> Vec<sock_filter> {
    halve(&policy.runs(), policy.others)
}

fn halve(runs: &[(u32, Rc<[Rule]>)], others: Action) -> Vec<sock_filter> {
    if let [(_, rules)] = runs {
        return try_rules(rules, others);
    }
    let (low, high) = runs.split_at(runs.len() / 2);
    let (first, lower, higher) = (high[0].0, halve(low, others), halve(high, others));
    let mut code = match u8::try_from(lower.len()) {
        Ok(length) => vec![jump(libc::BPF_JGE, first, length, 0)],
        // A comparison jumps 255 instructions at most; what always jumps has more room.
        Err(_) => vec![
            jump(libc::BPF_JGE, first, 0, 1),
            statement(libc::BPF_JMP | libc::BPF_JA, lower.len() as u32),
        ],
    };
    code.extend(lower);
    code.extend(higher);
    code
}

fn try_rules(rules: &[Rule], others: Action) -> Vec<sock_filter> {
    let mut code = Vec::new();
    for rule in rules {
        // From the end, because each condition jumps over all that is behind it when it does not hold.
        let answer = vec![answer(rule.action)];
        let conditions = rule.conditions.iter().rev();
        code.extend(
            conditions.fold(answer, |rest, condition| [holds(*condition, rest.len() as u8), rest].concat()),
        );
    }
    if rules.last().is_none_or(|rule| !rule.conditions.is_empty()) {
        code.push(answer(others));
    }
    code
}

/// Goes on if the condition holds, else `skip` instructions further. The register has 32 bits and an argument 64: its
/// upper half decides, unless that is equal, or is nothing to the kernel.
fn holds(Condition { argument, taken, is }: Condition, skip: u8) -> Vec<sock_filter> {
    let low = ARGUMENTS + 8 * u32::from(argument);
    let (low, high) = if cfg!(target_endian = "little") { (low, low + 4) } else { (low + 4, low) };
    let (mask, value) = match is {
        Masked { mask, value } => (mask & taken, value & taken),
        Equal(value)
        | NotEqual(value)
        | Less(value)
        | LessOrEqual(value)
        | Greater(value)
        | GreaterOrEqual(value) => (taken, value & taken),
    };
    let [(mask_low, mask_high), (value_low, value_high)] =
        [mask, value].map(|it| (it as u32, (it >> 32) as u32));
    // The comparison that says it of the lower half, and where that goes on.
    let (last, then, otherwise) = match is {
        Equal(_) | Masked { .. } => (libc::BPF_JEQ, 0, skip),
        NotEqual(_) => (libc::BPF_JEQ, skip, 0),
        Greater(_) => (libc::BPF_JGT, 0, skip),
        GreaterOrEqual(_) => (libc::BPF_JGE, 0, skip),
        Less(_) => (libc::BPF_JGE, skip, 0),
        LessOrEqual(_) => (libc::BPF_JGT, skip, 0),
    };
    let lower = [masked(low, mask_low), vec![jump(last, value_low, then, otherwise)]].concat();
    if mask_high == 0 && value_high == 0 {
        return lower;
    }
    let rest = lower.len() as u8;
    let upper = match is {
        Equal(_) | Masked { .. } => vec![jump(libc::BPF_JEQ, value_high, 0, skip + rest)],
        NotEqual(_) => vec![jump(libc::BPF_JEQ, value_high, 0, rest)],
        _ => vec![
            jump(libc::BPF_JGT, value_high, then + rest + 1, 0),
            jump(libc::BPF_JEQ, value_high, 0, otherwise + rest),
        ],
    };
    [masked(high, mask_high), upper, lower].concat()
}

/// Takes these bits of half an argument into the register.
fn masked(half: u32, mask: u32) -> Vec<sock_filter> {
    match mask {
        u32::MAX => vec![load(half)],
        _ => vec![load(half), statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask)],
    }
}

//! A program for version 2 cgroups that says which devices may be opened. The kernel's other machine (eBPF: see
//! bpf(2) and the kernel's bpf/standardization/instruction-set.rst) has ten registers and eight bytes an instruction.

use crate::config::DeviceRule;

/// One instruction: what, with which registers, how far to jump, and a number.
const fn instruction(code: u8, to: u8, from: u8, offset: i16, number: i32) -> u64 {
    code as u64
        | (to as u64 | (from as u64) << 4) << 8
        | (offset as u16 as u64) << 16
        | (number as u32 as u64) << 32
}

const LOAD_WORD: u8 = 0x61;
const COPY: u8 = 0xbf;
const SET: u8 = 0xb7;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_IF_NOT: u8 = 0x55;
const JUMP_IF: u8 = 0x15;
const EXIT: u8 = 0x95;

/// The answer; what we are asked (struct bpf_cgroup_dev_ctx of linux/bpf.h); what it is about.
const ANSWER: u8 = 0;
const QUESTION: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    No,
    Yes,
}

/// Yes, where a rule is for this device and for all that is wanted of it; else no.
pub fn device_program(rules: &[DeviceRule]) -> Vec<u64> {
    answering(rules.iter().map(|rule| (Answer::Yes, rule)))
}

/// The first rule that has something to say counts: a yes to all that is wanted, a no to any of it.
pub fn answering<'a>(rules: impl Iterator<Item = (Answer, &'a DeviceRule)>) -> Vec<u64> {
    let mut program = vec![
        // Access and kind share the first word.
        instruction(LOAD_WORD, ACCESS, QUESTION, 0, 0),
        instruction(COPY, KIND, ACCESS, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, QUESTION, 4, 0),
        instruction(LOAD_WORD, MINOR, QUESTION, 8, 0),
    ];
    for (answer, rule) in rules {
        program.extend(one(answer, rule));
    }
    program.extend([instruction(SET, ANSWER, 0, 0, 0), instruction(EXIT, 0, 0, 0, 0)]);
    program
}

fn one(answer: Answer, rule: &DeviceRule) -> Vec<u64> {
    let bit = |(letter, bit): &(char, i32)| if rule.access.contains(*letter) { *bit } else { 0 };
    let named = [('m', 1), ('r', 2), ('w', 4)].iter().map(bit).sum::<i32>();
    // Each test jumps over all that is behind it: so from the end.
    let mut code = vec![instruction(SET, ANSWER, 0, 0, answer as i32), instruction(EXIT, 0, 0, 0, 0)];
    let mut unless = |jump, register, number| {
        let over = code.len() as i16;
        code.insert(0, instruction(jump, register, 0, over, number));
    };
    let mut test = |register, number| unless(JUMP_IF_NOT, register, number);
    if let Some(minor) = rule.minor {
        test(MINOR, minor as i32);
    }
    if let Some(major) = rule.major {
        test(MAJOR, major as i32);
    }
    match rule.kind {
        'b' => test(KIND, 1),
        'c' => test(KIND, 2),
        _ => {}
    }
    // Nothing is left of what is wanted when all that is allowed is taken away; or something is forbidden.
    let (jump, mask) = match answer {
        Answer::Yes => (JUMP_IF_NOT, !named),
        Answer::No => (JUMP_IF, named),
    };
    unless(jump, ANSWER, 0);
    code.insert(0, instruction(AND, ANSWER, 0, 0, mask));
    code.insert(0, instruction(COPY, ANSWER, ACCESS, 0, 0));
    code
}

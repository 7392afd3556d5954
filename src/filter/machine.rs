//! Machines whose calls the kernel takes: this one, and an older one that it still runs the programs of.

use super::{
    Rule,
    calls::{self, Call, NONE},
    i386, width,
};
use Machine::*;
use anyhow::{Result, ensure};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    X86_64,
    /// 32-bit x86, which an x86-64 kernel runs as well, if it was built to. A 64-bit program can make its calls, too.
    I386,
    Aarch64,
}

pub const HERE: Machine = if cfg!(target_arch = "aarch64") { Aarch64 } else { X86_64 };

/// This one and, where there is one that we know the calls of, the older one.
pub const ALL: &[Machine] = if cfg!(target_arch = "aarch64") { &[Aarch64] } else { &[X86_64, I386] };

/// What a config.json may name. A machine that this one cannot be needs no code: its calls do not come. x32's and, on
/// aarch64, those of 32-bit arm could: they are not answered all the same, but with ENOSYS and with the end.
#[rustfmt::skip]
const KNOWN: &[&str] = &[
    "X86", "X86_64", "X32", "ARM", "AARCH64", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32",
    "PPC", "PPC64", "PPC64LE", "S390", "S390X", "PARISC", "PARISC64", "RISCV64", "LOONGARCH64", "M68K", "SH", "SHEB",
];

impl Machine {
    /// Which of ours a list names; this one always, as libseccomp has it.
    pub fn named(words: &[String]) -> Result<Vec<Machine>> {
        for word in words {
            let is_known = word.strip_prefix("SCMP_ARCH_").is_some_and(|word| KNOWN.contains(&word));
            ensure!(is_known, "architectures: {word:?} is not known");
        }
        let is_meant =
            |machine: &Machine| *machine == HERE || words.iter().any(|word| word == machine.name());
        Ok(ALL.iter().copied().filter(is_meant).collect())
    }

    /// As config.json has it.
    pub const fn name(self) -> &'static str {
        match self {
            X86_64 => "SCMP_ARCH_X86_64",
            I386 => "SCMP_ARCH_X86",
            Aarch64 => "SCMP_ARCH_AARCH64",
        }
    }

    /// As the kernel tells a filter: AUDIT_ARCH_* of linux/audit.h, which is the machine's number in ELF, and bits for
    /// little endian and 64-bit.
    pub const fn word(self) -> u32 {
        match self {
            X86_64 => 62 | 0xc000_0000,
            I386 => 3 | 0x4000_0000,
            Aarch64 => 183 | 0xc000_0000,
        }
    }

    pub fn number(self, &(_, x86_64, i386, aarch64): &Call) -> Option<u32> {
        let number = match self {
            X86_64 => x86_64,
            I386 => i386,
            Aarch64 => aarch64,
        };
        (number != NONE).then_some(number.into())
    }

    /// The number of the call of this name.
    pub fn numbered(self, name: &str) -> Option<u32> {
        calls::named(name).and_then(|call| self.number(call))
    }

    /// Rules for the call of this name, as they are for each number that it is made by.
    pub fn meant(self, name: &str, rules: &[Rule]) -> Vec<(u32, Vec<Rule>)> {
        let direct = self.numbered(name).map(|number| (number, self.as_taken(name, rules.to_vec())));
        let through = if self == I386 { i386::through(name) } else { None };
        let other = through.and_then(|(way, which)| {
            Some((self.numbered(way)?, self.as_taken(way, i386::only(which, rules))))
        });
        direct.into_iter().chain(other).collect()
    }

    /// Rules about the call of this name, each of whose conditions looks at as much as the kernel does.
    pub fn as_taken(self, name: &str, mut rules: Vec<Rule>) -> Vec<Rule> {
        for condition in rules.iter_mut().flat_map(|rule| &mut rule.conditions) {
            condition.taken = width::taken(self, name, condition.argument);
        }
        rules
    }
}

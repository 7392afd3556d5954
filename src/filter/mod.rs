//! What a seccomp filter says to which call, before it is a program for the kernel: see `layers/seccomp`.
//!
//! Our own, and not the crate seccompiler: that knows one answer beside the one for the rest, where EPERM for
//! what is refused, ENOSYS for what is unknown and a death for other machines' calls are three; and it asks for
//! one call after the other, so that a call in the middle of the list takes hundreds of comparisons, and the
//! kernel, which tries every number when a filter is loaded (to skip the filter for what is always allowed),
//! takes longer for that than rubber for the container.

pub mod bpf;
pub mod calls;
pub mod ebpf;
mod i386;
pub mod machine;
pub mod profile;
mod width;

use anyhow::Result;
use calls::{GROUPS, Verdict};
use caps::Capability;
use machine::Machine;
use nix::libc;
use profile::Profile;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, rc::Rc};

/// Which filter a container gets.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The table in `calls`.
    #[default]
    Default,
    /// The same, and for an older machine's calls as well: see `for_programs_of`.
    DefaultOfAll,
    Unconfined,
    /// `--security-opt seccomp=FILE`
    Profile(Box<Profile>),
}

impl Filter {
    /// The default is for this machine's calls, and for an older one's where the image is made for that: twice as many
    /// answers take 0.2 ms more to put together and to load, and hardly any container has programs of both.
    pub fn for_programs_of(self, architecture: &str) -> Filter {
        match self {
            Filter::Default if architecture == "386" => Filter::DefaultOfAll,
            other => other,
        }
    }

    /// Its answers to a container with these capabilities, to each machine's calls; this machine's are the first.
    pub fn policies(&self, capabilities: &[Capability]) -> Result<Vec<Policy>> {
        let default = |machine: &Machine| default_policy(*machine, capabilities);
        match self {
            Filter::Unconfined => Ok(vec![]),
            Filter::Default => Ok(vec![default(&machine::HERE)]),
            Filter::DefaultOfAll => Ok(machine::ALL.iter().map(default).collect()),
            Filter::Profile(profile) => profile.policies(capabilities),
        }
    }
}

impl Filter {
    /// Whether a process under it, in a container with these capabilities, may go on as another one: see `join`.
    pub fn lets_in(&self, capabilities: &[Capability]) -> Result<bool> {
        // What the call is told by; the other arguments are pointers, or nothing.
        let clone = (libc::CLONE_PARENT | libc::SIGCHLD) as u64;
        let calls = [
            ("clone", [clone, 0]),
            ("setsid", [0, 0]),
            ("ioctl", [0, libc::TIOCSCTTY]),
            ("prctl", [libc::PR_SET_DUMPABLE as u64, 0]),
            ("prctl", [libc::PR_SET_NAME as u64, 0]),
            ("pipe2", [0, 0]),
            ("read", [0, 0]),
            ("write", [0, 0]),
            ("close", [0, 0]),
            ("exit_group", [0, 0]),
        ];
        // Ours allows all of them.
        let Filter::Profile(profile) = self else { return Ok(true) };
        let policies = profile.policies(capabilities)?;
        let Some(policy) = policies.first() else { return Ok(true) };
        Ok(calls.iter().all(|(name, arguments)| policy.lets_through(name, arguments)))
    }
}

/// What the kernel does about a call: SECCOMP_RET_* of seccomp(2), with a number in the lower half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action(pub u32);

pub const ALLOW: Action = Action(libc::SECCOMP_RET_ALLOW);
pub const NOTIFY: Action = Action(libc::SECCOMP_RET_USER_NOTIF);
pub const LOG: Action = Action(libc::SECCOMP_RET_LOG);
pub const KILL_PROCESS: Action = Action(libc::SECCOMP_RET_KILL_PROCESS);

/// The call is not made and gives back this errno.
pub const fn errno(number: i32) -> Action {
    Action(libc::SECCOMP_RET_ERRNO | number as u32 & libc::SECCOMP_RET_DATA)
}

/// What must hold of an argument, 0 to 5. (Of a pointer a filter sees the number, and not what is there.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    pub argument: u8,
    /// The bits that the kernel takes of it. Both sides are compared in these: see `width`.
    pub taken: u64,
    pub is: Comparison,
}

impl Condition {
    /// Of an argument of 64 bits, until the call is known.
    pub const fn new(argument: u8, is: Comparison) -> Condition {
        Condition { argument, taken: u64::MAX, is }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    Greater(u64),
    GreaterOrEqual(u64),
    /// Only these bits.
    Masked {
        mask: u64,
        value: u64,
    },
}

impl Comparison {
    fn holds(self, value: u64) -> bool {
        match self {
            Comparison::Equal(other) => value == other,
            Comparison::NotEqual(other) => value != other,
            Comparison::Less(other) => value < other,
            Comparison::LessOrEqual(other) => value <= other,
            Comparison::Greater(other) => value > other,
            Comparison::GreaterOrEqual(other) => value >= other,
            Comparison::Masked { mask, value: wanted } => value & mask == wanted,
        }
    }
}

/// If all conditions hold, that is the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub conditions: Vec<Condition>,
    pub action: Action,
}

/// All answers to the calls of one machine. The first rule that holds counts, and where none does, `others`.
pub struct Policy {
    pub machine: Machine,
    pub others: Action,
    /// By the call's number. Hundreds have the same answer, which is there once.
    pub calls: BTreeMap<u32, Rc<[Rule]>>,
}

impl Policy {
    /// Whether another process is asked about the call of this name.
    pub fn asks_about(&self, name: &str) -> bool {
        let rules = self.machine.numbered(name).and_then(|number| self.calls.get(&number));
        rules.is_some_and(|rules| rules.iter().any(|rule| rule.action == NOTIFY))
    }

    /// Whether the call of this name is made, with these first arguments.
    fn lets_through(&self, name: &str, arguments: &[u64]) -> bool {
        let Some(number) = self.machine.numbered(name) else { return false };
        let rules = self.calls.get(&number).map_or(&[][..], |rules| rules);
        let holds = |condition: &Condition| {
            condition.is.holds(arguments.get(usize::from(condition.argument)).copied().unwrap_or(0))
        };
        let action = rules.iter().find(|rule| rule.conditions.iter().all(holds)).map(|rule| rule.action);
        [ALLOW, LOG].contains(&action.unwrap_or(self.others))
    }

    /// The answer to every number, as runs of numbers that are answered alike: where each begins, and its rules.
    /// What is beyond all numbers that were thought of is a call of a newer kernel, and not there.
    pub fn runs(&self) -> Vec<(u32, Rc<[Rule]>)> {
        let rest = always(self.others);
        let mut runs = vec![(0, rest.clone())];
        let mut push = |number, rules: &Rc<[Rule]>| {
            if runs.last().is_some_and(|(_, last)| last != rules) {
                runs.push((number, rules.clone()));
            }
        };
        let mut next = 0;
        for (number, rules) in &self.calls {
            if *number > next {
                push(next, &rest);
            }
            push(*number, rules);
            next = number + 1;
        }
        let beyond = if self.others == ALLOW { ALLOW } else { errno(libc::ENOSYS) };
        push(next, &always(beyond));
        // The first run may have been nothing.
        if runs.get(1).is_some_and(|(number, _)| *number == 0) {
            runs.remove(0);
        }
        runs
    }
}

fn always(action: Action) -> Rc<[Rule]> {
    Rc::new([Rule { conditions: vec![], action }])
}

/// The default, for a container with these capabilities: what they allow is the kernel's business.
fn default_policy(machine: Machine, capabilities: &[Capability]) -> Policy {
    let has = |one_of: &[Capability]| one_of.iter().any(|capability| capabilities.contains(capability));
    let mut calls = BTreeMap::new();
    for group in GROUPS {
        let rules = match group.verdict {
            Verdict::Allowed => always(ALLOW),
            Verdict::With(one_of) | Verdict::If(_, one_of) | Verdict::Missing(one_of) if has(one_of) => {
                always(ALLOW)
            }
            Verdict::With(_) | Verdict::Denied => always(errno(libc::EPERM)),
            Verdict::If(conditions, _) => {
                let rule = |condition: &Condition| Rule { conditions: vec![*condition], action: ALLOW };
                conditions.iter().map(rule).chain(always(errno(libc::EPERM)).iter().cloned()).collect()
            }
            Verdict::Missing(_) => always(errno(libc::ENOSYS)),
        };
        let looks_at_arguments = rules.iter().any(|rule| !rule.conditions.is_empty());
        for call in group.calls {
            let Some(number) = machine.number(call) else { continue };
            calls.insert(
                number,
                match looks_at_arguments {
                    true => machine.as_taken(call.0, rules.to_vec()).into(),
                    false => rules.clone(),
                },
            );
        }
    }
    Policy { machine, others: errno(libc::ENOSYS), calls }
}

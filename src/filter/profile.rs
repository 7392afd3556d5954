//! Profiles as docker, podman and the OCI runtime specification write them: JSON, with the calls' names.

use super::{
    ALLOW, Action, Comparison, Condition, Filter, KILL_PROCESS, NOTIFY, Policy, Rule, bpf, errno,
    machine::{self, Machine},
};
use anyhow::{Context, Result, bail, ensure};
use caps::Capability;
use nix::libc;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    default_action: Word,
    default_errno_ret: Option<u16>,
    /// Whose calls are answered, beside this machine's.
    #[serde(default, deserialize_with = "or_empty")]
    architectures: Vec<String>,
    /// The same, for each machine that it could be: docker's own addition.
    #[serde(default, deserialize_with = "or_empty")]
    arch_map: Vec<Family>,
    #[serde(default, deserialize_with = "or_empty")]
    syscalls: Vec<Entry>,
    /// For a runtime alone, see `oci::notify`: how it is loaded, and who is asked.
    #[serde(default, deserialize_with = "or_empty")]
    flags: Vec<String>,
    #[serde(default, deserialize_with = "or_empty")]
    listener_path: PathBuf,
    #[serde(default, deserialize_with = "or_empty")]
    listener_metadata: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Family {
    architecture: String,
    #[serde(default, deserialize_with = "or_empty")]
    sub_architectures: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default, deserialize_with = "or_empty")]
    names: Vec<String>,
    /// As in profiles of docker's before there were several.
    name: Option<String>,
    action: Word,
    errno_ret: Option<u16>,
    #[serde(default, deserialize_with = "or_empty")]
    args: Vec<Argument>,
    #[serde(default, deserialize_with = "or_empty")]
    includes: When,
    #[serde(default, deserialize_with = "or_empty")]
    excludes: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Word {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: Op,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Op {
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    Masked,
}

/// Where an entry counts: docker's own addition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct When {
    #[serde(default, deserialize_with = "or_empty")]
    caps: Vec<String>,
    #[serde(default, deserialize_with = "or_empty")]
    arches: Vec<String>,
    min_kernel: Option<String>,
}

/// `null` is what Go writes for a list without anything in it.
fn or_empty<'a, T: Default + Deserialize<'a>, D: Deserializer<'a>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Reads a profile, and makes sure that a filter can be made of it.
pub fn read(file: &Path) -> Result<Filter> {
    let read = || {
        // Nobody has written one of this size by hand.
        const LIMIT: u64 = 4 << 20;
        let mut text = Vec::new();
        File::open(file)?.take(LIMIT + 1).read_to_end(&mut text)?;
        ensure!(text.len() as u64 <= LIMIT, "it has more than {} MiB", LIMIT >> 20);
        let profile: Profile = serde_json::from_slice(&text)?;
        profile.refuse_notifying()?;
        // What is wrong is found now, and not when a container is half made.
        for capabilities in [vec![], caps::all().into_iter().collect()] {
            let most = libc::BPF_MAXINSNS as usize;
            let length = bpf::whole(&profile.policies(&capabilities)?).len();
            ensure!(
                length <= most,
                "it makes a program of {length} instructions, and the kernel takes {most}"
            );
        }
        Ok(profile)
    };
    let profile = read().with_context(|| format!("--security-opt seccomp={}", file.display()))?;
    Ok(Filter::Profile(Box::new(profile)))
}

impl Profile {
    /// Whose calls it answers.
    pub fn machines(&self) -> Result<Vec<Machine>> {
        let both = !self.architectures.is_empty() && !self.arch_map.is_empty();
        ensure!(!both, "architectures and archMap say the same: one of them");
        let ours = self.arch_map.iter().find(|family| family.architecture == machine::HERE.name());
        Machine::named(ours.map_or(&self.architectures, |family| &family.sub_architectures))
    }

    /// Its answers to a container with these capabilities, to each machine's calls; this one's are the first.
    pub fn policies(&self, capabilities: &[Capability]) -> Result<Vec<Policy>> {
        self.machines()?.into_iter().map(|machine| self.policy(capabilities, machine)).collect()
    }

    /// As libseccomp has it, a rule that asks for no argument goes before those that do, and of two alike the first
    /// one counts. Calls that the machine does not have are left out: a profile is for many machines and kernels.
    fn policy(&self, capabilities: &[Capability], machine: Machine) -> Result<Policy> {
        let mut calls: BTreeMap<u32, Vec<Rule>> = BTreeMap::new();
        for (n, entry) in self.syscalls.iter().enumerate() {
            let names = entry.names.iter().chain(&entry.name);
            let first = names.clone().next().with_context(|| format!("syscalls[{n}] names no call"))?;
            let place = || format!("syscalls[{n}] ({first:?})");
            let rules = entry.rules().with_context(place)?;
            if !entry.includes.holds(capabilities).with_context(place)?
                || entry.excludes.any(capabilities).with_context(place)?
            {
                continue;
            }
            for (number, rules) in names.flat_map(|name| machine.meant(name, &rules)) {
                calls.entry(number).or_default().extend(rules);
            }
        }
        for rules in calls.values_mut() {
            if let Some(plain) = rules.iter().position(|rule| rule.conditions.is_empty()) {
                *rules = vec![rules.swap_remove(plain)];
            }
        }
        let calls = calls.into_iter().map(|(number, rules)| (number, rules.into())).collect();
        Ok(Policy { machine, others: self.default_action.action(self.default_errno_ret)?, calls })
    }
}

impl Profile {
    /// As a config.json has it: for a container with these capabilities, with nothing left that is docker's own.
    pub fn plain(&self, capabilities: &[Capability]) -> Result<Value> {
        let mut entries = vec![];
        for entry in &self.syscalls {
            if !entry.includes.holds(capabilities)? || entry.excludes.any(capabilities)? {
                continue;
            }
            let names: Vec<_> = entry.names.iter().chain(&entry.name).collect();
            let mut plain = json!({ "names": names, "action": entry.action, "args": entry.args });
            if let Some(number) = entry.errno_ret {
                plain["errnoRet"] = number.into();
            }
            entries.push(plain);
        }
        let machines: Vec<_> = self.machines()?.into_iter().map(Machine::name).collect();
        let mut all =
            json!({ "defaultAction": self.default_action, "architectures": machines, "syscalls": entries });
        if let Some(number) = self.default_errno_ret {
            all["defaultErrnoRet"] = number.into();
        }
        if !self.flags.is_empty() {
            all["flags"] = json!(self.flags);
        }
        Ok(all)
    }
}

impl Profile {
    pub fn notifies(&self) -> bool {
        self.notifies_by_default() || self.syscalls.iter().any(|entry| entry.action == Word::Notify)
    }

    /// Under rubber nobody is there to be asked; a runtime has the listener that its caller names.
    fn refuse_notifying(&self) -> Result<()> {
        let none = "SCMP_ACT_NOTIFY leaves each call to another process, which would have to run as long as the \
                    container, and rubber starts none";
        ensure!(!self.notifies_by_default(), none);
        for (n, entry) in self.syscalls.iter().enumerate() {
            let first = entry.names.iter().chain(&entry.name).next();
            ensure!(
                entry.action != Word::Notify,
                "syscalls[{n}] ({:?}): {none}",
                first.map_or("", |name| name)
            );
        }
        Ok(())
    }

    pub fn notifies_by_default(&self) -> bool {
        self.default_action == Word::Notify
    }

    /// Where who is asked listens, and what it is told besides.
    pub fn listener(&self) -> Option<(&Path, String)> {
        let is_given = !self.listener_path.as_os_str().is_empty() && self.notifies();
        is_given.then(|| (self.listener_path.as_path(), self.listener_metadata.clone()))
    }

    pub fn flags(&self) -> Result<u64> {
        let bit = |flag: &String| match flag.as_str() {
            // There is one thread to be filtered.
            "SECCOMP_FILTER_FLAG_TSYNC" => Ok(0),
            "SECCOMP_FILTER_FLAG_LOG" => Ok(libc::SECCOMP_FILTER_FLAG_LOG),
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => Ok(1 << 5),
            _ => bail!("flags: {flag:?} is not known"),
        };
        self.flags.iter().map(bit).try_fold(0, |all, bit| Ok(all | bit?))
    }
}

impl Entry {
    fn rules(&self) -> Result<Vec<Rule>> {
        let action = self.action.action(self.errno_ret)?;
        ensure!(self.args.len() <= 6, "a call has six arguments, and this looks at {}", self.args.len());
        let conditions = self.args.iter().map(Argument::condition).collect::<Result<Vec<_>>>()?;
        let is_twice = |condition: &Condition| {
            conditions.iter().filter(|other| other.argument == condition.argument).count() > 1
        };
        // As runc: several for the same argument are choices.
        match conditions.iter().any(is_twice) {
            true => Ok(conditions.into_iter().map(|one| Rule { conditions: vec![one], action }).collect()),
            false => Ok(vec![Rule { conditions, action }]),
        }
    }
}

impl Word {
    fn action(self, number: Option<u16>) -> Result<Action> {
        let with = |action: u32| Action(action | u32::from(number.unwrap_or(libc::EPERM as u16)));
        Ok(match self {
            Word::Allow => ALLOW,
            // The kernel takes more for its highest errno.
            Word::Errno if number.is_some_and(|number| number > 4095) => {
                bail!("there is no errno above 4095")
            }
            Word::Errno => number.map_or(errno(libc::EPERM), |number| errno(number.into())),
            Word::KillThread => Action(libc::SECCOMP_RET_KILL_THREAD),
            Word::KillProcess => KILL_PROCESS,
            Word::Trap => Action(libc::SECCOMP_RET_TRAP),
            Word::Trace => with(libc::SECCOMP_RET_TRACE),
            Word::Log => Action(libc::SECCOMP_RET_LOG),
            Word::Notify => NOTIFY,
        })
    }
}

impl Argument {
    fn condition(&self) -> Result<Condition> {
        ensure!(self.index < 6, "there is no argument {}: they are 0 to 5", self.index);
        let value = self.value;
        let is = match self.op {
            Op::Equal => Comparison::Equal(value),
            Op::NotEqual => Comparison::NotEqual(value),
            Op::Less => Comparison::Less(value),
            Op::LessOrEqual => Comparison::LessOrEqual(value),
            Op::Greater => Comparison::Greater(value),
            Op::GreaterOrEqual => Comparison::GreaterOrEqual(value),
            Op::Masked => Comparison::Masked { mask: value, value: self.value_two },
        };
        Ok(Condition::new(self.index, is))
    }
}

impl When {
    /// All that is asked for is so.
    fn holds(&self, capabilities: &[Capability]) -> Result<bool> {
        let all = self.caps.iter().all(|name| has(capabilities, name));
        Ok(all && (self.arches.is_empty() || self.is_here()) && self.is_new_enough()?.unwrap_or(true))
    }

    /// Something of it is so.
    fn any(&self, capabilities: &[Capability]) -> Result<bool> {
        let any = self.caps.iter().any(|name| has(capabilities, name));
        Ok(any || self.is_here() || self.is_new_enough()?.unwrap_or(false))
    }

    fn is_here(&self) -> bool {
        let here = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        self.arches.iter().any(|name| name == here)
    }

    fn is_new_enough(&self) -> Result<Option<bool>> {
        let Some(wanted) = &self.min_kernel else { return Ok(None) };
        let version = |text: &str| {
            let mut numbers =
                text.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse::<u32>().ok());
            Some((numbers.next()??, numbers.next()??))
        };
        let wanted =
            version(wanted).with_context(|| format!("minKernel {wanted:?} is not a version as 4.8"))?;
        let here = nix::sys::utsname::uname()?.release().to_str().and_then(version);
        Ok(Some(here.is_some_and(|here| here >= wanted)))
    }
}

fn has(capabilities: &[Capability], name: &str) -> bool {
    capabilities.iter().any(|capability| capability.to_string() == name)
}
